"""What log lines of the API belong to."""

import logging

import pytest

from lifecycle import clock
from lifecycle.api import operations
from lifecycle.api.context import Context
from lifecycle.engine import Engine
from lifecycle.ledger.entry import Entry
from lifecycle.observability import logs
from tests.support.workbench import Workbench


async def test_lines_of_a_request_about_an_action_name_it_however_it_was_called(bench: Workbench) -> None:
    """Whoever looks for a project finds the requests about it too, also those that called it by its slug."""
    project = await bench.project()
    settings = bench.stack.settings()
    engine = Engine(settings.restate_admin_url, timeout=settings.request_timeout)
    available = bench.resources
    context = Context(settings=settings, db=available.db, client=bench.client, engine=engine, vault=available.vault)
    try:
        await operations.KINDS["project-deletion"].subject(context, bench.admin, project.slug)
        deletion = dict(logs.bound())
        await operations.KINDS["certificate-renewal"].subject(context, bench.admin, "WWW.example.com")
        renewal = dict(logs.bound())
    finally:
        await context.close()
        await engine.close()

    assert (deletion["project"], deletion["action"]) == (project.id, f"project-deletion/{project.id}")
    assert (renewal["domain"], renewal["action"]) == ("www.example.com", "certificate-renewal/www.example.com")


async def test_what_is_said_of_an_entry_is_not_about_whoever_wrote_first(
    bench: Workbench, caplog: pytest.LogCaptureFixture
) -> None:
    """Entries are written in groups; a line about one of them names no project that it has nothing to do with."""
    about: list[dict[str, str | int]] = []
    bad = Entry(id="x" * 400, sequence=1, workspace=bench.admin.workspace, action="test", at=clock.now())

    def keep(record: logging.LogRecord) -> bool:
        if "cannot be written" in record.getMessage():
            about.append(dict(logs.bound()))
        return True

    logs.bind(project="prj_of_somebody_else")
    caplog.handler.addFilter(keep)
    with pytest.raises(Exception, match="too long"):
        await bench.resources.ledger.write(bad)

    assert about == [{}]

"""Log lines: what they say, and to whom they belong."""

import asyncio
import json
import logging
import sys

import pytest
from restate.server_context import restate_context_is_replaying

from lifecycle.observability import invocations, logs
from lifecycle.observability.logs import JsonLines, NotReplayed, TextLines

PROJECT = "prj_01kahv3q5jc1s6v0n8w2k4m7xz"


def record(message: str, *given: object, error: BaseException | None = None) -> logging.LogRecord:
    """A line that is to be written."""
    info = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord("lifecycle.test", logging.WARNING, __file__, 1, message, given, info)


async def test_a_line_says_what_it_belongs_to() -> None:
    """Whoever looks for a project finds every line about it, without parsing sentences."""
    logs.bind(project=PROJECT, generation=3, step="look", attempt=2, action=None)
    line = json.loads(JsonLines().format(record("late by %s", "5s")))
    text = TextLines().format(record("late by %s", "5s"))

    assert line["message"] == "late by 5s"
    assert line["level"] == "warning"
    assert (line["project"], line["generation"], line["step"], line["attempt"]) == (PROJECT, 3, "look", 2)
    assert "action" not in line
    assert line["time"].endswith("Z")
    assert f"late by 5s project={PROJECT} generation=3 step=look attempt=2" in text


async def test_what_one_request_notes_is_not_on_the_lines_of_others() -> None:
    """Handlers run side by side, and none speaks for another."""
    both = asyncio.Barrier(2)

    async def handle(project: str) -> object:
        logs.bind(project=project)
        await both.wait()
        return logs.bound()["project"]

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(handle(project)) for project in ("a", "b")]

    assert [task.result() for task in tasks] == ["a", "b"]


async def test_an_error_stays_one_line() -> None:
    """A traceback does not tear a JSON line apart, and neither does what somebody typed."""
    try:
        raise ValueError("first\nsecond")  # noqa: TRY301  it must have a traceback
    except ValueError as error:
        line = JsonLines().format(record("broke\nhere", error=error))

    assert "\n" not in line
    assert "ValueError: first" in json.loads(line)["exception"]


@pytest.mark.parametrize("replaying", [True, False])
async def test_a_line_of_a_replayed_handler_is_dropped(replaying: bool) -> None:
    """Nothing is logged twice because a handler was suspended and came back."""
    token = restate_context_is_replaying.set(replaying)
    try:
        passed = NotReplayed().filter(record("decided"))
    finally:
        restate_context_is_replaying.reset(token)

    assert passed is not replaying


def test_not_on_a_terminal_lines_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    """What collects logs gets JSON without being set up; a person at a terminal gets text."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        logs.to_stderr("auto")
        logging.getLogger("lifecycle.test").info("hello")
        logs.to_stderr("text")
        logging.getLogger("lifecycle.test").info("hello")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    first, second = capsys.readouterr().err.splitlines()

    assert not sys.stderr.isatty()
    assert json.loads(first)["message"] == "hello"
    assert second.endswith("INFO lifecycle.test hello")


@pytest.mark.parametrize(
    ("service", "key", "body", "found"),
    [
        (
            "ProjectService",
            PROJECT,
            b'{"generation":7}',
            {"project": PROJECT, "action": f"project-deletion/{PROJECT}", "generation": 7},
        ),
        (
            "ProjectDeletion",
            f"{PROJECT}.7.2",
            b'{"project": 1}',
            {"project": PROJECT, "action": f"project-deletion/{PROJECT}", "generation": 7},
        ),
        ("Issuance", "iss_1.2", b"", {"issuance": "iss_1", "run": 2}),
        (
            "CertificateService",
            "www.example.com",
            b"{}",
            {"domain": "www.example.com", "action": "certificate-renewal/www.example.com"},
        ),
        ("Ledger", "", b"{}", {}),
        ("Tomorrow", "x.y", b"", {"key": "x.y"}),
    ],
)
def test_an_invocation_is_known_by_what_it_is_about(
    service: str, key: str, body: bytes, found: dict[str, object]
) -> None:
    """Project, action and generation are on every line of the handlers that concern them."""
    assert invocations.belongs_to(service, key, body) == found


@pytest.mark.parametrize(
    ("name", "plain"),
    [("look-12", "look"), ("order-again-3", "order"), ("remove-certificates", "remove-certificates"), ("look", "look")],
)
def test_repetitions_of_a_step_are_one_step(name: str, plain: str) -> None:
    """However long a wait is, its looks are one series in the monitoring."""
    assert invocations.step_name(name) == plain

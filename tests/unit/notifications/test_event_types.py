"""The table of types of events is that of the source."""

import ast
import re
from collections.abc import Iterator

from lifecycle.deploy.model import TERMINAL
from lifecycle.deploy.verification.model import Status as DomainStatus
from lifecycle.notifications import events, letters
from scripts import generate_docs
from tests.support import tidy

_TYPE = re.compile(rf"({'|'.join(sorted(events.FAMILIES))})\.[a-z_]+")
_ELSEWHERE = ("notifications/events.py", "notifications/letters.py")
# Types whose last part is a status.
_COMPUTED = {
    "deploy/events.py": ("deployment.", {one.value for one in TERMINAL}),
    "deploy/verification/moves.py": (
        "domain.",
        {one.value for one in (DomainStatus.DANGLING, DomainStatus.FAILED, DomainStatus.LOST)},
    ),
}


def _literals(source: tidy.Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _TYPE.fullmatch(node.value):
            yield node.value


def _computed(source: tidy.Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
            first = str(node.values[0].value)
            if first.removesuffix(".") in events.FAMILIES and first.endswith("."):
                yield first


def test_every_type_that_is_recorded_is_in_the_table_and_no_other() -> None:
    """Whoever writes a filter finds every type in the table, and what is in no table is refused."""
    found = set()
    for source in tidy.package():
        if source.path not in _ELSEWHERE:
            found |= {one for one in _literals(source) if not one.endswith(".html")}
            if computed := set(_computed(source)):
                first, lasts = _COMPUTED[source.path]
                assert computed == {first}, source.path
                found |= {f"{first}{last}" for last in lasts}

    assert found | {events.DISABLED, events.TEST} == set(events.TYPES)


def test_every_sentence_and_every_default_is_about_a_type_that_there_is() -> None:
    """A slip would leave a mail without its sentence, or nobody told."""
    assert set(letters.SENTENCES) <= set(events.TYPES)
    assert all(events.is_pattern(one) for one in events.BY_DEFAULT)


def test_every_type_can_stand_in_a_filter() -> None:
    """And is told of, when it happens."""
    assert all(events.is_pattern(one) and events.is_notable(one) for one in events.TYPES)


def test_the_page_of_events_is_what_the_source_says() -> None:
    """docs/events.md lists every type; `make docs` writes it anew."""
    page = (generate_docs.DOCS / "events.md").read_text(encoding="utf-8")

    assert page == generate_docs.event_types()

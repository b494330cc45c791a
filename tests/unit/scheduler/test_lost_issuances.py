"""Which issuances the reconciler takes for lost, and that no handler of it depends on a setting that may change."""

import ast

import pytest

from lifecycle.certs.watch import LostIssuance
from lifecycle.scheduler import reconciler
from lifecycle.scheduler.alarms import Finding
from tests.support.factories import NOW
from tests.support.tidy import package

_DECIDES = ("scheduler/reconciler.py", "deploy/verification/service.py", "certs/certificates.py", "certs/upkeep.py")


def _lost(issuance: str, run: int = 1) -> LostIssuance:
    return LostIssuance("www.example.com", "ws_1", issuance, run)


def _found(about: str, kind: str = "issuance_lost") -> Finding:
    return Finding(kind=kind, subject="www.example.com", workspace="ws_1", detail="", hint="", since=NOW, about=about)


def test_an_issuance_that_just_begins_is_not_taken_for_the_one_that_was_lost() -> None:
    """The domain's former issuance was seen lost; the next one, or its next run, is given the time to begin."""
    lost = [_lost("iss_2")]

    assert reconciler.still_lost(lost, []) == []
    assert reconciler.still_lost(lost, [_found("iss_1")]) == []
    assert reconciler.still_lost([_lost("iss_2", 3)], [_found("iss_2")]) == []
    assert reconciler.still_lost(lost, [_found("iss_2", kind="overdue")]) == []
    assert reconciler.still_lost(lost, [_found("iss_2")]) == lost
    assert reconciler.still_lost([_lost("iss_2", 3)], [_found("iss_2.3")]) == [_lost("iss_2", 3)]


@pytest.mark.parametrize("path", _DECIDES)
def test_a_replay_under_another_setting_takes_the_same_way(path: str) -> None:
    """Whoever restarts a worker with other settings breaks nothing that is under way: settings are read in steps."""
    [source] = [one for one in package() if one.path == path]
    handlers = [one for one in source.functions() if any(given.arg == "ctx" for given in one.args.args)]
    reads = [
        f"{one.name}:{node.lineno}"
        for one in handlers
        for node in ast.walk(one)
        if isinstance(node, ast.Attribute) and node.attr == "settings"
    ]

    assert handlers
    assert reads == []

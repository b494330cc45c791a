"""What is counted, and what is not: each thing once, however often the engine tells of it."""

from datetime import UTC, datetime, timedelta

import pytest
from restate.server_context import restate_context_is_replaying

from lifecycle.certs import events
from lifecycle.certs.model import Cause, Certificate, Ending, Outcome, Running, Settled
from lifecycle.observability import measures

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def counted(action: str) -> float:
    """How often a transition was written, as this process knows."""
    return measures.REGISTRY.get_sample_value("lifecycle_transitions_total", {"action": action}) or 0


@pytest.mark.parametrize(("replaying", "more"), [(False, 1), (True, 0)])
def test_a_transition_that_is_only_replayed_is_not_counted(replaying: bool, more: int) -> None:
    """The dashboard shows what happened, and not how often a worker was led through it."""
    before = counted("test.replayed")
    token = restate_context_is_replaying.set(replaying)
    try:
        measures.recorded("test.replayed")
    finally:
        restate_context_is_replaying.reset(token)

    assert counted("test.replayed") == before + more


@pytest.mark.parametrize(
    ("running", "is_awaited"),
    [
        (Running(issuance="iss_1", run=2, cause=Cause.RENEWAL, begun_at=NOW), True),
        (Running(issuance="iss_1", run=1, cause=Cause.RENEWAL, begun_at=NOW), False),
        (Running(issuance="iss_1", run=2, cause=Cause.RENEWAL, begun_at=NOW, is_at_work=False), False),
        (None, False),
    ],
)
def test_an_issuance_is_measured_when_its_run_ends_and_not_again(running: Running | None, is_awaited: bool) -> None:
    """A word about a run that was settled before makes no second issuance in the statistics."""
    message = Settled(
        issuance="iss_1",
        run=2,
        workspace="ws_1",
        outcome=Outcome(ending=Ending.WAIT, until=NOW + timedelta(hours=1)),
    )

    assert events.is_awaited(Certificate(running=running), message) is is_awaited

"""Answers that break off in the middle, on either side of the engine: nothing is done by halves."""

from collections.abc import Callable, Mapping
from random import Random  # noqa: TID251  seeded, so that a run can be repeated

import pytest

from tests.chaos import nemesis, proxy, race
from tests.support.history import Kind

pytestmark = pytest.mark.chaos

Show = Callable[[str, Mapping[str, object]], None]


@pytest.mark.parametrize(("server", "longest"), [("worker", 4000), ("restate_ingress", 600)])
async def test_answers_that_break_off_break_no_promise(show: Show, server: str, longest: int) -> None:
    """A third of all answers ends after some bytes, and every promise holds as if none had."""
    random = Random(11)  # noqa: S311  no secret
    async with proxy.opened() as wire, nemesis.private_stack(wire=(server, wire)) as stack:
        wire.cut = lambda: random.randrange(longest) if random.random() < 0.33 else None
        outcome, figures = await race.run(stack, race.Plan(seed=11, races=100, window_seconds=20, kills=()))

    show(f"answers of the {server} cut", {**figures, "answers cut": wire.cuts})
    assert outcome.violations() == []
    assert wire.cuts > 100


async def test_a_schedule_that_is_given_up_in_the_middle_is_carried_out_whole_or_not_at_all(show: Show) -> None:
    """A worker that falls silent in the middle of a decision leaves no deletion that the audit log does not know."""
    async with (
        proxy.opened() as wire,
        nemesis.private_stack(wire=("worker", wire), settings={"LIFECYCLE_REQUEST_TIMEOUT": "1s"}) as stack,
        race.scene(stack, 5) as made,
    ):
        with wire.held(b"Ledger"):  # the state is on its way, the audit entry is not
            events = await made.schedule(5)
        outcome = await made.outcome()

    show("given up in the middle of a decision", outcome.phases())
    assert {event.kind for event in events} == {Kind.UNKNOWN}
    assert outcome.violations() == []

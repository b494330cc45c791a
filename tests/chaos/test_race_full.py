"""Five hundred cancels and more at the due moment, while worker and engine are killed again and again."""

from collections.abc import Callable, Mapping

import pytest

from lifecycle.dev.stack import Stack
from tests.chaos import nemesis, race

pytestmark = pytest.mark.chaos

Show = Callable[[str, Mapping[str, object]], None]

_KILLS = ("worker", "engine", "worker", "both", "engine", "worker", "engine", "both")


async def test_five_hundred_cancels_at_the_due_moment_are_final(own_stack: Stack, show: Show) -> None:
    """What was answered holds, for every project, however often the servers die under it."""
    plan = race.Plan(seed=20261121, races=500, window_seconds=100, kills=_KILLS)

    outcome, figures = await race.run(own_stack, plan)

    show("races with the due moment", figures)
    assert outcome.violations() == []
    assert figures["stale wake-ups, without effect"] != 0


async def test_a_switch_to_the_engines_next_scheduler_breaks_no_promise(show: Show) -> None:
    """The same holds with virtual queues, which wake at whole seconds, and with cancelled calls retained."""
    plan = race.Plan(seed=7, races=80, window_seconds=20, kills=("worker", "engine", "both"), close_seconds=0.6)

    async with nemesis.private_stack(engine_environment=nemesis.EXPERIMENTAL) as stack:
        outcome, figures = await race.run(stack, plan)

    show("the same, with experimental settings of the engine", figures)
    assert outcome.violations() == []
    assert figures["stale wake-ups, without effect"] != 0

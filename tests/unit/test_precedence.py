"""Decisions go first, and whatever waits for them has its turn all the same."""

import asyncio
import gc
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta

import pytest

from lifecycle import precedence
from lifecycle.precedence import Precedence
from tests.support.waiting import eventually

SHORT, LONG = timedelta(milliseconds=60), timedelta(hours=1)


async def test_a_step_waits_while_decisions_arrive_and_begins_when_they_are_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A purge does not delay a wave of wake-ups, however long it is, and goes on behind it."""
    monkeypatch.setattr(precedence, "_CALM_AFTER", SHORT)
    monkeypatch.setattr(precedence, "_PATIENCE", LONG)
    order = Precedence(1)
    began: list[float] = []
    decided = [time.monotonic()]
    order.deciding()

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(_step(order, began))
        while decided[-1] - decided[0] < 3 * SHORT.total_seconds() and not began:
            await asyncio.sleep(0)
            decided.append(time.monotonic())
            order.deciding()

    assert began[0] - decided[-1] >= SHORT.total_seconds()


async def test_a_step_begins_after_a_while_although_decisions_never_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A purge is promised to happen: no flood of wake-ups puts it off for ever."""
    monkeypatch.setattr(precedence, "_CALM_AFTER", LONG)
    monkeypatch.setattr(precedence, "_PATIENCE", SHORT)
    order = Precedence(1)
    began: list[float] = []
    asked = time.monotonic()
    order.deciding()

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(_step(order, began))
        while not began:
            await asyncio.sleep(0)
            order.deciding()

    assert began[0] - asked >= SHORT.total_seconds()


async def test_no_more_steps_at_a_time_than_allowed_and_each_has_its_turn() -> None:
    """A wave of purges leaves room for what is due meanwhile, and the first to ask is the first to begin."""
    order = Precedence(2)
    begun: list[int] = []
    now, most = 0, 0

    async def step(number: int) -> None:
        nonlocal now, most
        async with order.work():
            begun.append(number)
            now, most = now + 1, max(most, now + 1)
            for _ in range(3):
                await asyncio.sleep(0)
            now -= 1

    async with asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(step(number))

    assert most == 2
    assert begun == list(range(10))


def test_the_first_decision_of_a_row_has_its_purge_at_once_and_the_others_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A single deletion is not put off; in a wave, what follows from a decision begins behind the decisions."""
    monkeypatch.setattr(precedence, "_CALM_AFTER", LONG)
    order = Precedence(1)
    waits = [order.deciding() for _ in range(3)]

    assert waits[0] == timedelta(0)
    assert waits[1] == waits[2] > timedelta(0)


async def test_a_step_that_fails_makes_room_for_the_next() -> None:
    """A purge that cannot go on does not keep the others waiting."""
    order = Precedence(1)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="failed"):
            async with asyncio.timeout(30), order.work():
                raise RuntimeError("failed")


@pytest.mark.parametrize("ends", ["well", "badly"])
async def test_the_collector_is_left_as_it_was_found(ends: str) -> None:
    """A worker that ends in a process that goes on leaves no other rules for garbage behind."""
    before = gc.get_threshold(), gc.get_freeze_count(), gc.isenabled()
    inside: list[int] = []
    with suppress(ZeroDivisionError):
        async with Precedence(1).collecting():
            inside.append(gc.get_threshold()[2] // {"well": 1, "badly": 0}[ends])

    assert all(threshold > before[0][2] for threshold in inside)
    assert (gc.get_threshold(), gc.get_freeze_count(), gc.isenabled()) == before


@pytest.mark.parametrize(
    ("calm_after", "constants"),
    [(timedelta(0), {"_WANTED": -1, "_NEEDED": 1000}), (LONG, {"_WANTED": -1, "_NEEDED": -1})],
    ids=["calm", "never calm"],
)
async def test_garbage_is_collected_in_calm_moments_or_when_it_cannot_wait(
    monkeypatch: pytest.MonkeyPatch, calm_after: timedelta, constants: Mapping[str, int]
) -> None:
    """The worker does not grow: the first calm moment is used, and a flood without one is no excuse."""
    _constants(monkeypatch, calm_after, constants)
    order = Precedence(1)
    order.deciding()

    async with order.collecting():
        with _full_collections() as seen:
            await eventually(lambda: len(seen), within=30)


async def test_garbage_waits_while_decisions_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full collection stops everything, so none is begun while a wake-up is near."""
    _constants(monkeypatch, LONG, {"_WANTED": -1, "_NEEDED": 1000})
    order = Precedence(1)
    order.deciding()

    async with order.collecting():
        until = time.monotonic() + SHORT.total_seconds()
        with _full_collections() as seen:
            while time.monotonic() < until:
                await asyncio.sleep(0)

    assert seen == []


def _constants(monkeypatch: pytest.MonkeyPatch, calm_after: timedelta, constants: Mapping[str, int]) -> None:
    monkeypatch.setattr(precedence, "_CALM_AFTER", calm_after)
    monkeypatch.setattr(precedence, "_COLLECT_EVERY", timedelta(milliseconds=1))
    for name, value in constants.items():
        monkeypatch.setattr(precedence, name, value)


async def _step(order: Precedence, began: list[float]) -> None:
    async with order.work():
        began.append(time.monotonic())


@contextmanager
def _full_collections() -> Iterator[list[int]]:
    """A list that grows with every full garbage collection in the time of the block."""
    seen: list[int] = []

    def note(phase: str, about: Mapping[str, int]) -> None:
        if phase == "start" and about["generation"] == 2:
            seen.append(about["generation"])

    gc.callbacks.append(note)
    try:
        yield seen
    finally:
        gc.callbacks.remove(note)

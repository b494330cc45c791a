"""A message or state that an older release wrote is understood by this one."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from lifecycle.scheduler.model import Deletion, Wake
from tests.support import wire_format
from tests.support.factories import blocked, purging, scheduled

BEFORE: dict[str, Any] = {
    "scheduler.model.Wake": {
        "type": "object",
        "properties": {"generation": {"type": "integer"}, "phase": {"$ref": "#/$defs/Phase"}},
        "required": ["generation"],
        "$defs": {
            "Phase": {"enum": ["none", "scheduled"], "type": "string"},
            "Hold": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
        },
    }
}


def _wake(schemas: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schemas["scheduler.model.Wake"]
    return found


def _rename(schemas: dict[str, Any]) -> None:
    properties = _wake(schemas)["properties"]
    properties["fence"] = properties.pop("generation")


def _demand_more(schemas: dict[str, Any]) -> None:
    _wake(schemas)["properties"]["sender"] = {"type": "string"}
    _wake(schemas)["required"].append("sender")


def _rename_inside(schemas: dict[str, Any]) -> None:
    _wake(schemas)["$defs"]["Hold"] = {"type": "object", "properties": {"label": {"type": "string"}}}


BREAKS: tuple[tuple[Callable[[dict[str, Any]], object], str], ...] = (
    (dict.clear, "scheduler.model.Wake is gone"),
    (_rename, "Wake.generation is gone or renamed"),
    (lambda it: _wake(it)["properties"].update(generation={"type": "string"}), "Wake.generation was"),
    (_demand_more, "Wake.sender is required"),
    (lambda it: _wake(it)["required"].append("phase"), "Wake.phase is required"),
    (lambda it: _wake(it)["$defs"]["Phase"]["enum"].remove("none"), "Wake.Phase lost the value 'none'"),
    (lambda it: _wake(it)["$defs"].pop("Phase"), "Wake.Phase is gone"),
    (_rename_inside, "Wake.Hold.name is gone or renamed"),
)


def test_no_message_or_state_lost_anything() -> None:
    """Nothing that waits in the engine becomes unreadable by this release."""
    broken = wire_format.breaks(wire_format.snapshot(), wire_format.present())

    assert not broken, "\n".join(broken)


def test_the_snapshot_is_current() -> None:
    """What this release adds is kept from now on; run `python -m tests.support.wire_format` to take it up."""
    assert wire_format.present() == wire_format.snapshot()


def test_all_that_the_engine_keeps_is_in_the_snapshot() -> None:
    """The states and the messages that wait longest are among what is watched."""
    watched = set(wire_format.snapshot())

    assert {
        "scheduler.model.Deletion",
        "scheduler.model.Project",
        "scheduler.model.PurgeProgress",
        "scheduler.model.PurgeOrder",
        "scheduler.model.Wake",
        "scheduler.model.Settle",
        "scheduler.reconciler.ReconcilerState",
        "ledger.entry.Entry",
    } <= watched


@pytest.mark.parametrize(("change", "complaint"), BREAKS, ids=[complaint for _, complaint in BREAKS])
def test_a_breaking_change_is_refused(change: Callable[[dict[str, Any]], object], complaint: str) -> None:
    """Whoever removes, renames, retypes or demands a field is told before it is released."""
    after = copy.deepcopy(BEFORE)
    change(after)
    broken = wire_format.breaks(BEFORE, after)

    assert any(complaint in one for one in broken)


def test_an_optional_field_a_value_and_a_model_may_be_added() -> None:
    """What an old message does not have is filled in, so it may be added."""
    after = copy.deepcopy(BEFORE)
    _wake(after)["properties"]["note"] = {"type": "string"}
    _wake(after)["$defs"]["Phase"]["enum"].append("purging")
    after["scheduler.model.New"] = {"type": "object"}

    assert not wire_format.breaks(BEFORE, after)


@pytest.mark.parametrize("deletion", [Deletion(), scheduled(), blocked(), purging()])
def test_a_state_comes_back_as_it_was_stored(deletion: Deletion) -> None:
    """What the engine keeps as JSON is exactly what the handler had."""
    assert Deletion.model_validate_json(deletion.model_dump_json()) == deletion


def test_a_message_of_a_later_release_is_still_a_wakeup() -> None:
    """After a release is taken back, what the newer one added is ignored."""
    assert Wake.model_validate_json('{"generation": 3, "added_later": true}') == Wake(generation=3)

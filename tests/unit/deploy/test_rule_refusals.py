"""What people may not do with deployments, and what is offered to them, by example."""

from collections.abc import Callable

import pytest

from lifecycle.deploy import rules
from lifecycle.deploy.model import TERMINAL, Fleet, Status
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Role
from tests.support.factories import NOW, OLIVIA, VICTOR, actor
from tests.support.fleets import (
    PREVIEW,
    ask,
    called_off,
    deploy,
    finalizing,
    fleet_of,
    rolled_out,
    scheduled,
    settle,
)

STRANGER = actor("mallory").model_copy(update={"workspace": "ws_2"})


def stopped(fleet: Fleet, number: int) -> Fleet:
    """The fleet after somebody stopped one deployment."""
    return ask("stop", fleet, number).fleet


def _rolling() -> Fleet:
    return deploy(fleet_of(2), 3).fleet


def _coming_back() -> Fleet:
    return called_off(scheduled(fleet_of(2)).fleet).fleet


def _off_the_air() -> Fleet:
    return ask("cancel", finalizing(rolled_out(Fleet(), 1, environment=PREVIEW), 2), 2).fleet


REFUSALS: tuple[tuple[str, Callable[[], Fleet], int, Code], ...] = (
    *((action, lambda: fleet_of(1), 9, Code.DEPLOYMENT_NOT_FOUND) for action in rules.ACTIONS),
    ("cancel", lambda: fleet_of(1), 1, Code.ROLLOUT_FINISHED),
    ("cancel", lambda: settle(deploy(Fleet(), 1).fleet, 1, Status.FAILED).fleet, 1, Code.ROLLOUT_FINISHED),
    ("cancel", lambda: stopped(fleet_of(2), 1), 1, Code.ROLLOUT_FINISHED),
    ("rollback", lambda: scheduled(fleet_of(2)).fleet, 1, Code.PROJECT_ENDING),
    ("rollback", _off_the_air, 2, Code.NOTHING_LIVE),
    ("rollback", lambda: fleet_of(2), 2, Code.DEPLOYMENT_ALREADY_LIVE),
    ("rollback", _rolling, 3, Code.DEPLOYMENT_NOT_READY),
    ("promote", lambda: scheduled(fleet_of(2), rest=False).fleet, 1, Code.PROJECT_ENDING),
    ("promote", lambda: stopped(fleet_of(2), 1), 1, Code.DEPLOYMENT_STOPPED),
    ("promote", _rolling, 3, Code.DEPLOYMENT_NOT_READY),
    ("promote", _coming_back, 1, Code.DEPLOYMENT_NOT_READY),
    ("promote", lambda: fleet_of(2), 2, Code.DEPLOYMENT_ALREADY_LIVE),
    ("stop", lambda: fleet_of(2), 2, Code.DEPLOYMENT_LIVE),
    ("stop", lambda: finalizing(fleet_of(1), 2), 1, Code.DEPLOYMENT_LIVE),
    ("stop", _rolling, 3, Code.DEPLOYMENT_NOT_READY),
    ("wake", lambda: scheduled(stopped(fleet_of(2), 1)).fleet, 1, Code.PROJECT_ENDING),
    ("wake", lambda: fleet_of(2), 1, Code.DEPLOYMENT_NOT_STOPPED),
)


@pytest.mark.parametrize(
    ("action", "fleet", "number", "code"),
    REFUSALS,
    ids=[f"{place}-{one[0]}-{one[3].value}" for place, one in enumerate(REFUSALS)],
)
def test_a_refusal_says_why(action: str, fleet: Callable[[], Fleet], number: int, code: Code) -> None:
    """What cannot be done is refused with the code that belongs to it, and its text is complete."""
    with pytest.raises(LifecycleError) as caught:
        ask(action, fleet(), number)

    assert caught.value.code is code
    assert "{" not in caught.value.message


@pytest.mark.parametrize("action", [*rules.ACTIONS, "deploy"])
def test_a_viewer_changes_nothing(action: str) -> None:
    """Every change needs the role operator."""
    with pytest.raises(LifecycleError) as caught:
        deploy(fleet_of(1), 2, by=VICTOR) if action == "deploy" else ask(action, fleet_of(2), 1, by=VICTOR)

    assert (caught.value.code, VICTOR.role) == (Code.ROLE_REQUIRED, Role.VIEWER)


@pytest.mark.parametrize("action", rules.ACTIONS)
def test_another_workspace_finds_nothing(action: str) -> None:
    """A key of another workspace is told that there is no such deployment, whatever it is."""
    with pytest.raises(LifecycleError) as caught:
        ask(action, fleet_of(2), 1, by=STRANGER)

    assert caught.value.code is Code.DEPLOYMENT_NOT_FOUND


@pytest.mark.parametrize("fleet", [scheduled(fleet_of(1)).fleet, Fleet(sealed=True)], ids=["scheduled", "sealed"])
def test_a_project_that_ends_takes_no_deployment(fleet: Fleet) -> None:
    """While its deletion is scheduled, and when it is being purged."""
    with pytest.raises(LifecycleError) as caught:
        deploy(fleet, 9)

    assert caught.value.code is Code.PROJECT_ENDING


FLEETS: dict[str, Callable[[], Fleet]] = {
    "at rest": lambda: fleet_of(3),
    "rolling": _rolling,
    "finalizing": lambda: finalizing(fleet_of(2), 3, branch="main"),
    "off the air": _off_the_air,
    "pinned": lambda: ask("rollback", fleet_of(3), 1).fleet,
    "waiting for a rollback": lambda: ask("rollback", stopped(fleet_of(3), 1), 1).fleet,
    "cancelled": lambda: ask("cancel", deploy(fleet_of(1), 2).fleet, 2).fleet,
    "to be deleted": lambda: scheduled(stopped(fleet_of(3), 1)).fleet,
    "coming back": _coming_back,
    "sealed": lambda: fleet_of(2).model_copy(update={"sealed": True}),
}


@pytest.mark.parametrize("name", FLEETS)
def test_what_is_offered_is_what_is_done(name: str) -> None:
    """An action is offered if and only if it would be accepted; else the refusal is shown that it would get."""
    fleet = FLEETS[name]()
    for one in fleet.members:
        offered = rules.available_actions(fleet, one.id, OLIVIA, NOW)
        assert list(offered) == ["cancel", "promote", "rollback", "stop", "wake"]
        for action, refusal in offered.items():
            if refusal is None:
                ask(action, fleet, one.number)
                continue
            with pytest.raises(LifecycleError) as caught:
                ask(action, fleet, one.number)
            assert (caught.value.code, caught.value.message) == (refusal.code, refusal.message)


def test_every_status_is_terminal_or_progressing_once() -> None:
    """A rollout is over, or it goes on; no status is both or neither."""
    progressing = {
        Status.PENDING,
        Status.QUEUED,
        Status.BUILDING,
        Status.STARTING,
        Status.DEPLOYING,
        Status.NETWORK,
        Status.FINALIZING,
    }

    assert progressing | TERMINAL == set(Status)
    assert not progressing & TERMINAL
    assert {status for status in Status if status.is_terminal} == TERMINAL

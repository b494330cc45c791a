"""Fleets of deployments for tests of the rules, made by the rules; a test names only what matters to it."""

from collections.abc import Iterable
from typing import TypeVar

from lifecycle.deploy import events, rules
from lifecycle.deploy.decision import Decision, Effect, Keep, Rouse, Turn
from lifecycle.deploy.model import (
    Act,
    Activate,
    Deploy,
    Environment,
    Fleet,
    Follow,
    Grace,
    Member,
    Retire,
    Settled,
    Spec,
    Status,
    Switched,
    Woken,
)
from lifecycle.models import Actor
from tests.support.factories import DAY, NOW, OLIVIA

PRODUCTION, PREVIEW = Environment.PRODUCTION, Environment.PREVIEW
E = TypeVar("E", bound=Effect)


def spec(
    number: int, *, environment: Environment = PRODUCTION, branch: str | None = None, watched: bool = False
) -> Spec:
    """What to deploy; its id is `dep_<number>`."""
    return Spec(
        id=f"dep_{number}",
        project="prj_1",
        workspace="ws_1",
        workspace_name="acme",
        slug="shop",
        environment=environment,
        branch=branch,
        watch_seconds=60 if watched else 0,
        requested_by="olivia",
        created_at=NOW,
    )


def deploy(
    fleet: Fleet,
    number: int,
    *,
    environment: Environment = PRODUCTION,
    branch: str | None = None,
    by: Actor = OLIVIA,
) -> Decision:
    """Ask for a deployment."""
    wanted = spec(number, environment=environment, branch=branch)
    return rules.deploy(fleet, Deploy(actor=by, now=NOW, spec=wanted))


def ask(action: str, fleet: Fleet, number: int, *, by: Actor = OLIVIA) -> Decision:
    """Ask for something to be done with a deployment."""
    return rules.ACTIONS[action](fleet, Act(actor=by, now=NOW, deployment=f"dep_{number}"))


def activate(fleet: Fleet, number: int) -> Decision:
    """Its rollout asks to go live."""
    return events.activate(fleet, Activate(deployment=f"dep_{number}", now=NOW))


def settle(fleet: Fleet, number: int, status: Status = Status.READY, *, watched: bool = False) -> Decision:
    """Its rollout has ended, or its watch has."""
    message = "" if status is Status.READY else "It is ill."
    settled = Settled(deployment=f"dep_{number}", status=status, now=NOW, message=message, watched=watched)
    return events.settle(fleet, settled)


def confirm(fleet: Fleet, decision: Decision) -> Decision:
    """The gateway has confirmed the switch that was decided."""
    order = only(decision, Turn).switch
    return events.switched(fleet, Switched(order=order, now=NOW))


def woken(fleet: Fleet, number: int, *, healthy: bool = True, order: int | None = None) -> Decision:
    """Its instances are back, or cannot be; the answer is to the present order unless told otherwise."""
    waking = member(fleet, number).waking
    message = Woken(
        deployment=f"dep_{number}",
        number=order if order is not None else waking.number if waking is not None else fleet.roused,
        now=NOW,
        healthy=healthy,
        message="" if healthy else "It is ill.",
    )
    return events.woken(fleet, message)


def retire(fleet: Fleet, number: int) -> Decision:
    """Its standby is over."""
    return events.retire(fleet, Retire(deployment=f"dep_{number}", now=NOW))


def scheduled(fleet: Fleet, *, generation: int | None = None, suspend: bool = True, rest: bool = True) -> Decision:
    """The project's deletion is scheduled, or moved."""
    number = fleet.followed + 1 if generation is None else generation
    return events.follow(fleet, Follow(generation=number, now=NOW, due_at=NOW + DAY, suspend=suspend, rest=rest))


def called_off(fleet: Fleet, *, generation: int | None = None) -> Decision:
    """The project's deletion is cancelled."""
    number = fleet.followed + 1 if generation is None else generation
    return events.follow(fleet, Follow(generation=number, now=NOW))


def rolled_out(fleet: Fleet, number: int, *, environment: Environment = PRODUCTION, branch: str | None = None) -> Fleet:
    """The fleet after one more rollout went well."""
    fleet = deploy(fleet, number, environment=environment, branch=branch).fleet
    activated = activate(fleet, number)
    return settle(confirm(activated.fleet, activated).fleet, number).fleet


def finalizing(fleet: Fleet, number: int, *, branch: str | None = None) -> Fleet:
    """The fleet while one more rollout has moved its routes and is not ready yet."""
    activated = activate(deploy(fleet, number, branch=branch).fleet, number)
    return confirm(activated.fleet, activated).fleet


def fleet_of(count: int, *, branch: str | None = None) -> Fleet:
    """The fleet after so many rollouts in production, one after the other; the last one is live."""
    fleet = Fleet()
    for number in range(1, count + 1):
        fleet = rolled_out(fleet, number, branch=branch)
    return fleet


def member(fleet: Fleet, number: int) -> Member:
    """The deployment with this number."""
    found = fleet.member(f"dep_{number}")
    assert found is not None
    return found


def grace(fleet: Fleet) -> Grace:
    """What was done to the fleet because of a deletion."""
    assert fleet.grace is not None
    return fleet.grace


def of_kind(decision: Decision, kind: type[E]) -> list[E]:
    """The effects of one kind."""
    return [effect for effect in decision.effects if isinstance(effect, kind)]


def only(decision: Decision, kind: type[E]) -> E:
    """The one effect of this kind."""
    (effect,) = of_kind(decision, kind)
    return effect


def actions(decision: Decision) -> list[str]:
    """What is recorded, in order."""
    return [transition.action for transition in decision.transitions]


def without_keeps(effects: Iterable[Effect]) -> list[Effect]:
    """The effects but those that only end a standby."""
    return [effect for effect in effects if not isinstance(effect, Keep)]


def rouse(decision: Decision) -> str:
    """Which deployment's instances are started again."""
    return only(decision, Rouse).deployment

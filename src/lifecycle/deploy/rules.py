"""What people may do with the deployments of a project. Pure: state and command in, decision out.

    deploy ──> queued ──> rolling ──> live ──replaced──> standby ──> stopped
                 │           │         ^ └ rollback, promote ┘          │
                 └ superseded └ cancel └──────── rollback <── wake ─────┘

Written once: the handlers decide with these functions, and `available_actions` asks them what they would say.
Invariants 15 and 16 of the design are properties of this file, of `moves` and of `events`.
"""

from collections.abc import Mapping
from datetime import datetime

from pydantic import JsonValue

from lifecycle.deploy.decision import Decision, Transition
from lifecycle.deploy.model import ENDED, Act, Deploy, Fleet, Member, Spec, Status
from lifecycle.deploy.moves import (
    begin_next,
    give_up,
    make_live,
    needed,
    queued,
    retired,
    roll_back,
    roused,
    with_member,
    with_pin,
    without_rollbacks,
)
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Actor, Role

# Deployments that nothing needs any more and that are still known for a rollback; older ones are only history.
REMEMBERED = 100
MOST_QUEUED = 50


def deploy(fleet: Fleet, command: Deploy) -> Decision:
    """Take a deployment in: roll it out now, or after the one that is rolling. Repeating it changes nothing.

    Those of the same branch that still wait are superseded.
    """
    _require(command.actor)
    spec = command.spec
    if fleet.member(spec.id) is not None:
        return Decision(fleet)
    fleet = fleet.model_copy(update={"project": spec.project, "workspace": spec.workspace})
    _refuse_ending(fleet)
    decision = _supersede(fleet, spec, command.now)
    fleet = _forget(decision.fleet)
    if len(fleet.queued) >= MOST_QUEUED:
        raise LifecycleError(Code.TOO_MANY_ROLLOUTS, project=spec.project, limit=str(MOST_QUEUED))
    number = fleet.numbered + 1
    member = Member(id=spec.id, number=number, environment=spec.environment, branch=spec.branch, status=Status.QUEUED)
    fleet = fleet.model_copy(
        update={"numbered": number, "members": (*fleet.members, member), "queued": (*fleet.queued, spec)}
    )
    detail: dict[str, JsonValue] = {"environment": spec.environment.value, "number": number}
    decision = decision.then(begin_next(fleet))
    return decision.noting(Transition("deployment.created", spec.id, command.now, command.actor, detail))


def cancel(fleet: Fleet, command: Act) -> Decision:
    """Give a rollout up. Routes that moved already go back; cancelling twice changes nothing."""
    member = _target(fleet, command)
    if member.status is Status.CANCELLED:
        return Decision(fleet)
    if member.status.is_terminal:
        raise LifecycleError(Code.ROLLOUT_FINISHED, deployment=member.id, status=member.status.value)
    message = f"Cancelled by {command.actor.person}."
    transition = Transition("deployment.cancelled", member.id, command.now, command.actor)
    return give_up(fleet, member, Status.CANCELLED, message, transition)


def rollback(fleet: Fleet, command: Act) -> Decision:
    """Make an earlier deployment live and keep it there: the environment is pinned. A stopped one is woken first."""
    member = _target(fleet, command)
    _refuse_ending(fleet)
    if fleet.live.get(member.environment) is None:
        raise LifecycleError(Code.NOTHING_LIVE, environment=member.environment.value)
    _refuse_live(fleet, member)
    if member.status not in (Status.READY, Status.STOPPED):
        raise LifecycleError(Code.DEPLOYMENT_NOT_READY, deployment=member.id, status=member.status.value)
    if member.running:
        return roll_back(fleet, member, command.now, command.actor)
    if member.waking is not None and member.waking.rolls_back and member.waking.actor is not None:
        return Decision(fleet)
    fleet = without_rollbacks(fleet, member.environment)
    begun = Transition("deployment.rollback_begun", member.id, command.now, command.actor)
    return roused(fleet, member, rolls_back=True, actor=command.actor).noting(begun)


def promote(fleet: Fleet, command: Act) -> Decision:
    """Make a ready deployment live and lift the pin; of the pinned one itself, only lift the pin."""
    member = _target(fleet, command)
    _refuse_ending(fleet)
    if member.status is Status.STOPPED:
        raise LifecycleError(Code.DEPLOYMENT_STOPPED, deployment=member.id)
    if member.status is not Status.READY:
        raise LifecycleError(Code.DEPLOYMENT_NOT_READY, deployment=member.id, status=member.status.value)
    live = fleet.live.get(member.environment)
    if live != member.id:
        _refuse_waking(member)
        fleet = with_member(fleet, member.model_copy(update={"replaced": live}))
    elif member.environment not in fleet.pinned:
        _refuse_live(fleet, member)
    decision = make_live(with_pin(fleet, member.environment, pinned=False), member)
    return decision.noting(Transition("deployment.promoted", member.id, command.now, command.actor))


def stop(fleet: Fleet, command: Act) -> Decision:
    """Stop a deployment that is not live, nor would be if the live one failed; stopping twice changes nothing."""
    member = _target(fleet, command)
    if needed(fleet, member):
        raise LifecycleError(Code.DEPLOYMENT_LIVE, deployment=member.id)
    if member.status not in (Status.READY, Status.STOPPED):
        raise LifecycleError(Code.DEPLOYMENT_NOT_READY, deployment=member.id, status=member.status.value)
    return retired(fleet, member, command.now, command.actor)


def wake(fleet: Fleet, command: Act) -> Decision:
    """Start a stopped deployment again, into standby. Waking twice changes nothing."""
    member = _target(fleet, command)
    _refuse_ending(fleet)
    if member.status is not Status.STOPPED:
        raise LifecycleError(Code.DEPLOYMENT_NOT_STOPPED, deployment=member.id, status=member.status.value)
    if member.waking is not None:
        return Decision(fleet)
    begun = Transition("deployment.wake_begun", member.id, command.now, command.actor)
    return roused(fleet, member, actor=command.actor).noting(begun)


ACTIONS = {"cancel": cancel, "promote": promote, "rollback": rollback, "stop": stop, "wake": wake}


def available_actions(
    fleet: Fleet, deployment: str, actor: Actor, now: datetime
) -> Mapping[str, LifecycleError | None]:
    """What could be done with a deployment now; for what could not, the refusal that it would get."""
    command = Act(actor=actor, now=now, deployment=deployment)
    found: dict[str, LifecycleError | None] = {}
    for name, rule in ACTIONS.items():
        try:
            rule(fleet, command)
        except LifecycleError as error:
            found[name] = error
        else:
            found[name] = None
    return found


def _require(actor: Actor) -> None:
    if not actor.role.includes(Role.OPERATOR):
        raise LifecycleError(Code.ROLE_REQUIRED, required=Role.OPERATOR.value, role=actor.role.value)


def _target(fleet: Fleet, command: Act) -> Member:
    _require(command.actor)
    member = fleet.member(command.deployment)
    if member is None or command.actor.workspace != fleet.workspace:
        raise LifecycleError(Code.DEPLOYMENT_NOT_FOUND, deployment=command.deployment)
    return member


def _refuse_ending(fleet: Fleet) -> None:
    if fleet.sealed or (fleet.grace is not None and not fleet.grace.over):
        raise LifecycleError(Code.PROJECT_ENDING, project=fleet.project)


def _refuse_live(fleet: Fleet, member: Member) -> None:
    if fleet.is_live(member.id):
        raise LifecycleError(Code.DEPLOYMENT_ALREADY_LIVE, deployment=member.id)


def _refuse_waking(member: Member) -> None:
    if not member.running:
        raise LifecycleError(Code.DEPLOYMENT_NOT_READY, deployment=member.id, status="waking")


def _supersede(fleet: Fleet, newer: Spec, now: datetime) -> Decision:
    decision = Decision(fleet)
    for spec in fleet.queued:
        if spec.branch is None or (spec.branch, spec.environment) != (newer.branch, newer.environment):
            continue
        member = queued(decision.fleet, spec)
        transition = Transition("deployment.superseded", spec.id, now, None, {"by": newer.id})
        message = f"Superseded by {newer.id}."
        decision = decision.then(give_up(decision.fleet, member, Status.SUPERSEDED, message, transition))
    return decision


def _forget(fleet: Fleet) -> Fleet:
    """Without the oldest deployments that nothing needs any more."""
    wanted = {*fleet.live.values(), fleet.rolling, *(one.replaced for one in fleet.members if fleet.is_live(one.id))}
    over = [
        one.id
        for one in fleet.members
        if one.status in ENDED and not one.running and one.waking is None and one.id not in wanted
    ]
    forgotten = set(over[: max(0, len(over) - REMEMBERED)])
    return fleet.model_copy(update={"members": tuple(one for one in fleet.members if one.id not in forgotten)})

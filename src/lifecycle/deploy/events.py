"""What happened to the deployments of a project by itself, and what follows. Pure: state and message in, decision out.

Rollouts, routes, instances, standbys and the project's deletion report here; each message may be late, and then says
nothing any more.
"""

from datetime import datetime

from pydantic import JsonValue

from lifecycle.deploy.decision import Decision, Effect, Rest, Resume, Rouse, Stand, Suspend, Tell, Transition
from lifecycle.deploy.model import (
    Activate,
    Activation,
    Fleet,
    Follow,
    Grace,
    Member,
    Retire,
    Settled,
    Status,
    Switch,
    Switched,
    Wake,
    Woken,
)
from lifecycle.deploy.moves import activation, begin_next, give_up, removed, retired, roll_back, serves, with_member


def activate(fleet: Fleet, message: Activate) -> Decision:
    """A rollout's instances are ready: move its own domains, and the live ones unless pinned or overtaken."""
    member = fleet.member(message.deployment)
    if member is None or member.status.is_terminal or fleet.sealed or fleet.grace is not None:
        return Decision(fleet, (Tell(message.deployment, Activation(accepted=False)),))
    if member.status is Status.FINALIZING:
        return Decision(fleet)
    live = fleet.live.get(member.environment)
    before = None if live is None else fleet.member(live)
    overtaken = before is not None and before.number > member.number
    member = member.model_copy(update={"status": Status.FINALIZING, "running": True, "replaced": live})
    free = member.environment not in fleet.pinned and not overtaken
    return activation(with_member(fleet, member), member, live=free)


def switched(fleet: Fleet, message: Switched) -> Decision:
    """The gateway serves as ordered: what was replaced goes to standby, or is removed if it failed."""
    order = message.order
    decision = Decision(fleet)
    for former in sorted({order.expected, order.back_from} - {None, order.deployment}, key=str):
        member = fleet.member(str(former))
        if member is None or not member.running or fleet.is_live(member.id) or fleet.rolling == member.id:
            continue
        if member.status in (Status.FAILED, Status.CANCELLED):
            decision = decision.then(removed(decision.fleet, member))
        elif member.status is Status.READY and not serves(fleet, member):
            decision = decision.then(Decision(decision.fleet, (Stand(member.id),)))
    if order.tells_rollout and order.deployment is not None:
        told = Activation(accepted=True, live=order.live, reason=_why_not_live(fleet, order))
        decision = decision.then(Decision(decision.fleet, (Tell(order.deployment, told),)))
    return decision


def settle(fleet: Fleet, message: Settled) -> Decision:
    """A rollout ended, well or not; or its watch found it ill after it was live."""
    member = fleet.member(message.deployment)
    if member is None:
        return Decision(fleet)
    if message.watched:
        return _watched(fleet, member, message)
    if fleet.rolling == member.id:
        fleet = fleet.model_copy(update={"rolling": None})
    if member.status.is_terminal:
        decision = removed(fleet, member)  # it was cancelled, and only now nothing of it starts any more
    elif message.status is Status.READY:
        decision = _ready(fleet, member, message.now)
    else:
        detail: dict[str, JsonValue] = {"message": message.message}
        transition = Transition(f"deployment.{message.status.value}", member.id, message.now, None, detail)
        decision = give_up(fleet, member, message.status, message.message, transition)
    return decision.then(begin_next(decision.fleet))


def woken(fleet: Fleet, message: Woken) -> Decision:
    """Instances are back, or cannot be: finish what waited for them."""
    member = fleet.member(message.deployment)
    if member is None or fleet.sealed:
        return Decision(fleet, (Rest(message.deployment),))
    waking = fleet.waking if fleet.waking is not None and fleet.waking.target == member.id else None
    if waking is not None:
        fleet = fleet.model_copy(update={"waking": None})
    actor = None if waking is None else waking.actor
    if message.healthy:
        decision = _woken_well(fleet, member, message.now, waking)
    else:
        detail: dict[str, JsonValue] = {"message": message.message}
        ill = member.model_copy(update={"status": Status.STOPPED, "running": False, "message": message.message})
        decision = Decision(with_member(fleet, ill), (Rest(member.id),))
        decision = decision.noting(Transition("deployment.wake_failed", member.id, message.now, actor, detail))
    return decision.then(_brought_back(decision.fleet, member.id))


def retire(fleet: Fleet, message: Retire) -> Decision:
    """Standby is over: stop the deployment, unless it is wanted again."""
    member = fleet.member(message.deployment)
    wanted = fleet.waking is not None and fleet.waking.target == message.deployment
    if member is None or fleet.is_live(member.id) or wanted or member.status is not Status.READY:
        return Decision(fleet)
    return retired(fleet, member, message.now, None)


def follow(fleet: Fleet, message: Follow) -> Decision:
    """The project's deletion was scheduled, moved or cancelled: suspend and rest, or bring everything back."""
    if message.generation < fleet.followed or fleet.sealed:
        return Decision(fleet)
    fleet = fleet.model_copy(update={"followed": message.generation})
    if message.due_at is None:
        return _come_back(fleet)
    decision = _end_rollouts(fleet, message.now, "The project is scheduled for deletion.")
    fleet, grace = decision.fleet, fleet.grace
    resting = [] if grace is None else [*grace.resting, *grace.waking]
    if message.rest:
        resting += [one.id for one in fleet.members if one.running and one.status is Status.READY]
    begun = tuple(dict.fromkeys(resting))
    effects: tuple[Effect, ...] = (Suspend(message.due_at),) if message.suspend else ()
    if grace is not None and grace.suspended and not message.suspend:
        effects = (Resume(),)
    members = tuple(one.model_copy(update={"running": False}) if one.id in begun else one for one in fleet.members)
    fleet = fleet.model_copy(
        update={"grace": Grace(suspended=message.suspend, resting=begun), "members": members, "waking": None}
    )
    return decision.then(Decision(fleet, effects + tuple(Rest(one) for one in begun)))


def seal(fleet: Fleet, now: datetime) -> Decision:
    """The purge begins: no deployment is taken any more, and rollouts end. Sealing again changes nothing."""
    if fleet.sealed:
        return Decision(fleet)
    decision = _end_rollouts(fleet, now, "The project is being deleted.")
    return decision.then(Decision(decision.fleet.model_copy(update={"sealed": True, "waking": None})))


def _ready(fleet: Fleet, member: Member, now: datetime) -> Decision:
    ready = member.model_copy(update={"status": Status.READY, "message": ""})
    before = with_member(fleet, member.model_copy(update={"status": Status.STARTING}))
    after = with_member(fleet, ready)
    # What the new one has replaced under the name of its branch; what it replaced as live was seen by `switched`.
    idle = [
        one.id
        for one in after.members
        if one.running
        and one.status is Status.READY
        and not serves(after, one)
        and (one.id == ready.id or serves(before, one))
    ]
    decision = Decision(after, tuple(Stand(deployment) for deployment in idle))
    return decision.noting(Transition("deployment.ready", member.id, now))


def _watched(fleet: Fleet, member: Member, message: Settled) -> Decision:
    before = None if member.replaced is None else fleet.member(member.replaced)
    if not fleet.is_live(member.id) or before is None or fleet.grace is not None or fleet.sealed:
        return Decision(fleet)
    noted = with_member(fleet, member.model_copy(update={"message": message.message}))
    if before.running and before.status is Status.READY:
        return roll_back(noted, before, message.now, None, message.message)
    begun = Transition("deployment.rollback_begun", before.id, message.now, None, {"message": message.message})
    return Decision(noted.model_copy(update={"waking": Wake(target=before.id)}), (Rouse(before.id),)).noting(begun)


def _woken_well(fleet: Fleet, member: Member, now: datetime, waking: Wake | None) -> Decision:
    grace = fleet.grace
    if grace is not None and not grace.over:
        return Decision(fleet, (Rest(member.id),) if member.id in grace.resting else ())
    awake = member.model_copy(update={"status": Status.READY, "running": True, "message": ""})
    fleet = with_member(fleet, awake)
    actor = None if waking is None else waking.actor
    decision = Decision(fleet).noting(Transition("deployment.woken", member.id, now, actor))
    if waking is not None and not fleet.is_live(member.id):
        return decision.then(roll_back(fleet, awake, now, actor))
    return decision if serves(fleet, awake) else decision.then(Decision(fleet, (Stand(member.id),)))


def _come_back(fleet: Fleet) -> Decision:
    grace = fleet.grace
    if grace is None or grace.over:
        return Decision(fleet)
    over = Grace(over=True, suspended=grace.suspended, waking=grace.resting)
    decision = Decision(
        fleet.model_copy(update={"grace": over}), tuple(Rouse(deployment) for deployment in grace.resting)
    )
    return decision if grace.resting else decision.then(_brought_back(decision.fleet, ""))


def _brought_back(fleet: Fleet, deployment: str) -> Decision:
    """One of those that a cancelled deletion brings back is there; after the last one, traffic follows."""
    grace = fleet.grace
    if grace is None or not grace.over:
        return Decision(fleet)
    waking = tuple(one for one in grace.waking if one != deployment)
    if waking:
        return Decision(fleet.model_copy(update={"grace": grace.model_copy(update={"waking": waking})}))
    return Decision(fleet.model_copy(update={"grace": None}), (Resume(),) if grace.suspended else ())


def _end_rollouts(fleet: Fleet, now: datetime, message: str) -> Decision:
    decision = Decision(fleet)
    for member in fleet.members:
        if not member.status.is_terminal:
            transition = Transition("deployment.cancelled", member.id, now, None, {"message": message})
            decision = decision.then(give_up(decision.fleet, member, Status.CANCELLED, message, transition))
    return decision


def _why_not_live(fleet: Fleet, order: Switch) -> str:
    if order.live:
        return ""
    if order.environment in fleet.pinned:
        return "The environment is pinned by a rollback; promote this deployment to lift the pin."
    return "A newer deployment is live; roll back to this one if you want it."

"""What happened to the deployments of a project by itself, and what follows. Pure: state and message in, decision out.

Rollouts, routes, instances, standbys and the project's deletion report here; each message may be late, and then says
nothing any more.
"""

from datetime import datetime

from pydantic import JsonValue

from lifecycle.deploy.decision import Decision, Effect, Keep, Rest, Resume, Stand, Suspend, Tell, Transition
from lifecycle.deploy.model import (
    Activate,
    Activation,
    Environment,
    Fleet,
    Follow,
    Grace,
    Member,
    Retire,
    Settled,
    Status,
    Switched,
    Waking,
    Woken,
)
from lifecycle.deploy.moves import (
    activation,
    begin_next,
    give_up,
    idle,
    needed,
    newest_of_branch,
    not_awaited,
    removed,
    retired,
    roll_back,
    rolls_back,
    roused,
    with_member,
    without_rollbacks,
)


def activate(fleet: Fleet, message: Activate) -> Decision:
    """A rollout's instances are ready: move its own domains, and the live ones unless pinned or overtaken."""
    member = fleet.member(message.deployment)
    if member is None or member.status.is_terminal:
        return Decision(fleet, (Tell(message.deployment, Activation(accepted=False)),))
    if member.status is Status.FINALIZING:
        return Decision(fleet)
    live = fleet.live.get(member.environment)
    before = None if live is None else fleet.member(live)
    overtaken = before is not None and before.number > member.number
    free = member.environment not in fleet.pinned and not overtaken
    member = member.model_copy(update={"status": Status.FINALIZING, "replaced": live if free else None})
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
        elif idle(fleet, member):
            decision = decision.then(Decision(decision.fleet, (Stand(member.id),)))
    if order.tells_rollout and order.deployment is not None:
        decision = decision.then(Decision(decision.fleet, (Tell(order.deployment, _told(fleet, order.deployment)),)))
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
    if member.status in (Status.READY, Status.STOPPED):
        return begin_next(fleet)
    if member.status.is_terminal:
        decision = removed(fleet, member)  # it was cancelled, and only now nothing of it starts any more
    elif message.status is Status.READY:
        decision = _ready(fleet, member, message.now)
    else:
        detail: dict[str, JsonValue] = {"message": message.message}
        transition = Transition(f"deployment.{message.status.value}", member.id, message.now, None, detail)
        decision = give_up(fleet, member, message.status, message.message, transition)
    decision = decision.then(_relieved(decision.fleet, fleet, member))
    return decision.then(begin_next(decision.fleet))


def woken(fleet: Fleet, message: Woken) -> Decision:
    """Instances are back, or cannot be: finish what waited for them."""
    member = fleet.member(message.deployment)
    if member is None or fleet.sealed:
        return Decision(fleet, (Rest(message.deployment),))
    waking = member.waking
    if waking is None or message.number not in (0, waking.number):
        return Decision(fleet)  # it was stopped meanwhile, and its instances go
    awake = member.model_copy(update={"waking": None, "message": message.message})
    if message.healthy:
        decision = _woken_well(fleet, awake, message.now, waking)
    else:
        decision = _woken_ill(fleet, awake, message, waking)
    return decision.then(not_awaited(decision.fleet, member.id))


def retire(fleet: Fleet, message: Retire) -> Decision:
    """Standby is over: stop the deployment, unless it is wanted again."""
    member = fleet.member(message.deployment)
    if member is None or member.status is not Status.READY or needed(fleet, member):
        return Decision(fleet)
    awaited = member.waking is not None and member.waking.rolls_back
    return Decision(fleet) if awaited else retired(fleet, member, message.now, None)


def follow(fleet: Fleet, message: Follow) -> Decision:
    """The project's deletion was scheduled, moved or cancelled: suspend and rest, or bring everything back."""
    if message.generation < fleet.followed or fleet.sealed:
        return Decision(fleet)
    fleet = fleet.model_copy(update={"followed": message.generation})
    if message.due_at is None:
        return _come_back(fleet)
    decision = _end_rollouts(fleet, message.now, "The project is scheduled for deletion.")
    before = decision.fleet.grace or Grace(suspended=False)
    effects: tuple[Effect, ...] = (Suspend(message.due_at),) if message.suspend else ()
    if before.suspended and not message.suspend:
        effects = (Resume(),)
    grace = Grace(suspended=message.suspend, resting=before.resting, waking=before.waking)
    decision = decision.then(Decision(decision.fleet.model_copy(update={"grace": grace}), effects))
    return decision.then(_rest(decision.fleet, grace)) if message.rest else decision


def seal(fleet: Fleet, now: datetime) -> Decision:
    """The purge begins: no deployment is taken any more, rollouts and standbys end. Sealing again changes nothing."""
    if fleet.sealed:
        return Decision(fleet)
    decision = _end_rollouts(fleet, now, "The project is being deleted.")
    # Instances that still wake up are stopped when they say so.
    members = tuple(one.model_copy(update={"waking": None}) for one in decision.fleet.members)
    sealed = decision.fleet.model_copy(update={"sealed": True, "members": members, "grace": None})
    return decision.then(Decision(sealed, tuple(Keep(one.id) for one in members if one.running)))


def _told(fleet: Fleet, deployment: str) -> Activation:
    member = fleet.member(deployment)
    if member is None or member.status is not Status.FINALIZING:
        return Activation(accepted=False)
    if fleet.is_live(deployment):
        return Activation(accepted=True, live=True)
    if member.environment in fleet.pinned:
        reason = "The environment is pinned by a rollback; promote this deployment to lift the pin."
    else:
        reason = "A newer deployment is live; roll back to this one if you want it."
    return Activation(accepted=True, live=False, reason=reason)


def _ready(fleet: Fleet, member: Member, now: datetime) -> Decision:
    ready = member.model_copy(update={"status": Status.READY, "message": ""})
    return Decision(with_member(fleet, ready)).noting(Transition("deployment.ready", member.id, now))


def _relieved(fleet: Fleet, before: Fleet, member: Member) -> Decision:
    """A rollout has ended: it, what it was to replace, and what was the newest of its branch may serve no more."""
    without = with_member(before, member.model_copy(update={"status": Status.STARTING}))
    relieved = (
        one.id
        for one in fleet.members
        if idle(fleet, one) and (one.id in (member.id, member.replaced) or newest_of_branch(without, one))
    )
    return Decision(fleet, tuple(Stand(deployment) for deployment in relieved))


def _watched(fleet: Fleet, member: Member, message: Settled) -> Decision:
    before = None if member.replaced is None else fleet.member(member.replaced)
    # What people have decided stands: a pin, and a rollback that waits for its target.
    decided = member.environment in fleet.pinned or rolls_back(fleet, member.environment)
    if not fleet.is_live(member.id) or decided or fleet.grace is not None or fleet.sealed:
        return Decision(fleet)
    if before is None or before.status not in (Status.READY, Status.STOPPED):
        return Decision(fleet)
    noted = with_member(fleet, member.model_copy(update={"message": message.message}))
    if before.running:
        return roll_back(noted, before, message.now, None, message.message)
    begun = Transition("deployment.rollback_begun", before.id, message.now, None, {"message": message.message})
    return roused(noted, before, rolls_back=True).noting(begun)


def _woken_well(fleet: Fleet, awake: Member, now: datetime, waking: Waking) -> Decision:
    awake = awake.model_copy(update={"status": Status.READY, "running": True})
    fleet = with_member(fleet, awake)
    decision = Decision(fleet).noting(Transition("deployment.woken", awake.id, now, waking.actor))
    if waking.rolls_back and not fleet.is_live(awake.id):
        return decision.then(roll_back(fleet, awake, now, waking.actor))
    return decision.then(Decision(fleet, (Stand(awake.id),))) if idle(fleet, awake) else decision


def _woken_ill(fleet: Fleet, ill: Member, message: Woken, waking: Waking) -> Decision:
    detail: dict[str, JsonValue] = {"message": message.message}
    failed = Transition("deployment.wake_failed", ill.id, message.now, waking.actor, detail)
    if needed(fleet, ill):
        # Nothing else serves there: its instances stay wanted, and whoever looks for missing ones goes on trying.
        return Decision(with_member(fleet, ill.model_copy(update={"running": True}))).noting(failed)
    stopped = ill.model_copy(update={"status": Status.STOPPED, "running": False})
    return Decision(with_member(fleet, stopped), (Rest(ill.id),)).noting(failed)


def _rest(fleet: Fleet, grace: Grace) -> Decision:
    """Stop whatever runs or wakes up; what is ready comes back when the deletion is cancelled."""
    effects = tuple(Rest(one.id) for one in fleet.members if _up(one))
    resting = [*grace.resting, *(one.id for one in fleet.members if _up(one) and one.status is Status.READY)]
    members = tuple(
        one.model_copy(update={"running": False, "waking": None}) if _up(one) else one for one in fleet.members
    )
    grace = grace.model_copy(update={"resting": tuple(resting), "waking": ()})
    return Decision(fleet.model_copy(update={"members": members, "grace": grace}), effects)


def _up(member: Member) -> bool:
    """Whether it has instances that no rollout has to end with first."""
    return member.waking is not None or (member.running and member.status is Status.READY)


def _come_back(fleet: Fleet) -> Decision:
    grace = fleet.grace
    if grace is None or grace.over:
        return Decision(fleet)
    over = grace.model_copy(update={"over": True, "resting": (), "waking": (*grace.waking, *grace.resting)})
    decision = Decision(fleet.model_copy(update={"grace": over}))
    for member in fleet.members:
        if member.id in grace.resting:
            decision = decision.then(roused(decision.fleet, member))
    return decision.then(not_awaited(decision.fleet))


def _end_rollouts(fleet: Fleet, now: datetime, message: str) -> Decision:
    decision = Decision(without_rollbacks(fleet, *Environment))
    for member in fleet.members:
        if not member.status.is_terminal:
            transition = Transition("deployment.cancelled", member.id, now, None, {"message": message})
            decision = decision.then(give_up(decision.fleet, member, Status.CANCELLED, message, transition))
    return decision

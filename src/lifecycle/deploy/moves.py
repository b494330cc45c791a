"""What rules and events share: how a fleet of deployments changes, and what follows from each change. Pure."""

from datetime import datetime

from pydantic import JsonValue

from lifecycle.deploy.decision import Decision, Halt, Keep, Rest, Resume, Roll, Rouse, Transition, Turn
from lifecycle.deploy.domains import Kind
from lifecycle.deploy.model import LIVE_KINDS, Environment, Fleet, Member, Spec, Status, Switch, Waking
from lifecycle.models import Actor

# Whoever is in one of these has, or had, the domain of its branch.
_HAD_ROUTES = (Status.FINALIZING, Status.READY, Status.STOPPED)


def queued(fleet: Fleet, spec: Spec) -> Member:
    """The deployment that waits for its rollout."""
    return next(one for one in fleet.members if one.id == spec.id)


def with_member(fleet: Fleet, member: Member) -> Fleet:
    """The fleet with this deployment in the place of its former self."""
    members = tuple(member if one.id == member.id else one for one in fleet.members)
    return fleet.model_copy(update={"members": members})


def with_pin(fleet: Fleet, environment: Environment, *, pinned: bool) -> Fleet:
    """The fleet with the environment pinned, or not."""
    others = tuple(one for one in fleet.pinned if one is not environment)
    return fleet.model_copy(update={"pinned": (*others, environment) if pinned else others})


def rolls_back(fleet: Fleet, environment: Environment) -> bool:
    """Whether a rollback of this environment waits for its target."""
    return any(
        one.waking is not None and one.waking.rolls_back and one.environment is environment for one in fleet.members
    )


def without_rollbacks(fleet: Fleet, *environments: Environment, asked_for: bool = True) -> Fleet:
    """The fleet without rollbacks that wait for their target; those asked for by people stay unless `asked_for`."""
    for member in fleet.members:
        waking = member.waking
        if waking is not None and member.environment in environments and (asked_for or waking.actor is None):
            only_wakes = waking.model_copy(update={"rolls_back": False})
            fleet = with_member(fleet, member.model_copy(update={"waking": only_wakes}))
    return fleet


def needed(fleet: Fleet, member: Member) -> bool:
    """Whether its environment would be off the air without it: it is live, or what is live may still fail."""
    successors = [one.id for one in fleet.members if one.replaced == member.id and one.status is Status.FINALIZING]
    return fleet.is_live(member.id) or any(fleet.is_live(one) for one in successors)


def serves(fleet: Fleet, member: Member) -> bool:
    """Whether it has to run: its environment needs it, or it is the newest of its branch."""
    return needed(fleet, member) or newest_of_branch(fleet, member)


def newest_of_branch(fleet: Fleet, member: Member) -> bool:
    """Whether the domain of its branch is its own."""
    if member.branch is None:
        return False
    siblings = (one.number for one in fleet.members if one.branch == member.branch and one.status in _HAD_ROUTES)
    return member.number >= max(siblings, default=0)


def idle(fleet: Fleet, member: Member) -> bool:
    """Whether it runs for nothing."""
    return member.running and member.status is Status.READY and not serves(fleet, member)


def begin_next(fleet: Fleet) -> Decision:
    """Begin the next rollout when none is running."""
    if fleet.rolling is not None or not fleet.queued:
        return Decision(fleet)
    spec, *rest = fleet.queued
    member = queued(fleet, spec).model_copy(update={"status": Status.STARTING, "running": True})
    fleet = with_member(fleet.model_copy(update={"rolling": spec.id, "queued": tuple(rest)}), member)
    return Decision(fleet, (Roll(spec),))


def activation(fleet: Fleet, member: Member, *, live: bool) -> Decision:
    """Give a finalizing deployment its own domains, and the live ones."""
    own = (Kind.COMMIT, Kind.BRANCH) if newest_of_branch(fleet, member) else (Kind.COMMIT,)
    if not live:
        return _switch(fleet, member, kinds=own, tells_rollout=True)
    # It takes the place of the one that was found ill; what people asked for is theirs to take back.
    fleet = without_rollbacks(fleet, member.environment, asked_for=False)
    return _switch(fleet, member, kinds=own + LIVE_KINDS, tells_rollout=True)


def make_live(fleet: Fleet, member: Member) -> Decision:
    """Give a ready deployment the live domains of its environment; no other one waits for them any more."""
    fleet = without_rollbacks(fleet, member.environment)
    return _switch(fleet, member, kinds=LIVE_KINDS, tells_rollout=False)


def roll_back(fleet: Fleet, member: Member, now: datetime, actor: Actor | None, message: str = "") -> Decision:
    """Make an earlier deployment live, and pin its environment to it."""
    detail: dict[str, JsonValue] = {"from": fleet.live.get(member.environment), "message": message}
    decision = make_live(with_pin(fleet, member.environment, pinned=True), member)
    return decision.noting(Transition("deployment.rolled_back", member.id, now, actor, detail))


def give_up(fleet: Fleet, member: Member, status: Status, message: str, transition: Transition) -> Decision:
    """End a deployment that is not ready: its routes first, then its instances."""
    moved = member.status is Status.FINALIZING
    ended = member.model_copy(update={"status": status, "message": message})
    others = tuple(spec for spec in fleet.queued if spec.id != member.id)
    fleet = with_member(fleet.model_copy(update={"queued": others}), ended)
    decision = Decision(fleet).noting(transition)
    if fleet.rolling == member.id:
        # What it has started goes when it says that it has ended; nothing can be removed before that.
        decision = decision.then(Decision(fleet, (Halt(member.id),)))
    if moved:
        return decision.then(_back(fleet, ended))
    return decision if fleet.rolling == member.id else decision.then(removed(fleet, ended))


def roused(fleet: Fleet, member: Member, *, rolls_back: bool = False, actor: Actor | None = None) -> Decision:
    """Start the instances of a deployment again; if that is under way, only what follows from it changes."""
    if member.waking is not None:
        waking = member.waking.model_copy(update={"rolls_back": rolls_back, "actor": actor})
        return Decision(with_member(fleet, member.model_copy(update={"waking": waking})))
    waking = Waking(number=fleet.roused + 1, rolls_back=rolls_back, actor=actor)
    fleet = with_member(fleet, member.model_copy(update={"waking": waking, "message": ""}))
    return Decision(fleet.model_copy(update={"roused": waking.number}), (Rouse(member.id, waking.number),))


def retired(fleet: Fleet, member: Member, now: datetime, actor: Actor | None) -> Decision:
    """Stop a deployment; one that is stopped stays as it is."""
    if member.status is Status.STOPPED and member.waking is None:
        return Decision(fleet)
    stopped = member.model_copy(update={"status": Status.STOPPED, "running": False, "waking": None})
    decision = Decision(with_member(fleet, stopped), (Keep(member.id), Rest(member.id)))
    decision = decision.noting(Transition("deployment.stopped", member.id, now, actor))
    return decision.then(not_awaited(decision.fleet, member.id))


def removed(fleet: Fleet, member: Member) -> Decision:
    """Remove what is left of a deployment that ended."""
    if not member.running:
        return Decision(fleet)
    return Decision(with_member(fleet, member.model_copy(update={"running": False})), (Rest(member.id),))


def not_awaited(fleet: Fleet, deployment: str | None = None) -> Decision:
    """A cancelled deletion does not bring this one back any more; after the last one, traffic follows."""
    grace = fleet.grace
    if grace is None:
        return Decision(fleet)
    resting = tuple(one for one in grace.resting if one != deployment)
    waking = tuple(one for one in grace.waking if one != deployment)
    if waking or not grace.over:
        awaited = grace.model_copy(update={"resting": resting, "waking": waking})
        return Decision(fleet.model_copy(update={"grace": awaited}))
    return Decision(fleet.model_copy(update={"grace": None}), (Resume(),) if grace.suspended else ())


def _switch(fleet: Fleet, member: Member, *, kinds: tuple[Kind, ...], tells_rollout: bool) -> Decision:
    environment = member.environment
    order = Switch(
        number=fleet.switch + 1,
        environment=environment,
        deployment=member.id,
        expected=fleet.live.get(environment),
        kinds=kinds,
        pinned=environment in fleet.pinned,
        tells_rollout=tells_rollout,
    )
    lives = {**fleet.live, environment: member.id} if order.live else fleet.live
    return Decision(fleet.model_copy(update={"switch": order.number, "live": lives}), (Keep(member.id), Turn(order)))


def _back(fleet: Fleet, member: Member) -> Decision:
    """Move every route of a deployment back to where it came from."""
    environment = member.environment
    # It was ready then and is still: nobody stops what is needed.
    target = member.replaced if fleet.is_live(member.id) else None
    order = Switch(
        number=fleet.switch + 1,
        environment=environment,
        deployment=target,
        expected=fleet.live.get(environment),
        back_from=member.id,
        kinds=LIVE_KINDS if fleet.is_live(member.id) else (),
        pinned=environment in fleet.pinned,
    )
    lives = {where: live for where, live in fleet.live.items() if live != member.id}
    if target is not None:
        lives[environment] = target
    keep = () if target is None else (Keep(target),)
    return Decision(fleet.model_copy(update={"switch": order.number, "live": lives}), (*keep, Turn(order)))

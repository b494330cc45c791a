"""What rules and events share: how a fleet of deployments changes, and what follows from each change. Pure."""

from datetime import datetime

from pydantic import JsonValue

from lifecycle.deploy.decision import Decision, Halt, Keep, Rest, Roll, Transition, Turn
from lifecycle.deploy.domains import Kind
from lifecycle.deploy.model import LIVE_KINDS, Environment, Fleet, Member, Status, Switch
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Actor


def known(fleet: Fleet, deployment: str) -> Member:
    """The deployment, if it can still be acted upon."""
    member = fleet.member(deployment)
    if member is None:
        raise LifecycleError(Code.DEPLOYMENT_NOT_FOUND, deployment=deployment)
    return member


def with_member(fleet: Fleet, member: Member) -> Fleet:
    """The fleet with this deployment in the place of its former self."""
    members = tuple(member if one.id == member.id else one for one in fleet.members)
    return fleet.model_copy(update={"members": members})


def with_pin(fleet: Fleet, environment: Environment, *, pinned: bool) -> Fleet:
    """The fleet with the environment pinned, or not."""
    others = tuple(one for one in fleet.pinned if one is not environment)
    return fleet.model_copy(update={"pinned": (*others, environment) if pinned else others})


def serves(fleet: Fleet, member: Member) -> bool:
    """Whether people find it under a name that follows the newest: it is live, or the newest of its branch."""
    return fleet.is_live(member.id) or newest_of_branch(fleet, member)


def newest_of_branch(fleet: Fleet, member: Member) -> bool:
    """Whether the domain of its branch is its own."""
    if member.branch is None:
        return False
    siblings = (
        one.number
        for one in fleet.members
        if one.branch == member.branch and one.status in (Status.READY, Status.FINALIZING)
    )
    return member.number >= max(siblings, default=0)


def begin_next(fleet: Fleet) -> Decision:
    """Begin the next rollout when none is running."""
    if fleet.rolling is not None or not fleet.queued:
        return Decision(fleet)
    spec, *rest = fleet.queued
    member = known(fleet, spec.id).model_copy(update={"status": Status.STARTING, "running": True})
    fleet = with_member(fleet.model_copy(update={"rolling": spec.id, "queued": tuple(rest)}), member)
    return Decision(fleet, (Roll(spec),))


def activation(fleet: Fleet, member: Member, *, live: bool) -> Decision:
    """Give a finalizing deployment its own domains, and the live ones."""
    own = (Kind.COMMIT, Kind.BRANCH) if newest_of_branch(fleet, member) else (Kind.COMMIT,)
    return _switch(fleet, member, kinds=own + LIVE_KINDS if live else own, tells_rollout=True)


def make_live(fleet: Fleet, member: Member) -> Decision:
    """Give a ready deployment the live domains of its environment."""
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
    queued = tuple(spec for spec in fleet.queued if spec.id != member.id)
    fleet = with_member(fleet.model_copy(update={"queued": queued}), ended)
    decision = Decision(fleet).noting(transition)
    if fleet.rolling == member.id:
        # What it has started goes when it says that it has ended; nothing can be removed before that.
        decision = decision.then(Decision(fleet, (Halt(member.id),)))
    if moved:
        return decision.then(_back(fleet, ended))
    return decision if fleet.rolling == member.id else decision.then(removed(fleet, ended))


def retired(fleet: Fleet, member: Member, now: datetime, actor: Actor | None) -> Decision:
    """Stop a deployment; one that is stopped stays as it is."""
    if not member.running:
        return Decision(fleet)
    stopped = member.model_copy(update={"status": Status.STOPPED, "running": False})
    decision = Decision(with_member(fleet, stopped), (Keep(member.id), Rest(member.id)))
    return decision.noting(Transition("deployment.stopped", member.id, now, actor))


def removed(fleet: Fleet, member: Member) -> Decision:
    """Remove what is left of a deployment that ended."""
    if not member.running:
        return Decision(fleet)
    return Decision(with_member(fleet, member.model_copy(update={"running": False})), (Rest(member.id),))


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
    before = None if member.replaced is None else fleet.member(member.replaced)
    usable = before is not None and before.running and before.status is Status.READY
    target = before.id if before is not None and usable and fleet.is_live(member.id) else None
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

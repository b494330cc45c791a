"""A project's deployments, with a model of everything around the decisions: routes, instances, standbys, rollouts.

Messages wait in one queue per target, as in the engine; which queue moves next is for the test to choose, and whether
what is tried then works. People may click in between at any time.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Generator, Mapping
from datetime import timedelta
from functools import partial
from typing import NamedTuple

from lifecycle.deploy import decision as effects
from lifecycle.deploy import events, rules
from lifecycle.deploy.decision import Decision, Effect
from lifecycle.deploy.model import (
    Act,
    Activate,
    Activation,
    Deploy,
    Environment,
    Fleet,
    Follow,
    Retire,
    Settled,
    Spec,
    Status,
    Switch,
    Switched,
    Woken,
)
from lifecycle.errors import LifecycleError
from lifecycle.models import Actor
from tests.support import fleets
from tests.support.factories import NOW, OLIVIA
from tests.support.fleet_routes import Routes

# Each of these works upon one deployment, a step at a time: True when it has moved, False while it waits.
Worker = Generator[bool, None, None]
# Something that can happen; False says that it waits for something else.
Step = Callable[[], bool]
Message = Activate | Settled | Switched | Woken | Retire | Follow
_MOST_ROUNDS = 1000


class Order(NamedTuple):
    """What a decision ordered of the routes, and the rule that decided it."""

    switch: Switch
    cause: str
    status: Status | None
    newer: bool


class Picture(NamedTuple):
    """What must be the same after a deletion that was scheduled and cancelled."""

    live: Mapping[Environment, str]
    pinned: frozenset[Environment]
    deployments: tuple[tuple[str, Status, bool], ...]
    hosts: Mapping[str, tuple[str, bool]]
    up: frozenset[str]
    suspended: bool


class World:
    """One project, its fleet and all that happens around it.

    Args:
        barrier: instances are forgotten only after every order to the routes that was given before.
        ordered: orders about the instances of one deployment are carried out one after the other.
    """

    def __init__(self, *, barrier: bool = True, ordered: bool = True) -> None:
        self.barrier, self.ordered = barrier, ordered
        self.fleet = Fleet()
        self.routes = Routes()
        self.up: set[str] = set()
        self.ill: set[str] = set()
        self.armed: set[str] = set()
        self.kept: set[str] = set()
        self.specs: dict[str, Spec] = {}
        self.orders: list[Order] = []
        self.clicks: dict[str, tuple[str, str]] = {}
        self.inbox: defaultdict[str, deque[Message]] = defaultdict(deque)
        self.routing: deque[tuple[int, Callable[[], None]]] = deque()
        self.instances: defaultdict[str, deque[Worker]] = defaultdict(deque)
        self.standby: defaultdict[str, deque[bool]] = defaultdict(deque)
        self.rollouts: dict[str, Worker] = {}
        self.halted: set[str] = set()
        self.told: dict[str, Activation] = {}
        self.promises: dict[tuple[str, str], Callable[[], None]] = {}
        self.generation = 0
        self.purged = False
        self.luck = True
        self.pictures: list[tuple[Picture, Picture]] = []
        self.look: Callable[[], None] = lambda: None
        self._deployed = self._tickets = 0
        self._done: set[int] = set()

    # What people do.

    def deploy(self, environment: Environment, branch: str | None, *, watched: bool = False, by: Actor = OLIVIA) -> str:
        """Ask for a deployment; returns its id."""
        self._deployed += 1
        spec = fleets.spec(self._deployed, environment=environment, branch=branch, watched=watched)
        self.specs[spec.id] = spec
        command = Deploy(actor=by, now=NOW, spec=spec)
        self._ask("deploy", lambda fleet: rules.deploy(fleet, command))
        return spec.id

    def click(self, action: str, deployment: str, *, by: Actor = OLIVIA) -> LifecycleError | None:
        """Ask for something to be done with a deployment; returns the refusal."""
        command = Act(actor=by, now=NOW, deployment=deployment)
        rule = getattr(rules, action)
        refusal = self._ask(action, lambda fleet: rule(fleet, command))
        if refusal is None and action != "cancel":
            self._forget_clicks(deployment)
            self.clicks[deployment] = (action, deployment)
            if action in ("rollback", "promote"):
                self.clicks[self.specs[deployment].environment] = (action, deployment)
        return refusal

    def keep(self, deployment: str) -> None:
        """Ask for a deployment in standby to go on running."""
        if deployment in self.armed:
            self.armed.discard(deployment)
            self.kept.add(deployment)

    def add_domain(self, environment: Environment) -> None:
        """Bring a domain along."""
        self._order(lambda: self.routes.add_domain(environment))

    def follow(self, *, due: bool, suspend: bool = True, rest: bool = False) -> None:
        """Schedule or move the project's deletion, or cancel it."""
        self.generation += 1
        due_at = NOW + timedelta(days=3) if due else None
        message = Follow(generation=self.generation, now=NOW, due_at=due_at, suspend=suspend, rest=rest)
        self.inbox["project"].append(message)

    def seal(self) -> None:
        """Begin the purge of the project."""
        self.clicks.clear()
        self._decide("seal", events.seal(self.fleet, NOW))

    # What happens by itself.

    def steps(self) -> list[Step]:
        """Whatever can happen next."""
        found: list[Step] = [self._next_order] if self.routing else []
        found += [partial(self._hear, sender) for sender, queue in self.inbox.items() if queue]
        for deployment, queue in self.instances.items():
            found += [partial(self._work, deployment, work) for work in list(queue)[: 1 if self.ordered else None]]
        found += [partial(self._stand, deployment) for deployment, queue in self.standby.items() if queue]
        found += [partial(self._roll, deployment) for deployment in self.rollouts]
        found += [partial(self._keep_promise, promise) for promise in self.promises]
        if self.fleet.sealed and self.fleet.rolling is None and not self.purged:
            found.append(self._purge)
        return found

    def expire(self, deployment: str) -> None:
        """Let a standby end."""
        self.armed.discard(deployment)
        self.inbox[f"standby of {deployment}"].append(Retire(deployment=deployment, now=NOW))

    def upkeep(self) -> None:
        """Start whatever is wanted and lacks instances."""
        for member in self.fleet.members:
            if member.id in self.routes.wanted and member.running and member.status is Status.READY:
                self.up.add(member.id)
                self.ill.discard(member.id)

    def advance(self, choice: int, *, luck: bool) -> None:
        """Let one of the things happen that can; without luck it fails, if it can fail."""
        steps = self.steps()
        if steps:
            self.luck = luck
            self._take(steps[choice % len(steps)])
            self.luck = True

    def run(self) -> None:
        """Let everything happen that is under way, one target after the other; all goes well."""
        for _ in range(_MOST_ROUNDS):
            moved = [self._take(step) for step in self.steps()]
            if not any(moved):
                self.upkeep()
                return
        raise AssertionError("it never comes to rest")

    def picture(self) -> Picture:
        """How the project looks to those who use it."""
        return Picture(
            dict(self.fleet.live),
            frozenset(self.fleet.pinned),
            tuple((one.id, one.status, one.running) for one in self.fleet.members),
            dict(self.routes.published),
            frozenset(self.up),
            self.routes.suspended,
        )

    def _take(self, step: Step) -> bool:
        moved = step()
        if moved:
            self.look()
        return moved

    def _ask(self, cause: str, rule: Callable[[Fleet], Decision]) -> LifecycleError | None:
        try:
            decision = rule(self.fleet)
        except LifecycleError as refusal:
            return refusal
        self._decide(cause, decision)
        return None

    def _decide(self, cause: str, decision: Decision) -> None:
        before, self.fleet = self.fleet, decision.fleet
        for effect in decision.effects:
            self._carry_out(cause, before, effect)

    def _carry_out(self, cause: str, before: Fleet, effect: Effect) -> None:  # noqa: C901  one line per kind
        match effect:
            case effects.Roll(spec):
                self.rollouts[spec.id] = self._rollout(spec)
            case effects.Halt(deployment):
                self.promises[deployment, "halt"] = lambda: self.halted.add(deployment)
            case effects.Tell(deployment, activation):
                self.promises[deployment, "tell"] = lambda: self.told.update({deployment: activation})
            case effects.Turn(switch):
                self._note(cause, before, switch)
                self._order(lambda: self._turn(switch))
            case effects.Stand(deployment):
                self.standby[deployment].append(True)
            case effects.Keep(deployment):
                self.standby[deployment].append(False)
            case effects.Rest(deployment):
                self.instances[deployment].append(self._stop(deployment))
            case effects.Rouse(deployment, number):
                self.instances[deployment].append(self._wake(deployment, number))
            case effects.Suspend():
                self._order(lambda: self.routes.suspend(suspended=True))
            case effects.Resume():
                self._order(lambda: self.routes.suspend(suspended=False))

    def _note(self, cause: str, before: Fleet, switch: Switch) -> None:
        target = None if switch.deployment is None else self.fleet.member(switch.deployment)
        former = None if switch.expected is None else before.member(switch.expected)
        newer = former is None or target is None or target.number >= former.number
        self.orders.append(Order(switch, cause, None if target is None else target.status, newer))

    def _order(self, work: Callable[[], None]) -> int:
        self._tickets += 1
        self.routing.append((self._tickets, work))
        return self._tickets

    def _next_order(self) -> bool:
        ticket, work = self.routing.popleft()
        work()
        self._done.add(ticket)
        return True

    def _turn(self, switch: Switch) -> None:
        self.routes.switch(switch, lambda deployment: self.specs[deployment].branch)
        self.inbox["routing"].append(Switched(order=switch, now=NOW))

    def _hear(self, sender: str) -> bool:
        message = self.inbox[sender].popleft()
        name = "settle" if isinstance(message, Settled) else type(message).__name__.lower()
        cause = "watched" if isinstance(message, Settled) and message.watched else name
        if isinstance(message, Woken) and not message.healthy:
            self._forget_clicks(message.deployment)
        if cause == "watched" or (isinstance(message, Follow) and message.due_at is not None):
            self.clicks.clear()
        self._decide(cause, getattr(events, name)(self.fleet, message))
        return True

    def _forget_clicks(self, deployment: str) -> None:
        self.clicks = {key: click for key, click in self.clicks.items() if click[1] != deployment}

    def _work(self, deployment: str, work: Worker) -> bool:
        moved = next(work, None)
        if moved is None:
            self.instances[deployment].remove(work)
        return moved is not False

    def _roll(self, deployment: str) -> bool:
        moved = next(self.rollouts[deployment], None)
        if moved is None:
            del self.rollouts[deployment]
        return moved is not False

    def _stand(self, deployment: str) -> bool:
        if self.standby[deployment].popleft():
            self.armed.add(deployment)
        else:
            self.armed.discard(deployment)
        self.kept.discard(deployment)
        return True

    def _keep_promise(self, promise: tuple[str, str]) -> bool:
        self.promises.pop(promise)()
        return True

    def _purge(self) -> bool:
        """As `purge` does it: no host is served, then everything is removed."""

        def remove() -> None:
            self.routes.clear()
            self.routes.wanted.clear()
            self.up.clear()

        self.purged = True
        self._order(remove)
        return True

    def _routed(self, work: Callable[[], None]) -> Worker:
        """Order something of the routes, and wait until it is done."""
        ticket = self._order(work)
        yield True
        while ticket not in self._done:
            yield False

    def _stop(self, deployment: str) -> Worker:
        if self.barrier:
            yield from self._routed(lambda: None)
        self.routes.wanted.discard(deployment)
        yield True
        yield from self._routed(self.routes.publish)
        self.up.discard(deployment)
        self.ill.discard(deployment)

    def _wake(self, deployment: str, number: int) -> Worker:
        self.routes.wanted.add(deployment)
        yield True
        healthy = self.luck
        if healthy:
            self.up.add(deployment)
            self.ill.discard(deployment)
        else:
            self.ill.add(deployment)
        yield True
        yield from self._routed(self.routes.publish)
        woken = Woken(deployment=deployment, number=number, now=NOW, healthy=healthy)
        self.inbox[f"instances of {deployment}"].append(woken)

    def _rollout(self, spec: Spec) -> Worker:
        failed = not (yield from self._bring_up(spec)) or not (yield from self._go_live(spec))
        self._tell(Settled(deployment=spec.id, status=Status.FAILED if failed else Status.READY, now=NOW))
        yield True
        if spec.watch_seconds and not failed and not self.luck:
            self._tell(Settled(deployment=spec.id, status=Status.FAILED, now=NOW, watched=True))

    def _bring_up(self, spec: Spec) -> Generator[bool, None, bool]:
        yield True
        if spec.id in self.halted:
            return False
        self.routes.wanted.add(spec.id)
        self.up.add(spec.id)
        yield True
        return self.luck and spec.id not in self.halted

    def _go_live(self, spec: Spec) -> Generator[bool, None, bool]:
        yield from self._routed(lambda: self.routes.claim(spec))
        self._tell(Activate(deployment=spec.id, now=NOW))
        yield True
        while spec.id not in self.told:
            yield False
        if not self.told[spec.id].accepted or spec.id in self.halted:
            return False
        yield True
        return self.luck

    def _tell(self, message: Activate | Settled) -> None:
        self.inbox[f"rollout of {message.deployment}"].append(message)

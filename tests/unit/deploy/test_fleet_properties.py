"""Any order of clicks, messages and failures: the invariants about deployments hold."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from lifecycle.deploy.model import Environment
from tests.support.fleet_checks import ALWAYS, IN_THE_END, violations
from tests.support.fleet_model import World
from tests.support.profiles import STORIES

environments = st.sampled_from((Environment.PRODUCTION, Environment.PRODUCTION, Environment.PREVIEW))
branches = st.sampled_from(("main", "main", "next", None))
actions = st.sampled_from(("rollback", "rollback", "promote", "cancel", "stop", "wake"))
# Which of the things that can happen next does, and whether it works.
happenings = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 4)), min_size=1, max_size=20)


class Deployments(RuleBasedStateMachine):
    """People who click, and an engine that delivers in any order between its targets."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.look = self.hold

    def hold(self) -> None:
        """What must hold at every moment."""
        assert not violations(self.world, ALWAYS)

    @rule(environment=environments, branch=branches, watched=st.booleans(), then=happenings)
    def deploy(
        self, environment: Environment, branch: str | None, *, watched: bool, then: list[tuple[int, int]]
    ) -> None:
        """Somebody deploys."""
        self.world.deploy(environment, branch, watched=watched)
        self.happen(then)

    @precondition(lambda self: self.world.fleet.members)
    @rule(action=actions, which=st.integers(0, 20), then=happenings)
    def click(self, action: str, which: int, then: list[tuple[int, int]]) -> None:
        """Somebody does something with a deployment."""
        members = self.world.fleet.members
        self.world.click(action, members[-1 - which % len(members)].id)
        self.happen(then)

    @rule(happenings=happenings)
    def happen(self, happenings: list[tuple[int, int]]) -> None:
        """The engine goes on; now and then something fails."""
        self.hold()
        for choice, luck in happenings:
            self.world.advance(choice, luck=luck > 0)

    @precondition(lambda self: self.world.armed)
    @rule(which=st.integers(0, 20), keep=st.booleans())
    def standby(self, which: int, *, keep: bool) -> None:
        """A standby is over, or somebody keeps the deployment running."""
        deployment = sorted(self.world.armed)[which % len(self.world.armed)]
        if keep:
            self.world.keep(deployment)
        else:
            self.world.expire(deployment)

    @rule(environment=environments)
    def add_domain(self, environment: Environment) -> None:
        """Somebody brings a domain along."""
        self.world.add_domain(environment)

    @rule(due=st.booleans(), suspend=st.booleans(), rest=st.booleans())
    def follow(self, *, due: bool, suspend: bool, rest: bool) -> None:
        """The project's deletion is scheduled, moved or cancelled."""
        self.world.follow(due=due, suspend=suspend, rest=rest)

    @rule(suspend=st.booleans(), rest=st.booleans(), first=happenings, second=happenings, again=st.booleans())
    def schedule_and_cancel(
        self, first: list[tuple[int, int]], second: list[tuple[int, int]], *, suspend: bool, rest: bool, again: bool
    ) -> None:
        """A deletion is scheduled and cancelled, perhaps twice, and nobody does anything else meanwhile."""
        self.world.follow(due=False)
        self.come_to_rest()
        before = self.world.picture()
        for _ in range(1 + again):
            self.world.follow(due=True, suspend=suspend, rest=rest)
            self.all_goes_well(first)
            self.world.follow(due=False)
            self.all_goes_well(second)
        self.world.run()
        self.world.pictures.append((before, self.world.picture()))

    @rule()
    def come_to_rest(self) -> None:
        """Nobody does anything until nothing is under way."""
        self.world.run()

        assert not violations(self.world, (*ALWAYS, *IN_THE_END))

    @precondition(lambda self: len(self.world.fleet.members) > 3)
    @rule(sure=st.integers(0, 7))
    def seal(self, sure: int) -> None:
        """Rarely, the purge begins."""
        if sure == 0:
            self.world.seal()

    def all_goes_well(self, happenings: list[tuple[int, int]]) -> None:
        """The engine goes on, and nothing fails."""
        self.happen([(choice, 1) for choice, _ in happenings])

    def teardown(self) -> None:
        """In the end the deletion is cancelled and everything is delivered."""
        self.world.follow(due=False)
        self.come_to_rest()


TestDeployments = Deployments.TestCase
TestDeployments.settings = STORIES
TestDeployments.__doc__ = "Whatever people click and whatever fails, every promise about deployments is kept."

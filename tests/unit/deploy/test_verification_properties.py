"""Two projects want one domain, and everything happens in any order: one owner at most, and no theft."""

from datetime import datetime, timedelta
from typing import NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lifecycle.deploy.model import Environment
from lifecycle.deploy.verification import rules
from lifecycle.deploy.verification.model import Condition, Purpose, Seen, Sight, Status
from lifecycle.deploy.verification.rules import Claim
from tests.support.factories import NOW

PROJECTS = ("a", "b")
PLACES = (*PROJECTS, "address", "elsewhere", None)
_PROJECT = st.sampled_from(PROJECTS)


class Look(NamedTuple):
    """A look under way: DNS has answered, and nothing has come of it yet."""

    claim: str
    token: str
    sight: Sight
    version: int


class Struggle(RuleBasedStateMachine):
    """One domain, its DNS, the claims in the database, and looks that end when they like."""

    def __init__(self) -> None:
        super().__init__()
        self.now: datetime = NOW
        self.claims: dict[str, Claim] = {}
        self.texts: set[str] = set()
        self.leads_to: str | None = None
        self.under_way: list[Look] = []
        self.tokens = 0

    @rule(project=_PROJECT)
    def add(self, project: str) -> None:
        """Somebody adds the domain to a project; adding it twice keeps its token."""
        former = self.claims.get(project)
        if former is None:
            self.tokens += 1
            token = f"token-{self.tokens}"
            self.claims[project] = Claim(f"dom_{project}", project, "www.example.com", Environment.PRODUCTION, token)
        elif not former.status.owns:
            self.claims[project] = former._replace(status=Status.PENDING)

    @rule(project=_PROJECT)
    def remove(self, project: str) -> None:
        """Somebody gives the domain back."""
        self.claims.pop(project, None)

    @rule(project=_PROJECT)
    def set_text(self, project: str) -> None:
        """Whoever controls DNS sets the TXT record of a project."""
        if project in self.claims:
            self.texts.add(self.claims[project].token)

    @rule()
    def clear_texts(self) -> None:
        """The TXT records are removed."""
        self.texts.clear()

    @rule(place=st.sampled_from(PLACES))
    def lead(self, place: str | None) -> None:
        """The CNAME is set, moved or removed; or an address, which is the same for all, is set instead."""
        self.leads_to = place

    @rule(project=_PROJECT)
    def ask(self, project: str) -> None:
        """A look begins: DNS answers as it is now."""
        if project in self.claims:
            claim = self.claims[project]
            text = Condition.OK if claim.token in self.texts else Condition.MISSING
            route = Condition.OK if self.leads_to in (project, "address") else Condition.WRONG
            by_name = self.leads_to == project
            sight = Sight(ownership=Seen(condition=text), routing=Seen(condition=route), by_name=by_name)
            self.under_way.append(Look(claim.id, claim.token, sight, claim.version))

    @rule(data=st.data(), waited=st.sampled_from([0, 10, 3600, 8 * 86_400]))
    def settle(self, data: st.DataObject, waited: int) -> None:
        """Any of the looks ends, however late."""
        if not self.under_way:
            return
        look = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        begun_at, self.now = self.now, self.now + timedelta(seconds=waited)
        before = dict(self.claims)
        if not any((one.id, one.token) == (look.claim, look.token) for one in before.values()):
            return
        settled = rules.settle(
            tuple(before.values()), look.claim, look.sight, version=look.version, begun_at=begun_at, now=self.now
        )
        self.claims = {one.project: one for one in settled.claims}
        self._check(before, look)

    def _check(self, before: dict[str, Claim], look: Look) -> None:
        former = {project for project, one in before.items() if one.status.owns}
        owners = {project for project, one in self.claims.items() if one.status.owns}
        proved = look.sight.ownership.condition is Condition.OK
        assert former <= owners or proved, "taken without TXT"
        for project in owners - former:
            others = [one for one in before.values() if one.project != project and one.status.contends]
            led_here = look.sight.by_name
            assert self.claims[project].id == look.claim, "given to somebody else than was looked at"
            assert proved or (led_here and not others), "got without proof"
        for project in former - owners:
            assert self.claims[project].status is Status.LOST
            assert self.claims[project].reason

    @invariant()
    def one_owner_at_most(self) -> None:
        """Never two."""
        assert sum(one.status.owns for one in self.claims.values()) <= 1

    @invariant()
    def who_waits_is_looked_at_again(self) -> None:
        """Nothing that is pending or owned is forgotten after its first look."""
        for one in self.claims.values():
            if one.checked_at is not None and one.next_check_at is None:
                assert not one.status.owns


TestStruggle = Struggle.TestCase


def test_two_claims_at_the_same_moment_settle_to_one() -> None:
    """Both projects have set their TXT record and are looked at side by side: the later look decides, and it stays."""
    both = Sight(ownership=Seen(condition=Condition.OK), routing=Seen(condition=Condition.OK))
    claims = tuple(Claim(f"dom_{one}", one, "www.example.com", Environment.PRODUCTION, one) for one in PROJECTS)
    first = rules.settle(claims, "dom_a", both, version=0, begun_at=NOW, now=NOW)
    second = rules.settle(first.claims, "dom_b", both, version=0, begun_at=NOW, now=NOW)
    late = rules.settle(second.claims, "dom_a", both, version=1, begun_at=NOW, now=NOW)

    assert [one.status for one in second.claims] == [Status.LOST, Status.VERIFIED]
    assert late.claims == second.claims
    assert second.ruling.proof is Purpose.OWNERSHIP

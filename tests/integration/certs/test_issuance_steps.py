"""Each step of an issuance fails before it acts, then after it acted, and then runs twice; the end is the same."""

import inspect
import re

import pytest

from lifecycle.certs import issuance
from lifecycle.certs.names import ChallengeType
from tests.support import certificate_checks
from tests.support.acme_wire import Resource, Said
from tests.support.issuer import Desk, fresh_name

STEPS = {
    ChallengeType.HTTP_01: ("order", "prove", "finalize-1", "deliver"),
    ChallengeType.TLS_ALPN_01: ("prove",),
    ChallengeType.DNS_01: ("publish", "look-at-records-1", "answer"),
}
# Those of a rehearsal, of an order that is given up, of a CA that takes its time, and of an issuance that has to wait.
ELSEWHERE = {"order-rehearsal", "note-rehearsal", "give-up", "look", "withdraw"}


@pytest.mark.parametrize(
    ("challenge", "step"),
    [pytest.param(kind, step, id=f"{kind.value}: {step}") for kind, steps in STEPS.items() for step in steps],
)
async def test_a_step_that_fails_is_repeated_and_the_end_is_the_same(
    desk: Desk, challenge: ChallengeType, step: str
) -> None:
    """Whatever step fails or runs twice: one order, one certificate, one key, served, and nothing left published."""
    domain = fresh_name()
    with desk.points.crash_at(f"Issuance/run/{step}"):
        await desk.ask(domain, challenge=challenge)
        truth = await desk.ends(domain)

    assert len(truth.orders) == len(truth.versions) == 1


@pytest.mark.parametrize("challenge", ChallengeType)
async def test_what_was_published_in_vain_is_withdrawn(desk: Desk, challenge: ChallengeType) -> None:
    """The CA wants an hour: what was published is removed at once, also when removing it fails and is repeated."""
    domain = fresh_name()
    desk.wire().answer(Resource.CHALLENGE, Said(503, {"Retry-After": "3600"}, b"busy"))
    with desk.points.crash_at("Issuance/run/withdraw"):
        await desk.ask(domain, challenge=challenge)
        await desk.ends(domain, checkers=certificate_checks.ALWAYS)

    await desk.forgive()
    await desk.renew(domain)
    truth = await desk.ends(domain)
    assert len(truth.orders) == 1


def test_every_step_has_its_turn() -> None:
    """A step that is added to an issuance joins the list, or is said to belong to another story."""
    source = inspect.getsource(issuance)
    named = set(re.findall(r'(?:run_typed|_ask)\(\s*(?:ctx,\s*)?f?"([a-z-]+?)-?(?:\{number\})?"', source))

    assert named == {step.removesuffix("-1") for steps in STEPS.values() for step in steps} | ELSEWHERE

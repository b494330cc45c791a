"""Each step of an issuance fails before it acts, then after it acted, and then runs twice; the end is the same."""

import inspect
import re

import pytest

from lifecycle.certs import issuance
from lifecycle.certs.names import ChallengeType
from tests.support.issuer import Desk, fresh_name

_EVERY = (
    "prepare",
    "order",
    "read-authorizations",
    "publish",
    "answer",
    "look-1",
    "withdraw",
    "finalize",
    "keep",
    "deliver",
    "read-window",
)
STEPS = {
    ChallengeType.HTTP_01: _EVERY,
    ChallengeType.TLS_ALPN_01: ("publish", "withdraw"),
    ChallengeType.DNS_01: ("publish", "look-at-records-1", "withdraw"),
}
# Those of a rehearsal, of an order that is given up, and of a CA that takes its time.
ELSEWHERE = {"prepare-rehearsal", "note-rehearsal", "give-up", "read-order"}


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


def test_every_step_has_its_turn() -> None:
    """A step that is added to an issuance joins the list, or is said to belong to another story."""
    source = inspect.getsource(issuance)
    named = set(re.findall(r'(?:run_typed|_ask)\(\s*(?:ctx,\s*)?f?"([a-z-]+?)-?(?:\{number\})?"', source))
    named |= set(re.findall(r'name = f"([a-z-]+)-\{number\}"', source))

    assert named == {step.removesuffix("-1") for steps in STEPS.values() for step in steps} | ELSEWHERE

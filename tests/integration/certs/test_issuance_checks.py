"""The checkers of certificates: silent when all is well, and each speaks up at a fault of its kind."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from lifecycle import clock
from lifecycle.certs.model import Cause, Certificate, Running
from lifecycle.certs.names import ChallengeType
from tests.support import certificate_checks
from tests.support.certificate_checks import Checker, Truth
from tests.support.issuer import ZONE, Desk, fresh_name

Plant = Callable[[Truth], Truth]


def _certificate(**changed: Any) -> Plant:
    return lambda truth: truth._replace(certificate=truth.certificate.model_copy(update=changed))


def _rows(table: str, index: int, **changed: Any) -> Plant:
    def plant(truth: Truth) -> Truth:
        rows = [dict(row) for row in getattr(truth, table)]
        rows[index].update(changed)
        replaced: dict[str, Any] = {table: rows}
        return truth._replace(**replaced)

    return plant


def _lost_wake(truth: Truth) -> Truth:
    return truth._replace(wakes=[])


def _late_wake(truth: Truth) -> Truth:
    return truth._replace(wakes=[wake + timedelta(minutes=1) for wake in truth.wakes])


def _same_key(truth: Truth) -> Truth:
    first = truth.versions[0]
    return truth._replace(versions=[{**row, "key_digest": first["key_digest"]} for row in truth.versions])


def _other_key(truth: Truth) -> Truth:
    return truth._replace(keys={key: (found[0], "another") for key, found in truth.keys.items()})


def _one_order_for_two(truth: Truth) -> Truth:
    return truth._replace(orders=[{**row, "url": truth.orders[0]["url"]} for row in truth.orders])


def _one_served(truth: Truth) -> Truth:
    return truth._replace(served=dict.fromkeys(truth.served))


_RUNNING = Running(issuance="iss_x", cause=Cause.REQUESTED, begun_at=clock.now())
FAULTS: Mapping[str, tuple[Checker, Plant]] = {
    "still at work": (certificate_checks.it_is_in_use, _certificate(running=_RUNNING)),
    "failed": (certificate_checks.it_is_in_use, _certificate(last_error="no")),
    "attempts": (certificate_checks.it_is_in_use, _certificate(attempts=1)),
    "none": (certificate_checks.it_is_in_use, lambda truth: truth._replace(certificate=Certificate())),
    "not listed": (certificate_checks.it_is_in_use, lambda truth: truth._replace(listed=None)),
    "orphan at the CA": (
        certificate_checks.an_issuance_has_one_order,
        lambda truth: truth._replace(ordered=[*truth.ordered, "https://ca.example/order/1"]),
    ),
    "unknown to the CA": (
        certificate_checks.an_issuance_has_one_order,
        lambda truth: truth._replace(ordered=truth.ordered[1:]),
    ),
    "never found": (certificate_checks.an_issuance_has_one_order, _rows("orders", 0, url=None)),
    "shared": (certificate_checks.an_issuance_has_one_order, _one_order_for_two),
    "no certificate": (
        certificate_checks.an_order_gives_one_certificate,
        lambda truth: truth._replace(versions=truth.versions[1:]),
    ),
    "two certificates": (
        certificate_checks.an_order_gives_one_certificate,
        lambda truth: truth._replace(versions=[*truth.versions, truth.versions[0]]),
    ),
    "key left": (certificate_checks.an_order_gives_one_certificate, _rows("orders", 0, sealed_key="v1.x")),
    "never ended": (certificate_checks.an_order_gives_one_certificate, _rows("orders", 0, ended_at=None)),
    "same key": (certificate_checks.an_order_gives_one_certificate, _same_key),
    "other key": (certificate_checks.an_order_gives_one_certificate, _other_key),
    "nobody's": (certificate_checks.an_order_gives_one_certificate, lambda truth: truth._replace(orders=[])),
    "visitors get another": (certificate_checks.visitors_get_the_newest, _one_served),
    "marked otherwise": (certificate_checks.visitors_get_the_newest, _rows("versions", 0, status="served")),
    "not the newest": (
        certificate_checks.visitors_get_the_newest,
        lambda truth: truth._replace(versions=[*truth.versions, {**truth.versions[0], "id": "crt_newer"}]),
    ),
    "the gateway differs": (
        certificate_checks.visitors_get_the_newest,
        lambda truth: truth._replace(differences=["files: one"]),
    ),
    "served without being there": (certificate_checks.visitors_get_the_newest, _certificate(version=None)),
    "challenge left": (certificate_checks.nothing_published_is_left, _rows("challenges", 0, removed_at=None)),
    "proof left": (certificate_checks.nothing_published_is_left, lambda truth: truth._replace(proofs=[ZONE])),
    "record left": (certificate_checks.nothing_published_is_left, lambda truth: truth._replace(records=["x"])),
    "no wake-up": (certificate_checks.it_wakes_up, _lost_wake),
    "late wake-up": (certificate_checks.it_wakes_up, _late_wake),
    "nothing armed": (certificate_checks.it_wakes_up, _certificate(countdown=Certificate().countdown)),
    "issued twice": (
        certificate_checks.the_audit_log_is_complete,
        lambda truth: truth._replace(audit=[*truth.audit, "certificate.issued"]),
    ),
    "no end": (
        certificate_checks.the_audit_log_is_complete,
        lambda truth: truth._replace(audit=[*truth.audit, "certificate.issuing"]),
    ),
}


@pytest.fixture(scope="module")
async def sound(servers: Desk) -> Truth:
    """The truth about a certificate that was renewed once."""
    domain = fresh_name()
    await servers.ask(domain)
    await servers.ends(domain)
    await servers.renew(domain)
    return await servers.ends(domain)


async def test_a_sound_certificate_is_accepted(sound: Truth) -> None:
    """The checkers do not cry wolf, and what they look at is there."""
    assert certificate_checks.violations(sound) == []
    assert [len(sound.orders), len(sound.versions), len(sound.ordered), len(sound.keys)] == [2, 2, 2, 2]
    assert [row["status"] for row in sound.versions] == ["former", "served"]
    assert sound.challenges
    assert sound.wakes


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_found(sound: Truth, fault: str) -> None:
    """Each checker speaks up when its promise is broken, else it would prove nothing."""
    checker, plant = FAULTS[fault]
    assert certificate_checks.violations(plant(sound), [checker]) != []


async def test_every_checker_is_shown_to_find_something() -> None:
    """No checker joins without a fault that it finds."""
    assert {checker for checker, _ in FAULTS.values()} == set(certificate_checks.CHECKERS)


async def test_what_a_dead_issuance_left_behind_is_seen_and_removed(desk: Desk) -> None:
    """A record, a proof in the gateway and rows that nobody removed are seen; then the reconciler removes them."""
    domain = fresh_name()
    await desk.ask(domain, challenge=ChallengeType.DNS_01)
    issuance = (await desk.ends(domain)).orders[0]["issuance_id"]
    await desk.plant_left_overs(domain, issuance)
    seen = await desk.look(domain)
    await desk.age_left_overs(issuance)

    found = certificate_checks.violations(seen)
    assert [problem.partition(":")[0] for problem in found] == ["nothing_published_is_left"] * 4, found
    await desk.ends(domain)


async def test_what_the_gateway_and_the_ca_have_is_real(desk: Desk) -> None:
    """A certificate that is taken out of the gateway, a version that vanished, and a lost timer are seen."""
    domain = fresh_name()
    await desk.ask(domain)
    truth = await desk.ends(domain)
    # The engine's reconciler and the upkeep mend the first and the last, so they are looked at in one go.
    await desk.places.db.execute("UPDATE acme_orders SET url = 'https://ca.example/1' WHERE domain = %s", domain)
    seen = await desk.look(domain)
    await desk.places.db.execute("UPDATE acme_orders SET url = %s WHERE domain = %s", truth.orders[0]["url"], domain)

    found = {problem.partition(":")[0] for problem in certificate_checks.violations(seen)}
    assert found == {"an_issuance_has_one_order"}
    await desk.ends(domain)

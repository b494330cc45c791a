"""A project with certificates is deleted: nothing of them is left anywhere, whatever was under way and whoever died."""

import base64
import json
import secrets
from datetime import timedelta

import pytest

from lifecycle import clock, ids
from lifecycle.certs import store
from lifecycle.certs.names import ChallengeType
from lifecycle.scheduler.model import CreateProject, Impact, Phase, Project, Read, ScheduleDeletion
from tests.support import certificate_checks
from tests.support.acme_wire import Resource, Said
from tests.support.issuer import Desk, fresh_name
from tests.support.mortal import quiet
from tests.support.waiting import eventually

_RUN = "ProjectDeletion/run"
_POINTS = (
    f"{_RUN}/survey",
    f"{_RUN}/list-domains",
    "CertificateService/seal",
    f"{_RUN}/withdraw-challenges",
    f"{_RUN}/remove-certificates",
    f"{_RUN}/write-tombstone",
)
_OTHERS = (ChallengeType.HTTP_01, ChallengeType.TLS_ALPN_01)
_REST = Said(503, {"Retry-After": "40"}, b"")


async def _project(desk: Desk) -> Project:
    command = CreateProject(actor=desk.actor, now=clock.now(), slug=f"t-{secrets.token_hex(6)}", name="Test")
    return await desk.client.create_project(ids.new("prj"), command)


async def _delete(desk: Desk, project: Project) -> None:
    command = ScheduleDeletion(
        actor=desk.actor,
        now=clock.now(),
        confirm=project.slug,
        reason="test",
        grace_seconds=timedelta(seconds=1).total_seconds(),
        impact=Impact(),
    )
    await desk.client.schedule_deletion(project.id, command)


async def _until_deleted(desk: Desk, project: Project) -> str:
    """The receipt, once the project is gone."""

    async def gone() -> bool:
        deletion = await desk.client.deletion(project.id, Read(workspace=desk.actor.workspace))
        assert deletion.phase is Phase.DELETED, deletion
        return True

    await eventually(gone, within=30)
    row = await desk.places.db.one("SELECT receipt FROM tombstones WHERE project_id = %s", project.id)
    assert row is not None
    return str(row["receipt"])


async def _nothing_is_left(desk: Desk, project: Project, *domains: str) -> None:
    """No row, no certificate, no proof and no record."""
    await quiet(desk.stack)
    db = desk.places.db
    assert await store.count_of_project(db, project.id) == 0
    for domain in domains:
        for table in ("certificates", "acme_orders", "certificate_domains"):
            assert await db.all(f"SELECT * FROM {table} WHERE domain = %s", domain) == []
        seen = await certificate_checks.look_outside(desk.places, domain)
        assert seen == certificate_checks.Outside(serial=None, is_proved=False, records=[])
        assert domain not in (desk.stack.gateway.folder / "certificates.list").read_text()
        assert domain not in (desk.stack.gateway.folder / "challenges.list").read_text()


def _lines(receipt: str) -> dict[str, int]:
    """How many of each subsystem the receipt says were removed."""
    payload = receipt.split(".")[1]
    found = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return {line["subsystem"]: line["count"] for line in found["removed"]}


@pytest.mark.parametrize(
    "challenge",
    [ChallengeType.DNS_01, *(pytest.param(one, marks=pytest.mark.chaos) for one in _OTHERS)],
)
async def test_a_deleted_project_leaves_no_certificate(desk: Desk, challenge: ChallengeType) -> None:
    """One certificate in use and one whose issuance waits at the CA: both are gone, and the receipt says so."""
    project = await _project(desk)
    used, waiting = fresh_name(), fresh_name()
    await desk.ask(used, project=project.id, challenge=challenge)
    await desk.ends(used)
    desk.wire().answer(Resource.CHALLENGE, _REST)
    await desk.ask(waiting, project=project.id, challenge=challenge)
    await desk.until_step(waiting, "prove")
    await eventually(lambda: desk.wire().is_calm, within=10)
    await _delete(desk, project)
    receipt = await _until_deleted(desk, project)
    await _nothing_is_left(desk, project, used, waiting)

    assert _lines(receipt)["certificates"] > 0


@pytest.mark.chaos
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", _POINTS)
async def test_a_purge_that_is_killed_ends_the_same(desk: Desk, point: str, when: str) -> None:
    """Wherever the worker dies in the purge of a project: nothing of its certificates is left."""
    project = await _project(desk)
    used, waiting = fresh_name(), fresh_name()
    await desk.ask(used, project=project.id)
    await desk.ends(used)
    desk.wire().answer(Resource.CHALLENGE, _REST)
    await desk.ask(waiting, project=project.id, challenge=ChallengeType.DNS_01)
    await eventually(lambda: desk.wire().is_calm, within=10)
    with desk.points.death_at(point, when):
        await _delete(desk, project)
        receipt = await _until_deleted(desk, project)
    await _nothing_is_left(desk, project, used, waiting)

    assert _lines(receipt)["certificates"] > 0


async def test_each_step_of_the_purge_may_run_twice(desk: Desk) -> None:
    """The removal of certificates fails, fails again afterwards, and runs twice: the end is the same."""
    project = await _project(desk)
    domain = fresh_name()
    await desk.ask(domain, project=project.id)
    await desk.ends(domain)
    with desk.points.crash_at(f"{_RUN}/remove-certificates"):
        await _delete(desk, project)
        await _until_deleted(desk, project)
    await _nothing_is_left(desk, project, domain)


async def test_what_is_removed_is_not_brought_back(desk: Desk) -> None:
    """Whoever mends the gateway in the middle of a purge does not bring back what was just removed from it."""
    project, domain = await _project(desk), fresh_name()
    await desk.ask(domain, project=project.id)
    await desk.ends(domain)
    await store.retire_project(desk.places.db, project.id)
    await desk.places.gateway.certificates.remove(domain)
    begun = clock.now()

    async def swept_twice() -> bool:
        swept_at = (await desk.client.findings()).swept_at
        return swept_at is not None and swept_at - begun > timedelta(seconds=2)

    await eventually(swept_twice, within=20)
    await quiet(desk.stack)
    assert (await certificate_checks.look_outside(desk.places, domain)).serial is None
    await _delete(desk, project)
    await _until_deleted(desk, project)
    await _nothing_is_left(desk, project, domain)

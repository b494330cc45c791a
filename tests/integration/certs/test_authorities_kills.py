"""The worker dies of SIGKILL at every point of a rollover, of an account's end, and of a rotation of the key ring."""

import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from lifecycle import clock, ids, rotation_store, vault
from lifecycle.access import keys
from lifecycle.access import store as access_store
from lifecycle.certs import acme
from lifecycle.certs.authorities import Authorities, Opened, accounts, store
from lifecycle.certs.authority_service import ChangeAccount
from lifecycle.certs.configuration import Authority, Certificates
from lifecycle.certs.verdicts import Account, Refused
from lifecycle.client import Client
from lifecycle.db import Database
from lifecycle.dev.stack import Stack
from lifecycle.models import Actor, Role
from lifecycle.rotation import StartRotation, State
from lifecycle.vault import Vault
from tests.integration.certs.authority import Lab, expect
from tests.support.mortal import Points, mortal_stack
from tests.support.waiting import eventually

_CA = "mortal"
# More than two batches.
_SECRETS = 250
_ACCOUNT = {
    "roll over": ("AuthorityService/roll_over/store-next-key", "AuthorityService/roll_over/change-key"),
    "deactivate": ("AuthorityService/deactivate/deactivate",),
}
_ROTATION = ("KeyRotation/start", "KeyRotation/start/read-ring", "KeyRotation/advance", "KeyRotation/advance/rewrap")
_BOTH = ("before", "after")


class Office(NamedTuple):
    """A stack whose worker can be killed, and what only somebody with access to it can do."""

    stack: Stack
    points: Points
    client: Client
    admin: Actor
    db: Database
    former: Vault
    authorities: Authorities


@pytest.fixture(scope="module")
async def office(lab: Lab) -> AsyncIterator[Office]:
    """The stack of all these tests; its key ring has just got another first line."""
    listed = Authority(name=_CA, directory_url=lab.pebble.directory_url, trust_file=lab.pebble.trust)
    former: list[str] = []

    def made(root: Path, settings: Mapping[str, str]) -> Stack:
        stack = Stack(root, settings=settings)
        ring = root / "key-ring"
        former.append(ring.read_text())
        ring.write_text(f"{vault.new_ring_line('newest')}\n{former[0]}")
        return stack

    with tempfile.TemporaryDirectory(prefix="lifecycle-authority-") as folder:
        file = Path(folder) / "certificates.toml"
        file.write_text(
            f'[[authority]]\nname = "{_CA}"\ndirectory_url = "{lab.pebble.directory_url}"\n'
            f'trust_file = "{lab.pebble.trust}"\n'
        )
        async with (
            mortal_stack({"LIFECYCLE_CERTIFICATES_FILE": str(file)}, made=made) as (stack, points),
            Client.opened(stack.settings()) as client,
        ):
            db = Database(stack.database.url, size=5, deadline=timedelta(seconds=10))
            ring = Vault.parse(stack.settings().key_ring() or "")
            authorities = Authorities(Certificates(authority=(listed,)), db, ring)
            admin = await _administrator(db)
            yield Office(stack, points, client, admin, db, Vault.parse(former[0]), authorities)
            authorities.close()
            await db.close()


async def _administrator(db: Database) -> Actor:
    workspace = await access_store.ensure_workspace(db, workspace_id=ids.new("ws"), name="office", now=clock.now())
    made = await keys.create(db, workspace=workspace, person="ada@example.com", role=Role.ADMINISTRATOR, by=None)
    return Actor(workspace=workspace, key=made.id, person="ada@example.com", role=Role.ADMINISTRATOR)


@pytest.mark.parametrize("when", _BOTH)
@pytest.mark.parametrize("point", _ACCOUNT["roll over"])
async def test_a_rollover_survives_the_death_of_its_worker(office: Office, lab: Lab, point: str, when: str) -> None:
    """The account is the same, the new key opens it, the former one does not, and no further key is on its way."""
    before = await _open(office)
    with office.points.death_at(point, when):
        changed = await office.client.roll_over_account(_CA, ChangeAccount(actor=office.admin))
    after = await _open(office)

    assert changed.url == before.url == after.url
    assert after.signer.key != before.signer.key
    expect(Refused, await lab.call(acme.read_account, before.ca, before.signer))
    expect(Account, await lab.call(acme.read_account, after.ca, after.signer))
    row = await store.account(office.db, _CA)
    assert row is not None
    assert row.sealed_next_key is None


@pytest.mark.parametrize("when", _BOTH)
@pytest.mark.parametrize("point", _ACCOUNT["deactivate"])
async def test_the_end_of_an_account_survives_the_death_of_its_worker(office: Office, point: str, when: str) -> None:
    """It is ended at the CA and here, and a rollover begins a new one."""
    before = await _open(office)
    with office.points.death_at(point, when):
        ended = await office.client.deactivate_account(_CA, ChangeAccount(actor=office.admin))
    refused = await office.authorities.run(acme.read_account, before.ca, before.signer)
    await office.client.roll_over_account(_CA, ChangeAccount(actor=office.admin))

    assert (ended.url, ended.status) == (before.url, "deactivated")
    expect(Refused, refused)
    assert (await _open(office)).url != before.url


@pytest.mark.parametrize("when", _BOTH)
@pytest.mark.parametrize("point", _ROTATION)
async def test_a_rotation_survives_the_death_of_its_worker(office: Office, point: str, when: str) -> None:
    """Every secret is sealed under the new key in the end, and nothing needs the former one."""
    names = [f"{ids.new('x')}" for _ in range(_SECRETS)]
    await _seal(office, names)
    with office.points.death_at(point, when):
        await office.client.start_rotation(StartRotation(actor=office.admin))

        async def ended() -> bool:
            return (await office.client.rotation()).state is not State.RUNNING

        await eventually(ended, within=30)
    done = await office.client.rotation()
    try:
        assert (done.state, done.message, done.unreadable) == (State.DONE, "", ())
        assert done.removable == office.former.keys
        assert set(done.needed) == {"newest"}
        column = next(one for one in rotation_store.COLUMNS if one.name == "acme_accounts.sealed_key")
        stored = {one.id: one.sealed for one in await rotation_store.page(office.db, column, after="", limit=1000)}
        ring = Vault.parse(office.stack.settings().key_ring() or "")
        for name in names:
            assert ring.sealed_by(stored[name]) == "newest"
            assert ring.open(stored[name], bound_to=accounts.bound_to(name)) == name.encode()
    finally:
        await office.db.execute("DELETE FROM acme_accounts WHERE directory_url = ''")


async def _open(office: Office) -> Opened:
    return expect(Opened, await office.authorities.opened(_CA))


async def _seal(office: Office, names: Sequence[str]) -> None:
    """Accounts whose keys are sealed under the former key."""
    rows = [(name, office.former.seal(name.encode(), bound_to=accounts.bound_to(name)), clock.now()) for name in names]
    await office.db.transaction(
        lambda connection: connection.execute_many(
            "INSERT INTO acme_accounts (ca, directory_url, status, sealed_key, created_at) "
            "VALUES (%s, '', 'valid', %s, %s)",
            rows,
        )
    )

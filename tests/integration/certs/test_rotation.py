"""Rotation of the wrapping key: everything is sealed anew, whatever fails, and nothing else is changed."""

import dataclasses
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from lifecycle import clock, ids, resources, rotation, rotation_store, vault
from lifecycle.certs import issuing
from lifecycle.certs.authorities import accounts
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Role
from lifecycle.notifications import targets_store
from lifecycle.receipts import signing
from lifecycle.rotation import Rotation, StartRotation, State
from lifecycle.vault import Vault, VaultError
from tests.support import wire_format
from tests.support.waiting import eventually
from tests.support.workbench import Workbench


class Ring(NamedTuple):
    """What is sealed under the former key, and the vault before and after the new key was added."""

    former: Vault
    present: Vault
    only_new: Vault
    secrets: dict[str, bytes]
    bound_to: dict[str, str]


class _CrashError(Exception):
    """A planted failure."""


@pytest.fixture
async def ring(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ring]:
    """Values in every column under the key of the bench, and a worker whose ring begins with a new one."""
    text = bench.stack.settings().key_ring() or ""
    new = vault.new_ring_line(f"k-{secrets.token_hex(3)}")
    made = Ring(Vault.parse(text), Vault.parse(f"{new}\n{text}"), Vault.parse(new), {}, {})
    await _fill(bench, made)
    monkeypatch.setattr(resources, "_current", dataclasses.replace(bench.resources, vault=made.present))
    monkeypatch.setattr(rotation, "_BATCH", 3)
    yield made
    for statement in (
        "DELETE FROM acme_accounts WHERE directory_url = 'https://ca.test'",
        "DELETE FROM certificates WHERE workspace_id = 'ws'",
        "DELETE FROM acme_orders WHERE workspace_id = 'ws'",
        "DELETE FROM deployments WHERE workspace_id = 'ws'",
        "DELETE FROM webhooks WHERE url = 'https://rotation.test'",
    ):
        await bench.resources.db.execute(statement)
    # Back under the key of the bench, for the tests that come.
    back = Vault.parse(f"{text}\n{new}")
    for column in rotation_store.COLUMNS:
        values = await rotation_store.page(bench.resources.db, column, after="", limit=10_000)
        changes = [(one, back.rewrap(one.sealed, bound_to=column.bound_to(one.id))) for one in values if one.sealed]
        await rotation_store.replace(bench.resources.db, column, changes)


async def _fill(bench: Workbench, ring: Ring) -> None:
    """Five rows with a secret in each column."""
    db, now, project = bench.resources.db, clock.now(), await bench.project()
    await signing.ensure_key(db, ring.former)
    await eventually(lambda: db.one("SELECT 1 FROM projects WHERE id = %s", project.id), within=10)
    tail = "project_id, ca, names, status, created_at"
    for number in range(5):
        ca, iss, dep = f"t-{secrets.token_hex(6)}", ids.new("iss"), ids.new("dep")
        crt = f"crt_{iss.removeprefix('iss_')}"
        keys = [(accounts.bound_to(ca), f"{ca} {one}") for one in ("key", "next")]
        sealed = [
            _seal(ring, bound, secret) for bound, secret in [*keys, (crt, crt), (crt, f"{crt} order"), (dep, dep)]
        ]
        await db.execute(
            "INSERT INTO acme_accounts (ca, directory_url, status, sealed_key, sealed_next_key, created_at) "
            "VALUES (%s, 'https://ca.test', 'valid', %s, %s, %s)",
            ca,
            sealed[0],
            sealed[1] if number else None,
            now,
        )
        await db.execute(
            f"INSERT INTO certificates (id, domain, version, workspace_id, issuance_id, serial, issuer, not_before, "
            f"not_after, cause, chain, key_digest, sealed_key, {tail}) VALUES (%s, %s, 1, 'ws', %s, '', '', %s, %s, "
            f"'', '', '', %s, NULL, '', '[]', '', %s)",
            crt,
            crt,
            iss,
            now,
            now,
            sealed[2],
            now,
        )
        await db.execute(
            f"INSERT INTO acme_orders (issuance_id, domain, workspace_id, account_url, sealed_key, {tail}) "
            f"VALUES (%s, '', 'ws', '', %s, NULL, '', '[]', '', %s)",
            iss,
            sealed[3] if number else "",
            now,
        )
        await db.execute(
            "INSERT INTO deployments (id, project_id, workspace_id, environment, status, message, spec, created_at, "
            "sequence) VALUES (%s, %s, 'ws', 'preview', 'stopped', '', %s, %s, 1)",
            dep,
            project.id,
            json.dumps({"id": dep, "sealed_variables": sealed[4] if number else None, "slug": 'ö "x"'}),
            now,
        )
        await _fill_webhook(bench, ring, former=number > 0)


async def _fill_webhook(bench: Workbench, ring: Ring, *, former: bool) -> None:
    hook = ids.new("whk")
    bound_to = targets_store.bound_to(hook)
    await bench.resources.db.execute(
        "INSERT INTO webhooks (id, workspace_id, url, events, sealed_secret, sealed_former_secret, state, created_at, "
        "created_by) VALUES (%s, %s, 'https://rotation.test', '[]', %s, %s, 'disabled', %s, '')",
        hook,
        bench.admin.workspace,
        _seal(ring, bound_to, f"{hook} secret"),
        _seal(ring, bound_to, f"{hook} former") if former else None,
        clock.now(),
    )


def _seal(ring: Ring, bound_to: str, secret: str) -> str:
    ring.secrets[secret] = secret.encode()
    ring.bound_to[secret] = bound_to
    return ring.former.seal(secret.encode(), bound_to=bound_to)


async def test_every_sealed_column_has_its_place_in_the_rotation(bench: Workbench) -> None:
    """A column with secrets that is forgotten would be lost with the key that is taken away."""
    rows = await bench.resources.db.all(
        "SELECT CONCAT(TABLE_NAME, '.', COLUMN_NAME) AS name FROM information_schema.COLUMNS "
        "WHERE TABLE_SCHEMA = DATABASE() AND COLUMN_NAME LIKE '%%sealed%%'"
    )
    inside = {
        name for model in wire_format.present().values() for name in model.get("properties", ()) if "sealed_" in name
    }
    covered = {column.name for column in rotation_store.COLUMNS}

    assert {row["name"] for row in rows} == covered - {"deployments.spec.sealed_variables"}
    assert inside == {"sealed_variables"}, "a model that is stored as JSON has a new sealed value"


def test_the_key_of_an_order_is_bound_as_issuances_bind_it() -> None:
    """It is sealed for the certificate that it will belong to; the rotation must know the same rule."""
    column = next(one for one in rotation_store.COLUMNS if one.name == "acme_orders.sealed_key")

    assert column.bound_to("iss_1") == issuing._certificate("iss_1")  # noqa: SLF001  the rule of the other side


async def test_everything_is_sealed_under_the_new_key(bench: Workbench, ring: Ring) -> None:
    """Every secret is the same as before and opens without the former key, and it is said that nothing needs that."""
    before = await bench.resources.db.all("SELECT id, spec FROM deployments")

    done = await _rotate(bench)

    assert (done.state, done.message, done.unreadable) == (State.DONE, "", ())
    assert done.removable == ring.former.keys
    assert done.needed == {ring.present.keys[0]: done.looked_at}
    assert done.rewrapped >= 4 * 5 + 1 - 3
    opened = await _open_all(bench, ring.only_new)
    assert {value for value in ring.secrets.values() if value in opened} >= _kept(ring)
    after = {row["id"]: json.loads(row["spec"]) for row in await bench.resources.db.all("SELECT * FROM deployments")}
    for row in before:
        assert {**json.loads(row["spec"]), "sealed_variables": ""} == {**after[row["id"]], "sealed_variables": ""}
    assert await signing.ensure_key(bench.resources.db, ring.only_new)
    await eventually(lambda: _audited(bench, {"vault.rotation_started", "vault.rotation_done"}), within=10)


async def test_a_second_rotation_finds_nothing_to_do(bench: Workbench, ring: Ring) -> None:
    """Rotating twice does no harm, and looks only once."""
    first = await _rotate(bench)
    second = await _rotate(bench)

    assert (second.state, second.rewrapped, second.passes) == (State.DONE, 0, 1)
    assert (second.number, second.looked_at) == (first.number + 1, first.looked_at)
    assert ring.present.keys[0] == second.key


@pytest.mark.parametrize("when", ["before", "after", "twice"])
async def test_a_rotation_that_is_killed_goes_on(
    bench: Workbench, ring: Ring, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every single batch fails once, before or after it acted, or runs twice: the end is the same."""
    seen: Counter[str] = Counter()
    step = rotation._rewrap  # noqa: SLF001  the step that fails

    async def failing(column: str, after: str) -> Any:
        place = f"{column} {after}"
        seen[place] += 1
        first = seen[place] == 1
        if first and when == "before":
            raise _CrashError(place)
        worked = await step(column=column, after=after)
        if first and when == "after":
            raise _CrashError(place)
        return await step(column=column, after=after) if first and when == "twice" else worked

    monkeypatch.setattr(rotation, "_rewrap", failing)
    done = await _rotate(bench)

    assert done.state is State.DONE
    assert done.removable == ring.former.keys
    assert {value for value in ring.secrets.values() if value in await _open_all(bench, ring.only_new)} >= _kept(ring)


async def test_what_changes_meanwhile_is_not_overwritten(
    bench: Workbench, ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that is replaced between look and write stays, and is met by the next pass."""
    db = bench.resources.db
    row = await db.one("SELECT ca FROM acme_accounts ORDER BY ca LIMIT 1")
    assert row is not None
    bound = accounts.bound_to(row["ca"])
    replace = rotation_store.replace
    newer = [ring.former.seal(b"newer", bound_to=bound)]

    async def overtaken(db_: Any, column: Any, changes: Any) -> int:
        if newer and column.name == "acme_accounts.sealed_key":
            await db.execute("UPDATE acme_accounts SET sealed_key = %s WHERE ca = %s", newer.pop(), row["ca"])
        return await replace(db_, column, changes)

    monkeypatch.setattr(rotation_store, "replace", overtaken)
    done = await _rotate(bench)

    assert done.state is State.DONE
    stored = await db.one("SELECT sealed_key FROM acme_accounts WHERE ca = %s", row["ca"])
    assert stored is not None
    assert ring.only_new.open(stored["sealed_key"], bound_to=bound) == b"newer"


async def test_what_no_key_opens_is_named_and_left_alone(bench: Workbench, ring: Ring) -> None:
    """A value under a lost key stops nothing; people are told which it is and which key it needs."""
    lost = Vault.parse(vault.new_ring_line("lost"))
    row = await bench.resources.db.one("SELECT id FROM certificates ORDER BY id LIMIT 1")
    assert row is not None
    sealed = lost.seal(b"x", bound_to=row["id"])
    before = await bench.resources.db.one("SELECT sealed_key FROM certificates WHERE id = %s", row["id"])
    assert before is not None
    await bench.resources.db.execute("UPDATE certificates SET sealed_key = %s WHERE id = %s", sealed, row["id"])
    try:
        done = await _rotate(bench)
    finally:
        await bench.resources.db.execute("DELETE FROM certificates WHERE id = %s", row["id"])

    assert done.state is State.DONE
    assert done.unreadable == (f"certificates.sealed_key {row['id']}",)
    assert done.needed["lost"] == 1
    assert done.removable == ring.former.keys


async def test_a_worker_with_another_ring_ends_the_rotation(
    bench: Workbench, ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that was not restarted is found out, and it is said what to do."""
    step = rotation._rewrap  # noqa: SLF001  the step of the other worker

    async def elsewhere(column: str, after: str) -> Any:
        worked = await step(column=column, after=after)
        return worked.model_copy(update={"ring": rotation.Ring(keys=ring.former.keys)})

    monkeypatch.setattr(rotation, "_rewrap", elsewhere)
    failed = await _rotate(bench)

    assert failed.state is State.FAILED
    assert "restart all workers" in failed.message
    monkeypatch.setattr(rotation, "_rewrap", step)
    assert (await _rotate(bench)).state is State.DONE


async def test_a_rotation_that_somebody_ended_is_begun_anew(
    bench: Workbench, ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that is ended in the engine does not leave a rotation that runs for ever."""
    with monkeypatch.context() as planted:
        planted.setattr(rotation, "_rewrap", _ended)
        begun = await bench.client.start_rotation(StartRotation(actor=bench.admin))
        again = await bench.client.start_rotation(StartRotation(actor=bench.admin))
    assert (again.number, again.state) == (begun.number, State.RUNNING)

    monkeypatch.setattr(rotation, "_DEAD_AFTER", timedelta(0))
    done = await _rotate(bench)

    assert (done.state, done.number) == (State.DONE, begun.number + 1)
    assert done.removable == ring.former.keys


async def _ended(column: str, after: str) -> Any:
    raise LifecycleError(Code.NOT_FOUND, path=f"{column} {after}")


async def test_only_administrators_rotate(bench: Workbench) -> None:
    """An operator is refused."""
    operator = bench.admin.model_copy(update={"role": Role.OPERATOR})
    with pytest.raises(LifecycleError) as refused:
        await bench.client.start_rotation(StartRotation(actor=operator))

    assert refused.value.code is Code.ROLE_REQUIRED


async def _rotate(bench: Workbench) -> Rotation:
    begun = await bench.client.start_rotation(StartRotation(actor=bench.admin))

    async def ended() -> Rotation | None:
        found = await bench.client.rotation()
        assert found.number == begun.number
        return None if found.state is State.RUNNING else found

    return await eventually(ended, within=30)


def _kept(ring: Ring) -> set[bytes]:
    """The certificates' keys, of which every row has one."""
    return {secret for name, secret in ring.secrets.items() if name == ring.bound_to[name] and name.startswith("crt_")}


async def _open_all(bench: Workbench, opener: Vault) -> set[bytes]:
    opened = set()
    for column in rotation_store.COLUMNS:
        for value in await rotation_store.page(bench.resources.db, column, after="", limit=10_000):
            try:
                opened.add(opener.open(value.sealed, bound_to=column.bound_to(value.id)))
            except VaultError as error:
                raise AssertionError(f"{column.name} {value.id} does not open") from error
    return opened


async def _audited(bench: Workbench, wanted: set[str]) -> bool:
    rows = await bench.resources.db.all("SELECT action FROM audit_log WHERE action LIKE 'vault.%%'")
    return wanted <= {row["action"] for row in rows}

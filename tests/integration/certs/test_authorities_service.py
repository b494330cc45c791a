"""Rollover and end of an account, as administrators ask for them: every step may fail, before or after it acted."""

import dataclasses
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from lifecycle import resources
from lifecycle.certs import acme, authority_service
from lifecycle.certs.authorities import Authorities, Opened, store
from lifecycle.certs.authority_service import ChangeAccount
from lifecycle.certs.configuration import Authority, Certificates
from lifecycle.certs.verdicts import Account, Refused
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Role
from tests.integration.certs.authority import Lab, Wire, expect
from tests.support.waiting import eventually
from tests.support.workbench import Workbench


class _CrashError(Exception):
    """A planted failure."""


@pytest.fixture
def ca() -> str:
    """The name of an authority that no other test uses."""
    return f"t-{secrets.token_hex(6)}"


@pytest.fixture
def authorities(
    bench: Workbench, lab: Lab, wire: Wire, ca: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Authorities]:
    """Those of the worker: one that works, behind a wire, and one that is down."""
    listed = (
        Authority(name=ca, directory_url=wire.url, trust_file=lab.pebble.trust),
        Authority(name=f"{ca}-down", directory_url=f"https://127.0.0.1:{lab.free['free']}/dir"),
    )
    opened = Authorities(Certificates(authority=listed), bench.resources.db, bench.resources.vault)
    monkeypatch.setattr(resources, "_current", dataclasses.replace(bench.resources, authorities=opened))
    yield opened
    opened.close()


def _failing(step: Callable[..., Awaitable[Any]], *, when: str, seen: Counter[str]) -> Callable[..., Awaitable[Any]]:
    async def failing(**arguments: Any) -> Any:
        seen[step.__name__] += 1
        first = seen[step.__name__] == 1
        if first and when == "before":
            raise _CrashError(step.__name__)
        result = await step(**arguments)
        if first and when == "after":
            raise _CrashError(step.__name__)
        return await step(**arguments) if first and when == "twice" else result

    return failing


@pytest.mark.parametrize("when", ["before", "after", "twice"])
@pytest.mark.parametrize("step", ["_prepare", "_change_key"])
async def test_a_rollover_ends_with_one_new_key_whatever_fails(
    bench: Workbench,
    lab: Lab,
    authorities: Authorities,
    ca: str,
    step: str,
    when: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The account stays the same, only the new key opens it, and the audit log says who asked, once."""
    seen: Counter[str] = Counter()
    monkeypatch.setattr(authority_service, step, _failing(getattr(authority_service, step), when=when, seen=seen))
    before = expect(Opened, await authorities.opened(ca))

    changed = await bench.client.roll_over_account(ca, ChangeAccount(actor=bench.admin))

    after = expect(Opened, await authorities.opened(ca))
    assert seen[step] == (1 if when == "twice" else 2)
    assert (changed.url, changed.status) == (before.url, "valid")
    assert after.signer.key != before.signer.key
    expect(Refused, await lab.call(acme.read_account, before.ca, before.signer))
    expect(Account, await lab.call(acme.read_account, after.ca, after.signer))
    row = await store.account(bench.resources.db, ca)
    assert row is not None
    assert row.sealed_next_key is None
    assert row.rolled_over_at is not None
    await eventually(lambda: _audited(bench, ca, "authority.rolled_over"), within=10)


async def test_a_lost_answer_is_asked_after_by_itself(
    bench: Workbench, wire: Wire, authorities: Authorities, ca: str
) -> None:
    """Whoever asks for a rollover whose answer gets lost on the way from the CA hears of its success all the same."""
    before = expect(Opened, await authorities.opened(ca))
    wire.lose("rollover")

    changed = await bench.client.roll_over_account(ca, ChangeAccount(actor=bench.admin))

    assert changed.url == before.url
    assert expect(Opened, await authorities.opened(ca)).signer.key != before.signer.key


@pytest.mark.parametrize("when", ["before", "after", "twice"])
async def test_an_account_is_ended_whatever_fails(
    bench: Workbench, authorities: Authorities, ca: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is deactivated at the CA, and a rollover begins a new one."""
    seen: Counter[str] = Counter()
    step = authority_service._deactivate  # noqa: SLF001  the step that fails
    monkeypatch.setattr(authority_service, "_deactivate", _failing(step, when=when, seen=seen))
    before = expect(Opened, await authorities.opened(ca))

    ended = await bench.client.deactivate_account(ca, ChangeAccount(actor=bench.admin))
    refused = await authorities.run(acme.read_account, before.ca, before.signer)
    anew = await bench.client.roll_over_account(ca, ChangeAccount(actor=bench.admin))

    assert (ended.url, ended.status) == (before.url, "deactivated")
    expect(Refused, refused)
    assert anew.url != before.url
    await eventually(lambda: _audited(bench, ca, "authority.deactivated"), within=10)


async def test_only_administrators_touch_accounts(bench: Workbench, authorities: Authorities, ca: str) -> None:
    """An operator is refused, whichever way the request came, and nothing is made."""
    operator = ChangeAccount(actor=bench.admin.model_copy(update={"role": Role.OPERATOR}))
    for ask in (bench.client.roll_over_account, bench.client.deactivate_account):
        with pytest.raises(LifecycleError) as refused:
            await ask(ca, operator)
        assert refused.value.code is Code.ROLE_REQUIRED

    assert (await authorities.standings())[0].account is None


async def test_a_ca_that_is_down_is_said_to_be(bench: Workbench, authorities: Authorities, ca: str) -> None:
    """Whoever asks gets an answer within seconds, and so does the next."""
    assert authorities.names == (ca, f"{ca}-down")
    for ask in (bench.client.roll_over_account, bench.client.deactivate_account):
        with pytest.raises(LifecycleError) as refused:
            await ask(f"{ca}-down", ChangeAccount(actor=bench.admin))
        assert refused.value.code is Code.AUTHORITY_UNAVAILABLE
    with pytest.raises(LifecycleError) as unknown:
        await bench.client.roll_over_account("no-such", ChangeAccount(actor=bench.admin))
    assert unknown.value.code is Code.AUTHORITY_UNKNOWN


async def _audited(bench: Workbench, ca: str, action: str) -> bool:
    rows = await bench.resources.db.all(
        "SELECT actor_person FROM audit_log WHERE action = %s AND JSON_EXTRACT(detail, '$.authority') = %s",
        action,
        ca,
    )
    return [row["actor_person"] for row in rows] == [bench.admin.person]

"""Certificate authorities as the service knows them: accounts, failover, rate limits, with real CAs and database."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from lifecycle import clock
from lifecycle.certs import acme
from lifecycle.certs.authorities import (
    Admitted,
    Authorities,
    Closed,
    Limit,
    Opened,
    Picked,
    Queued,
    Reported,
    accounts,
    budget,
    names_digest,
    store,
)
from lifecycle.certs.configuration import AccountBinding, Authority, Certificates
from lifecycle.certs.names import LETS_ENCRYPT, Offer
from lifecycle.certs.problems import About, Meaning
from lifecycle.certs.verdicts import Account, Failure, Problem, RateLimited, Refused, Unanswered
from lifecycle.errors import Code, LifecycleError
from tests.integration.certs.authority import Lab, Wire, expect, hosts, laboratory
from tests.support.workbench import Workbench

GONE = Unanswered(reason="nobody is there")
SECRET = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"  # noqa: S105  of this test only

Open = Callable[..., Authorities]


@pytest.fixture
def ca() -> str:
    """The name of an authority that no other test uses."""
    return f"t-{secrets.token_hex(6)}"


@pytest.fixture
def opening(bench: Workbench) -> Iterator[Open]:
    """Opens authorities as a process does when it starts; all are closed at the end."""
    opened: list[Authorities] = []

    def open_(*authority: Authority) -> Authorities:
        opened.append(Authorities(Certificates(authority=authority), bench.resources.db, bench.resources.vault))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


@pytest.fixture
async def binder() -> AsyncIterator[Lab]:
    """A CA that wants to know whose account it is."""
    options: dict[str, JsonValue] = {
        "externalAccountBindingRequired": True,
        "externalAccountMACKeys": {"kid-1": SECRET},
    }
    async with laboratory(options=options) as opened:
        yield opened


def at(lab: Lab, name: str, **more: Any) -> Authority:
    """The CA of a laboratory, as the configuration has it."""
    return Authority(name=name, directory_url=lab.pebble.directory_url, trust_file=lab.pebble.trust, **more)


def behind(wire: Wire, lab: Lab, name: str) -> Authority:
    """The same, behind a wire that can lose answers."""
    return Authority(name=name, directory_url=wire.url, trust_file=lab.pebble.trust)


async def key_of(bench: Workbench, ca: str) -> bytes:
    """The private key of the account, opened."""
    row = await store.account(bench.resources.db, ca)
    assert row is not None
    return bench.resources.vault.open(row.sealed_key, bound_to=accounts.bound_to(ca))


async def test_an_account_is_made_on_first_use_and_kept(lab: Lab, opening: Open, ca: str) -> None:
    """However many workers begin at once, and after a restart, there is one account with one key."""
    workers = [opening(at(lab, ca, contact=("mailto:ops@example.com",))) for _ in range(4)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one.opened(ca)) for one in workers for _ in range(3)]
    opened = [expect(Opened, task.result()) for task in tasks]
    later = expect(Opened, await opening(at(lab, ca)).opened(ca))

    assert len({one.url for one in [*opened, later]}) == 1
    assert len({one.signer.key for one in [*opened, later]}) == 1
    read = await workers[0].run(acme.read_account, later.ca, later.signer)
    assert expect(Account, read).status == "valid"


async def test_no_key_is_stored_in_clear(bench: Workbench, lab: Lab, opening: Open, ca: str) -> None:
    """What is in the database opens with the vault only, and only for this CA."""
    opened = expect(Opened, await opening(at(lab, ca)).opened(ca))
    row = await store.account(bench.resources.db, ca)

    assert row is not None
    assert "PRIVATE KEY" not in row.sealed_key
    assert await key_of(bench, ca) == opened.signer.key
    assert "PRIVATE KEY" not in repr(opened)


async def test_a_lost_answer_to_the_new_account_leaves_one(
    bench: Workbench, lab: Lab, wire: Wire, opening: Open, ca: str
) -> None:
    """A worker that dies before it hears of its account finds it again, by the key that it stored before."""
    wire.lose("sign-me-up")
    expect(Unanswered, await opening(behind(wire, lab, ca)).opened(ca))
    key = await key_of(bench, ca)

    opened = expect(Opened, await opening(behind(wire, lab, ca)).opened(ca))

    assert opened.signer.key == key
    found = await lab.call(acme.find_account, wire.ca, acme.Signer(key))
    assert expect(Account, found).url == opened.url


async def test_an_account_that_must_be_bound(binder: Lab, opening: Open, ca: str, tmp_path: Path) -> None:
    """Without the CA's key, or with a file that is no key, it is said what is missing; with it the account opens."""
    file = tmp_path / "hmac"
    bound = at(binder, ca, binding=AccountBinding(key_id="kid-1", hmac_key_file=file))
    with pytest.raises(LifecycleError) as without:
        await opening(at(binder, ca)).opened(ca)
    authorities = opening(bound)
    with pytest.raises(LifecycleError) as missing:
        await authorities.opened(ca)
    file.write_text("no key!")
    with pytest.raises(LifecycleError) as broken:
        await authorities.opened(ca)
    file.write_text(f"{SECRET}\n")

    assert {error.value.code for error in (without, missing, broken)} == {Code.AUTHORITY_BINDING}
    assert "hmac_key_file" in without.value.hint
    assert str(file) in str(missing.value)
    expect(Opened, await authorities.opened(ca))


async def test_a_ca_that_forgot_the_account_gets_it_again(bench: Workbench, lab: Lab, opening: Open, ca: str) -> None:
    """After it says that it has no such account, the next order registers anew with the same key, and goes on."""
    authorities = opening(at(lab, ca))
    opened = expect(Opened, await authorities.opened(ca))
    gone = opened.url.replace("my-account/", "my-account/999")
    await bench.resources.db.execute("UPDATE acme_accounts SET url = %s WHERE ca = %s", gone, ca)
    stale = expect(Opened, await authorities.opened(ca))
    refused = await authorities.run(acme.new_order, stale.ca, stale.signer, hosts("forgot.example.test"))

    assert expect(Refused, refused).problem.kind == "accountDoesNotExist"
    assert (await authorities.report(ca, expect(Refused, refused))).meaning is Meaning.TRANSIENT
    assert await authorities.opened(ca) == opened
    await authorities.forget_account(ca, gone)
    assert await authorities.opened(ca) == opened


async def test_another_directory_means_another_account(lab: Lab, wire: Wire, opening: Open, ca: str) -> None:
    """When a CA moves, or a test CA starts elsewhere, our key goes along and gets an account there."""
    before = expect(Opened, await opening(at(lab, ca)).opened(ca))
    after = expect(Opened, await opening(behind(wire, lab, ca)).opened(ca))

    assert after.signer.key == before.signer.key
    assert str(lab.free["wire"]) in after.url


async def test_what_is_wrong_with_a_ca_is_said_before_anything_is_ordered(lab: Lab, opening: Open) -> None:
    """An unknown name, a page that is no directory, a CA that is down, and a profile that it has not."""
    page = Authority(name="page", directory_url=f"{lab.pebble.management_url}/roots/0", trust_file=lab.pebble.trust)
    nothing = Authority(name="nothing", directory_url=f"{lab.pebble.directory_url}/x", trust_file=lab.pebble.trust)
    down = Authority(name="down", directory_url=f"https://127.0.0.1:{lab.free['free']}/dir")
    authorities = opening(at(lab, "good"), page, nothing, down)
    found = {}
    for name in ("page", "nothing", "down", "other"):
        with pytest.raises(LifecycleError) as refused:
            await authorities.check(name, None)
        found[name] = refused.value.code
    with pytest.raises(LifecycleError) as profile:
        await authorities.check("good", "no-such-profile")

    assert found == {
        "page": Code.AUTHORITY_NOT_ACME,
        "nothing": Code.AUTHORITY_NOT_ACME,
        "down": Code.AUTHORITY_UNAVAILABLE,
        "other": Code.AUTHORITY_UNKNOWN,
    }
    assert profile.value.code is Code.CERTIFICATE_PROFILE_UNKNOWN


async def test_what_a_ca_offers(newer: Lab, opening: Open) -> None:
    """Of a CA that we do not know, what the configuration says; its profiles come from its directory."""
    authorities = opening(at(newer, "a", profile="oneminute", addresses=True), at(newer, "b", internal=True))

    assert (await authorities.check("a", None)).profile == "oneminute"
    assert await authorities.offer("a", "classic") == Offer(addresses=True)
    assert await authorities.offer("b", None) == Offer(internal=True)
    assert LETS_ENCRYPT["shortlived"].addresses


async def test_a_rollover_changes_the_key_and_nothing_else(lab: Lab, opening: Open, ca: str) -> None:
    """Afterwards only the new key opens the account, in every worker, and orders go on."""
    one, other = opening(at(lab, ca)), opening(at(lab, ca))
    before = expect(Opened, await one.opened(ca))
    assert expect(Opened, await other.opened(ca)).signer == before.signer

    assert await one.prepare_key(ca) is None
    changed = expect(Account, await one.change_key(ca))
    after = expect(Opened, await other.opened(ca))

    assert changed.url == before.url == after.url
    assert after.signer.key != before.signer.key
    expect(Refused, await lab.call(acme.read_account, lab.ca, before.signer))
    await lab.issue(after.signer, hosts("rolled-over.example.test"))


@pytest.mark.parametrize("lost", ["before the CA hears of it", "the answer", "before it is promoted"])
async def test_a_rollover_that_is_killed_goes_on(
    bench: Workbench, lab: Lab, wire: Wire, opening: Open, ca: str, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it ends, orders go on in between, and asking again brings it to its end with the key that was stored."""
    authorities = opening(behind(wire, lab, ca))
    before = expect(Opened, await authorities.opened(ca))
    assert await authorities.prepare_key(ca) is None
    next_key = await _next_key(bench, ca)
    if lost == "the answer":
        wire.lose("rollover")
        expect(Unanswered, await authorities.change_key(ca))
    elif lost == "before it is promoted":
        with monkeypatch.context() as planted:
            planted.setattr(store, "promote_key", _crash)
            with pytest.raises(_CrashError):
                await authorities.change_key(ca)

    between = expect(Opened, await opening(behind(wire, lab, ca)).opened(ca))
    expect(Account, await authorities.run(acme.read_account, between.ca, between.signer))
    assert between.signer.key == (before.signer.key if lost.startswith("before the CA") else next_key)

    again = opening(behind(wire, lab, ca))
    if lost.startswith("before the CA"):
        assert await again.prepare_key(ca) is None
    expect(Account, await again.change_key(ca))
    after = expect(Opened, await again.opened(ca))
    assert after.signer.key == next_key
    assert after.url == before.url
    expect(Refused, await lab.call(acme.read_account, wire.ca, before.signer))


async def test_a_refused_rollover_leaves_the_account_as_it_was(
    bench: Workbench, lab: Lab, wire: Wire, opening: Open, ca: str
) -> None:
    """A CA that does not want the new key keeps the former one, and the next rollover takes another."""
    authorities = opening(behind(wire, lab, ca))
    before = expect(Opened, await authorities.opened(ca))
    assert await authorities.prepare_key(ca) is None
    refusal = '{"type": "urn:ietf:params:acme:error:badPublicKey", "detail": "no"}'
    wire.replace("rollover", 400, {"Content-Type": "application/problem+json"}, refusal)

    assert expect(Refused, await authorities.change_key(ca)).problem.kind == "badPublicKey"
    assert await authorities.opened(ca) == before
    row = await store.account(bench.resources.db, ca)
    assert row is not None
    assert row.sealed_next_key is None


async def test_a_deactivated_account_is_ended_for_good(lab: Lab, wire: Wire, opening: Open, ca: str) -> None:
    """Also when the answer was lost. It is not ordered from any more, until a rollover begins a new account."""
    authorities = opening(behind(wire, lab, ca), at(lab, f"{ca}-2"))
    before = expect(Opened, await authorities.opened(ca))
    wire.lose("my-account")
    expect(Unanswered, await authorities.deactivate(ca))
    with pytest.raises(LifecycleError) as refused:
        await authorities.opened(ca)

    ended = expect(Account, await authorities.deactivate(ca))
    assert (ended.url, ended.status) == (before.url, "deactivated")
    assert await authorities.deactivate(ca) == ended
    assert refused.value.code is Code.AUTHORITY_ACCOUNT_DEACTIVATED
    now = clock.now()
    assert await authorities.pick(None, now=now, remaining_seconds=None) == Picked(f"{ca}-2")
    closed = expect(Closed, await authorities.pick(ca, now=now, remaining_seconds=80 * 86400))
    assert "deactivated" in closed.why

    assert await authorities.prepare_key(ca) is None
    expect(Account, await authorities.change_key(ca))
    after = expect(Opened, await authorities.opened(ca))
    assert after.url != before.url
    assert after.signer.key != before.signer.key


async def test_a_ca_that_fails_is_left_alone_also_after_a_restart(lab: Lab, opening: Open, ca: str) -> None:
    """After three failures the next is asked; one caller at a time finds out whether the first works again."""
    both = (at(lab, ca), at(lab, f"{ca}-2"), at(lab, f"{ca}-3", rehearsal_only=True))
    authorities = opening(*both)
    for _ in range(3):
        assert await authorities.pick(None, now=clock.now(), remaining_seconds=None) == Picked(ca)
        assert await authorities.report(ca, GONE) == Reported(Meaning.TRANSIENT)

    now = clock.now()
    restarted = opening(*both)
    assert await restarted.pick(None, now=now, remaining_seconds=None) == Picked(f"{ca}-2")
    assert await restarted.pick(ca, now=now, remaining_seconds=None) == Picked(f"{ca}-2", instead_of=ca)
    waiting = expect(Closed, await restarted.pick(ca, now=now, remaining_seconds=80 * 86400))
    assert timedelta(seconds=50) < waiting.until - now <= timedelta(minutes=1)
    async with asyncio.TaskGroup() as group:
        picks = [
            group.create_task(one.pick(None, now=waiting.until, remaining_seconds=None))
            for one in (authorities, restarted) * 5
        ]
    assert sorted(expect(Picked, task.result()).ca for task in picks) == [ca, *[f"{ca}-2"] * 9]

    await restarted.report(ca, None)
    assert await authorities.pick(None, now=waiting.until, remaining_seconds=None) == Picked(ca)


async def test_orders_go_to_another_ca_and_come_back(lab: Lab, opening: Open, ca: str) -> None:
    """While the wanted CA is down the next one issues; when it is back it is asked again, though it forgot us."""
    async with laboratory() as first:
        authorities = opening(at(first, ca), at(lab, f"{ca}-2"))
        opened = expect(Opened, await authorities.opened(ca))
        await first.pebble.child.stop()
        for _ in range(3):
            lost = await authorities.run(acme.new_order, opened.ca, opened.signer, hosts("failover.example.test"))
            await authorities.report(ca, expect(Unanswered, lost))
        picked = expect(Picked, await authorities.pick(ca, now=clock.now(), remaining_seconds=3600))
        other = expect(Opened, await authorities.opened(picked.ca))
        await lab.issue(other.signer, hosts("failover.example.test"))
        await authorities.report(picked.ca, None)
        assert picked == Picked(f"{ca}-2", instead_of=ca)

        await first.pebble.start()
        waited = expect(Closed, await authorities.pick(ca, now=clock.now(), remaining_seconds=80 * 86400)).until
        assert await authorities.pick(ca, now=waited, remaining_seconds=3600) == Picked(ca)
        refused = await authorities.run(acme.new_order, opened.ca, opened.signer, hosts("failover.example.test"))
        assert (await authorities.report(ca, expect(Refused, refused))).alarm is None
        assert await authorities.pick(ca, now=waited, remaining_seconds=3600) == Picked(ca)
        again = expect(Opened, await authorities.opened(ca))
        assert again.signer.key == opened.signer.key
        await first.issue(again.signer, hosts("failover.example.test"))


async def test_an_account_that_the_ca_does_not_accept_raises_an_alarm(lab: Lab, opening: Open, ca: str) -> None:
    """It is left alone for an hour and people are told; a refusal that was not the account's is only a failure."""
    authorities = opening(at(lab, ca))
    opened = expect(Opened, await authorities.opened(ca))
    unauthorized = Refused(problem=Problem(type="urn:ietf:params:acme:error:unauthorized", status=403))

    assert await authorities.report(ca, unauthorized) == Reported(Meaning.TRANSIENT)
    expect(Picked, await authorities.pick(ca, now=clock.now(), remaining_seconds=None))
    await lab.call(acme.deactivate_account, opened.ca, opened.signer)
    reported = await authorities.report(ca, unauthorized, About.REQUEST)

    assert reported.meaning is Meaning.ACCOUNT
    assert reported.alarm is not None
    assert ca in reported.alarm
    closed = expect(Closed, await authorities.pick(ca, now=clock.now(), remaining_seconds=None))
    assert closed.until - clock.now() > timedelta(minutes=59)


async def test_the_ledger_counts_each_thing_once(lab: Lab, opening: Open, ca: str) -> None:
    """A step that runs twice takes its tokens once; many at once lose none; and a full set waits for its date."""
    authorities = opening(at(lab, ca, limits="letsencrypt"))
    names = hosts(f"a.{ca}.example.com", f"b.{ca}.example.com")
    async with asyncio.TaskGroup() as group:
        for number in range(4):
            for _ in range(3):
                _ = group.create_task(authorities.spend_order(ca, f"iss_{number}", names))
                _ = group.create_task(authorities.spend_certificate(ca, f"iss_{number}", names))
    failed = hosts(f"b.{ca}.example.com")[0]
    await authorities.spend_failure(ca, failed, reference="https://ca.test/authz/1")
    await authorities.spend_failure(ca, failed, reference="https://ca.test/authz/1")

    used = {(one.place.limit, one.place.subject): one.left for one in await authorities.budgets(ca)}
    now = clock.now()
    queued = await authorities.admit(ca, names, renewal=False, ari=False, now=now)
    renewal = await authorities.admit(ca, names, renewal=True, ari=False, now=now)
    assert used == {
        (Limit.NEW_ACCOUNTS, ""): 10,
        (Limit.NEW_ORDERS, ""): 296,
        (Limit.REGISTERED_DOMAIN, "example.com"): 46,
        (Limit.EXACT_SET, names_digest(names)): 1,
        (Limit.FAILED_AUTHORIZATIONS, f"b.{ca}.example.com"): 4,
    }
    assert isinstance(queued, Queued)
    assert queued.limit is Limit.EXACT_SET
    assert renewal == Admitted()


async def test_what_the_ca_says_of_its_limits_is_kept_to(lab: Lab, opening: Open, ca: str) -> None:
    """A 429 for one domain holds up that domain until the CA's date, in every worker; others go on."""
    authorities, other = opening(at(lab, ca)), opening(at(lab, ca))
    until = clock.now().replace(microsecond=0) + timedelta(hours=5)
    detail = 'too many certificates (50) already issued for "example.com" in the last 168h0m0s, retry after …'
    limited = RateLimited(problem=Problem(type="urn:ietf:params:acme:error:rateLimited", detail=detail), until=until)
    here, there = hosts("www.example.com"), hosts("www.example.org")

    await authorities.report(ca, limited, identifiers=here)

    now = clock.now()
    queued = expect(Queued, await other.admit(ca, here, renewal=False, ari=False, now=now))
    assert (queued.until, queued.limit) == (until, Limit.REGISTERED_DOMAIN)
    assert await other.admit(ca, there, renewal=False, ari=False, now=now) == Admitted()
    assert await other.admit(ca, here, renewal=True, ari=True, now=now) == Admitted()
    await authorities.block(ca, Limit.REQUESTS, "", until + timedelta(hours=1))
    everything = expect(Queued, await other.admit(ca, there, renewal=True, ari=True, now=now))
    assert everything.limit is Limit.REQUESTS
    # A failure of the CA, and a limit is none.
    assert await other.pick(ca, now=now, remaining_seconds=None) == Picked(ca)


async def test_a_workspace_sees_the_budgets_of_its_own_names(
    bench: Workbench, lab: Lab, opening: Open, ca: str
) -> None:
    """What others certify is not shown; what counts for all is."""
    authorities = opening(at(lab, ca, limits="letsencrypt"))
    for domain, workspace in ((f"{ca}.com", bench.admin.workspace), (f"{ca}.org", "ws_other")):
        await authorities.spend_certificate(ca, domain, hosts(f"www.{domain}"))
        await bench.resources.db.execute(
            "INSERT INTO certificate_domains (domain, workspace_id, names, challenge, status, last_error, updated_at) "
            "VALUES (%s, %s, %s, 'http-01', 'active', '', %s)",
            f"www.{domain}",
            workspace,
            f'["www.{domain}"]',
            clock.now(),
        )
    shown = {one.place.subject for one in await authorities.budgets(ca, workspace=bench.admin.workspace)}
    everything = {one.place.subject for one in await authorities.budgets(ca)}

    assert shown == {"", f"{ca}.com", names_digest(hosts(f"www.{ca}.com"))}
    assert f"{ca}.org" in everything


async def test_new_accounts_have_a_limit_as_well(bench: Workbench, lab: Lab, opening: Open, ca: str) -> None:
    """When a CA gives no more of them, it is said until when, and it is not asked."""
    authorities = opening(at(lab, ca, limits="letsencrypt"))
    figure = budget.PLANS["letsencrypt"][Limit.NEW_ACCOUNTS]
    for number in range(figure.capacity):
        takes = {budget.Place(Limit.NEW_ACCOUNTS): lambda old: budget.take(old, figure, now=clock.now())}
        await store.spend(bench.resources.db, ca, budget.Event.ACCOUNT, str(number), takes, now=clock.now())

    answer: Opened | Failure = await authorities.opened(ca)
    limited = expect(RateLimited, answer)
    assert limited.until is not None
    assert limited.until > clock.now()


async def test_a_rehearsal_is_remembered_for_the_same_names(lab: Lab, opening: Open, ca: str) -> None:
    """Once a set of names was issued on staging, it is not rehearsed again; another set is."""
    authorities = opening(at(lab, ca))
    first, second = names_digest(hosts("a.example.com")), names_digest(hosts("a.example.com", "b.example.com"))

    assert not await authorities.rehearsed(ca, first)
    await authorities.note_rehearsal(ca, "a.example.com", first)
    await authorities.note_rehearsal(ca, "a.example.com", first)
    assert await authorities.rehearsed(ca, first)
    assert not await authorities.rehearsed(ca, second)


async def _next_key(bench: Workbench, ca: str) -> bytes:
    row = await store.account(bench.resources.db, ca)
    assert row is not None
    assert row.sealed_next_key is not None
    return bench.resources.vault.open(row.sealed_next_key, bound_to=accounts.bound_to(ca))


class _CrashError(Exception):
    """A planted failure."""


async def _crash(*_: object, **__: object) -> bool:
    raise _CrashError

"""Certificates: what `install` and `remove` promise to whoever calls them."""

import asyncio
import shutil
import sys
import time
from dataclasses import replace
from datetime import timedelta
from statistics import median

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from lifecycle.deploy.gateway import (
    Applied,
    Bundle,
    Differences,
    GatewayDownError,
    Stale,
    UnusableCertificateError,
)
from lifecycle.deploy.gateway.bundles import checked
from lifecycle.deploy.gateway.files import Folder
from lifecycle.deploy.gateway.listing import Entry
from lifecycle.deploy.gateway.offers import Offers
from lifecycle.deploy.gateway.runtime import Runtime
from lifecycle.deploy.gateway.served import Served
from lifecycle.deploy.gateway.shelf import Shelf
from tests.integration.gateway.conftest import Site
from tests.integration.gateway.issued import bundle, handshake, private, serial
from tests.support.waiting import eventually

_HOST = "www.example.com"
_MANY = 1000

# Another worker on this machine: installs a certificate for each of its hosts.
_WORKER = """
import asyncio, sys
from pathlib import Path
from lifecycle.deploy.gateway import Gateway
from tests.integration.gateway.issued import bundle

async def main(folder, name, number):
    gateway = Gateway(Path(folder))
    for n in range(int(number)):
        await gateway.certificates.install(bundle(f"{name}{n}.example.com"))
    await gateway.close()

asyncio.run(main(*sys.argv[1:]))
"""


def _files(site: Site) -> set[str]:
    return {path.name for path in (site.haproxy.folder / "certificates").iterdir()}


async def test_an_installed_certificate_is_served_at_once(site: Site) -> None:
    """Once a certificate is installed, every visitor of its host is shown it; before, the default one."""
    one = bundle(_HOST)
    before = await site.serial(_HOST)

    assert before is None
    assert await site.gateway.certificates.install(one) == Applied(generation=1)
    assert await site.serial(_HOST) == serial(one)
    assert await site.serial("other.example.com") is None


async def test_a_renewal_is_shown_at_once_and_fails_no_handshake(site: Site) -> None:
    """While a certificate is renewed again and again, every visitor gets the old or the new one, and never an error."""
    versions = [bundle(_HOST, version=number) for number in range(1, 31)]
    await site.gateway.certificates.install(versions[0])
    seen: list[str] = []
    done = asyncio.Event()

    async def visit() -> None:
        while not done.is_set():
            seen.append((await handshake(site.tls, _HOST)).serial)

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(visit())
        for one in versions[1:]:
            so_far = len(seen)
            await eventually(lambda least=so_far + 4: len(seen) > least, within=10)  # type: ignore[misc]
            await site.gateway.certificates.install(one)
            assert (await handshake(site.tls, _HOST)).serial == serial(one)
        done.set()

    order = [serial(one) for one in versions]
    assert set(seen) >= set(order[:-1])
    assert not set(seen) - set(order)


async def test_an_older_version_replaces_a_newer_one_only_when_forced(site: Site) -> None:
    """A message that was late never brings back an old certificate; going back on purpose does."""
    old, new = bundle(_HOST, version=1), bundle(_HOST, version=2)
    await site.gateway.certificates.install(new)

    assert await site.gateway.certificates.install(old) == Stale(newest=2)
    assert await site.serial(_HOST) == serial(new)
    assert await site.gateway.certificates.install(old, force=True) == Applied(generation=1)
    assert await site.serial(_HOST) == serial(old)
    assert await site.gateway.certificates.install(new) == Applied(generation=2)
    assert await site.serial(_HOST) == serial(new)


async def test_installing_and_removing_may_be_repeated(site: Site) -> None:
    """A step that is run again after a crash changes nothing more."""
    one = bundle(_HOST)

    assert [await site.gateway.certificates.install(one) for _ in range(3)] == [Applied(generation=1)] * 3
    assert await site.serial(_HOST) == serial(one)
    for _ in range(3):
        await site.gateway.certificates.remove(_HOST)
        assert await site.serial(_HOST) is None


async def test_a_removed_key_is_destroyed(site: Site) -> None:
    """Of a certificate that was removed or renewed, the gateway keeps neither file nor key."""
    before = _files(site)
    await site.gateway.certificates.install(bundle(_HOST))
    await site.gateway.certificates.install(bundle(_HOST, version=2))
    assert len(_files(site) - before) == 1
    await site.gateway.certificates.remove(_HOST)

    assert _files(site) == before
    with Runtime(site.haproxy.folder).opened(time.monotonic() + 10) as session:
        (answer,) = session.ask([("show", "ssl", "cert")])
    assert _HOST not in answer


async def test_keys_are_readable_by_their_owner_only(site: Site) -> None:
    """Nobody else on the machine can read a private key."""
    await site.gateway.certificates.install(bundle(_HOST))
    await site.gateway.certificates.answer_challenge("proof.example.com", bundle("proof.example.com").pem)
    for table in ("certificates", "challenges"):
        folder = site.haproxy.folder / table
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
        assert len(list(folder.iterdir())) == 2


async def test_an_exact_name_wins_over_a_wildcard(site: Site) -> None:
    """A host with a certificate of its own shows that, in whatever order they came; a wildcard is for one label."""
    wildcard, exact, apex = bundle("*.example.com"), bundle("a.example.com"), bundle("example.com")
    for one in (exact, wildcard, apex):
        await site.gateway.certificates.install(one)
    await site.gateway.certificates.install(replace(bundle("*.example.com", version=2)))
    wildcard = bundle("*.example.com", version=3)
    await site.gateway.certificates.install(wildcard)

    assert await site.serial("a.example.com") == serial(exact)
    assert await site.serial("b.example.com") == await site.serial("*.example.com") == serial(wildcard)
    assert await site.serial("example.com") == serial(apex)
    assert await site.serial("a.b.example.com") is None


async def test_a_certificate_is_offered_for_its_names_and_no_others(site: Site) -> None:
    """One certificate serves all names it was installed for, and none besides."""
    one = bundle("example.com", "www.example.com", named=("example.com", "www.example.com", "more.example.com"))
    await site.gateway.certificates.install(one)

    assert {await site.serial(name) for name in ("example.com", "www.example.com")} == {serial(one)}
    assert await site.serial("more.example.com") is None
    assert (await handshake(site.tls, None)).serial != serial(one)


@pytest.mark.parametrize("shared_first", [True, False])
async def test_a_name_with_its_own_certificate_shows_that(site: Site, *, shared_first: bool) -> None:
    """When two certificates are for one host, the one that is kept under its name is shown, also after a restart."""
    shared, own = bundle("example.com", _HOST), bundle(_HOST)
    for one in (shared, own) if shared_first else (own, shared):
        await site.gateway.certificates.install(one)
    assert await site.serial(_HOST) == serial(own)
    await site.haproxy.child.kill()
    await site.haproxy.start_alone()
    assert await site.serial(_HOST) == serial(own)
    renewed = bundle("example.com", _HOST, version=2)
    await site.gateway.certificates.install(renewed)
    assert (await site.serial(_HOST), await site.serial("example.com")) == (serial(own), serial(renewed))
    await site.gateway.certificates.remove(_HOST)

    assert await site.serial(_HOST) == serial(renewed)


def _bad_bundles() -> dict[str, Bundle]:
    good, other = bundle(_HOST), bundle(_HOST)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = good.pem.partition(b"-----BEGIN PRIVATE")[0]
    return {
        "a second command": replace(good, name=f"{_HOST}\nshutdown sessions"),
        "another folder": replace(good, name="../x"),
        "two words": replace(good, names=(_HOST, "a.example.com b.example.com")),
        "a line break": replace(good, names=(_HOST, "a.example.com\n/etc/passwd")),
        "an option": replace(good, names=(_HOST, "[verify none]")),
        "capitals": replace(good, name="WWW.example.com", names=("WWW.example.com",)),
        "a name that it does not have": replace(good, names=(_HOST, "bank.example.com")),
        "not for its own name": bundle(_HOST, "a.example.com", named=("a.example.com",)),
        "kept under another name": replace(good, name="a.example.com"),
        "no names": replace(good, names=()),
        "a version below zero": replace(good, version=-1),
        "no text": replace(good, pem=b""),
        "nonsense": replace(good, pem=b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + private(key)),
        "no key": replace(good, pem=certificate),
        "two keys": replace(good, pem=good.pem + private(key)),
        "the key of another": replace(good, pem=certificate + private(key)),
        "another's certificate first": replace(good, pem=other.pem.partition(b"-----BEGIN PRIVATE")[0] + good.pem),
        "a key that is too short": bundle(_HOST, key=rsa.generate_private_key(65537, 1024)),  # noqa: S505
        "names that are too long": bundle(_HOST, *(f"{'a' * 60}.{'b' * 60}.{n}.example.com" for n in range(120))),
    }


async def test_what_cannot_be_served_changes_nothing(site: Site) -> None:
    """However bad a certificate is, the former one goes on, and the gateway starts again."""
    former = bundle(_HOST)
    await site.gateway.certificates.install(former)
    files = _files(site)
    for what, bad in _bad_bundles().items():
        with pytest.raises(UnusableCertificateError) as refusal:
            await site.gateway.certificates.install(
                replace(bad, version=max(bad.version, 2) if bad.version > 0 else -1)
            )
        assert "PRIVATE" not in str(refusal.value), what
        assert await site.serial(_HOST) == serial(former), what
    assert _files(site) == files
    await site.haproxy.child.kill()
    await site.haproxy.start_alone()

    assert await site.serial(_HOST) == serial(former)


async def test_a_key_is_not_shown() -> None:
    """A certificate that is printed or logged does not give its key away."""
    assert "KEY" not in repr(bundle(_HOST))


async def test_more_than_fits_into_a_command(site: Site) -> None:
    """A certificate with a hundred names and many issuers is served as any other."""
    names = [f"{'a' * 50}.{'b' * 60}.host{number}.example.com" for number in range(100)]
    short = bundle(_HOST, *names)
    one = replace(short, pem=2 * short.pem.partition(b"-----BEGIN PRIVATE")[0] + short.pem)
    assert len(one.pem) > 1 << 14
    for _ in range(2):
        await site.gateway.certificates.install(one)

    assert {await site.serial(name) for name in (_HOST, names[99])} == {serial(one)}
    await site.gateway.certificates.install(bundle(_HOST, version=2))
    assert await site.serial(names[99]) is None


async def test_the_longest_name(site: Site) -> None:
    """A host name may be as long as the DNS allows."""
    name = ".".join(["a" * 60] * 4)
    one = bundle(name)
    await site.gateway.certificates.install(one)

    assert await site.serial(name) == serial(one)


async def test_a_change_that_was_begun_by_another_is_not_mixed_up(site: Site) -> None:
    """Somebody was killed while HAProxy took a certificate; the next one is still the right one."""
    one, lost, two = bundle(_HOST), bundle("lost.example.com"), bundle(_HOST, version=2)
    await site.gateway.certificates.install(one)
    with Runtime(site.haproxy.folder).opened(time.monotonic() + 10) as session:
        session.ask([("new", "ssl", "cert", "/lost.pem")])
        session.hand_over(("set", "ssl", "cert", "/lost.pem"), lost.pem.decode())
    await site.gateway.certificates.install(two)

    assert await site.serial(_HOST) == serial(two)
    assert await site.serial("lost.example.com") is None


@pytest.mark.parametrize("next_version", [2, 3])
async def test_a_worker_that_died_between_files_and_haproxy(site: Site, next_version: int) -> None:
    """A worker was killed when it had written a renewal and not yet told HAProxy: the next one is shown."""
    versions = {number: bundle(_HOST, version=number) for number in range(1, 4)}
    await site.gateway.certificates.install(versions[1])
    dead = Offers(Shelf(Folder(site.haproxy.folder, pools=2, slots=3), "certificates"), Runtime(site.haproxy.folder))
    dead.change({Entry(_HOST, 2, "", (_HOST,)): checked(versions[2])}, (), None)
    assert await site.serial(_HOST) == serial(versions[1])
    await site.gateway.certificates.install(versions[next_version])

    assert await site.serial(_HOST) == serial(versions[next_version])


async def test_a_worker_that_died_while_it_told_haproxy(site: Site) -> None:
    """A worker was killed when HAProxy had the new certificate next to the old one: repeated, the new one is shown."""
    one, two = bundle(_HOST), bundle(_HOST, version=2)
    await site.gateway.certificates.install(one)
    (former,) = (path for path in _files(site) if path.startswith(_HOST))
    await site.gateway.certificates.install(two)
    folder = site.haproxy.folder
    with Runtime(folder).opened(time.monotonic() + 10) as session:
        served = Served(session, f"{folder}/certificates.list")
        lines = served.lines()
        served.drop_lines(lines)
        served.make(f"{folder}/certificates/{former}")
        served.load(f"{folder}/certificates/{former}", one.pem.decode())
        served.enlist(f"{folder}/certificates/{former}", [_HOST])
        served.enlist(lines[0].path, [_HOST])
    assert await site.serial(_HOST) == serial(one)
    await site.gateway.certificates.install(two)

    assert await site.serial(_HOST) == serial(two)


async def test_workers_at_the_same_time_lose_no_certificate(site: Site) -> None:
    """Several workers on one machine install certificates at once, and every one is served afterwards."""
    number = 12
    workers = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", _WORKER, str(site.haproxy.folder), name, str(number))
        for name in ("left", "right")
    ]
    codes = [await worker.wait() for worker in workers]
    hosts = [f"{name}{n}.example.com" for name in ("left", "right") for n in range(number)]

    assert codes == [0, 0]
    assert None not in [await site.serial(host) for host in hosts]


async def test_a_thousand_certificates_cost_little(site: Site) -> None:
    """With 1,000 certificates a change is about as quick as with one."""
    key = ec.generate_private_key(ec.SECP256R1())
    few = await _seconds(site, key, first=1)
    wanted = {f"h{number}.example.com": 1 for number in range(_MANY)}
    made = {name: bundle(name, key=key) for name in wanted}

    async def read() -> dict[str, int]:
        return {**wanted, _HOST: 20}

    async def open_bundle(name: str) -> Bundle:
        return made[name]

    found = (await site.gateway.certificates.synchronise(read, open_bundle)).found
    many = await _seconds(site, key, first=21)

    # The truth is below two; here other work runs on the same machine.
    assert many < 10 * few
    assert {one.key for one in found} == set(wanted)
    assert await site.serial("h999.example.com") == serial(made["h999.example.com"])


async def _seconds(site: Site, key: ec.EllipticCurvePrivateKey, *, first: int) -> float:
    seconds = []
    for version in range(first, first + 20):
        one = bundle(_HOST, version=version, key=key)
        begun = time.perf_counter()
        await site.gateway.certificates.install(one)
        seconds.append(time.perf_counter() - begun)
    return median(seconds)


async def test_a_gateway_without_tls_keeps_certificates_for_later(site: Site) -> None:
    """Where TLS ends in front of the gateway, certificates are kept and nothing fails."""
    await site.haproxy.child.stop()
    port, site.haproxy.tls_port = site.haproxy.tls_port, None
    await site.haproxy.start()
    # As in a folder that an older release made.
    for table in ("certificates", "challenges"):
        shutil.rmtree(site.haproxy.folder / table)
        (site.haproxy.folder / f"{table}.list").unlink()
    one = bundle(_HOST)
    wanted: dict[str, int] = {}

    async def read() -> dict[str, int]:
        return wanted

    async def open_bundle(_: str) -> Bundle:
        return one

    assert site.gateway.certificates.address() is None
    await site.gateway.certificates.synchronise(read, open_bundle)
    assert await site.gateway.certificates.compare(read) == Differences()
    wanted[_HOST] = 1
    assert await site.gateway.certificates.install(one) == Applied(generation=1)
    assert await site.gateway.certificates.compare(read) == Differences()
    with pytest.raises(GatewayDownError, match="takes no TLS"):
        await site.gateway.certificates.serial(_HOST, timeout=timedelta(seconds=1))
    site.haproxy.tls_port = port
    await site.haproxy.child.stop()
    await site.haproxy.start()
    assert await site.serial(_HOST) == serial(one)

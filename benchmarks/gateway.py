"""Switches and certificates in the gateway, with few and many; and its start.

`python benchmarks/gateway.py [--quick]`
"""

import asyncio
import shutil
import ssl
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from http.client import HTTPSConnection
from pathlib import Path
from typing import NamedTuple

from _lab import others, quantile, verdict
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from lifecycle import clock
from lifecycle.deploy.gateway import Bundle, Change, Gateway, Routes, Tls, Wanted, write_configuration
from lifecycle.deploy.gateway.listing import DEFAULT
from lifecycle.deploy.gateway.runtime import Runtime
from lifecycle.dev import ports
from lifecycle.dev.gateway import HaProxy

_SWITCH_PROMISE_MS = 250  # design, 11: from the call to the first answer, of which this is the gateway's part
_ADDRESSES = ("127.0.0.1:9", "127.0.0.1:10")
_HOST = "h0.example.com"


class Figures(NamedTuple):
    """Of one number of hosts; times in milliseconds."""

    hosts: int
    bare: Sequence[float]
    ours: Sequence[float]
    compare: float
    starts: Sequence[float]
    resident_bytes: int


class TlsFigures(NamedTuple):
    """Of one number of certificates; times in milliseconds."""

    certificates: int
    bare: Sequence[float]
    renewals: Sequence[float]
    removals: Sequence[float]
    compare: float
    start: float


async def main(*, quick: bool) -> None:
    """Run it and print the table."""
    machine = others()
    switches, starts = (50, 2) if quick else (500, 5)
    folder = Path(tempfile.mkdtemp(prefix="lifecycle-bench-"))
    port = ports.assign(["gateway"], remembered=folder / "ports.json", given={})["gateway"]
    haproxy = HaProxy(folder / "g", port, api_address="127.0.0.1:9", log=folder / "haproxy.log", access_log=False)
    gateway = Gateway(haproxy.folder)
    figures = []
    try:
        with Progress(transient=True, console=Console(stderr=True)) as progress:
            task = progress.add_task("", total=3)
            await haproxy.start()
            for hosts in (1, 1000, 10_000):
                progress.update(task, advance=1, description=f"{hosts} hosts")
                figures.append(await _measure(haproxy, gateway, hosts=hosts, switches=switches, starts=starts))
    finally:
        await gateway.close()
        await haproxy.child.stop()
        shutil.rmtree(folder)
    console = Console(width=max(Console().width, 130))
    console.print(_table(figures, f"{switches} switches each; {machine}"))
    console.print(
        "Milliseconds. Bare: `set map` on HAProxy's socket, a new connection each time. Lifecycle: Gateway.apply of\n"
        "one host, which also writes two files, to the disk, and reads the generation back. Compare: what the\n"
        "database says with files and HAProxy. Start: from the start of HAProxy to its first answer."
    )
    await _print_tls(console, quick=quick)


async def _measure(haproxy: HaProxy, gateway: Gateway, *, hosts: int, switches: int, starts: int) -> Figures:
    projects = {
        f"prj_{n}": Routes(
            generation=1,
            hosts={f"h{n}.example.com": f"dep_a{n}"},
            targets={f"dep_{name}{n}": (address,) for name, address in zip("ab", _ADDRESSES, strict=True)},
        )
        for n in range(hosts)
    }

    async def read() -> Wanted:
        return wanted

    wanted = Wanted(projects=projects)
    await gateway.synchronise(read)
    begun = time.perf_counter()
    await gateway.compare(read)
    compare = _milliseconds(begun)
    ours, bare = [], []
    for number in range(switches):
        # In turn, so that whatever else the machine does meets both.
        bare.append(await asyncio.to_thread(_bare_switch, haproxy.folder, number))
        begun = time.perf_counter()
        goal = f"dep_{'ab'[number % 2]}0"
        await gateway.apply(Change(project="prj_0", generation=2 + number, hosts={_HOST: goal}))
        ours.append(_milliseconds(begun))
    resident = _resident_bytes(haproxy)
    took = []
    for _ in range(starts):
        await haproxy.child.kill()
        begun = time.perf_counter()
        await haproxy.start_alone()
        took.append(_milliseconds(begun))
    return Figures(hosts, bare, ours, compare, took, resident)


def _bare_switch(folder: Path, number: int) -> float:
    begun = time.perf_counter()
    with Runtime(folder).opened(time.monotonic() + 10) as session:
        session.ask([("set", "map", f"{folder}/hosts.map", _HOST, f"prj_0/dep_{'ba'[number % 2]}0")])
    return _milliseconds(begun)


async def _print_tls(console: Console, *, quick: bool) -> None:
    renewals, visits = (20, 200) if quick else (200, 2000)
    folder = Path(tempfile.mkdtemp(prefix="lifecycle-bench-"))
    free = ports.assign(["http", "tls", "http2", "direct"], remembered=folder / "ports.json", given={})
    log = folder / "haproxy.log"
    ours = HaProxy(
        folder / "g", free["http"], api_address="127.0.0.1:9", log=log, tls_port=free["tls"], access_log=False
    )
    direct = HaProxy(folder / "d", free["http2"], api_address="127.0.0.1:9", log=log)
    gateways = [Gateway(one.folder) for one in (ours, direct)]
    try:
        await ours.start()
        write_configuration(
            direct.folder,
            listen=f"127.0.0.1:{free['http2']}",
            api_address="127.0.0.1:9",
            tls=Tls(f"127.0.0.1:{free['direct']}", challenges=False),
            max_connections=1000,
            access_log=False,
        )
        await direct.start_alone()
        figures = [
            await _measure_tls(ours, gateways[0], certificates=number, renewals=renewals) for number in (1, 1000)
        ]
        for gateway in gateways:
            await gateway.certificates.install(_bundle(_HOST, version=1 << 20))
        taken = await asyncio.to_thread(_visit, free["direct"], free["tls"], visits)
    finally:
        for gateway in gateways:
            await gateway.close()
        for one in (ours, direct):
            await one.child.stop()
        shutil.rmtree(folder)
    console.print(_tls_table(figures, f"{renewals} renewals each"))
    console.print(
        "Milliseconds. Bare: set and commit of the same file on HAProxy's socket, a new connection each time.\n"
        "Lifecycle: Certificates.install of the next version, which also writes two files, to the disk."
    )
    handed, plain = (quantile(taken[name], 0.5) for name in ("handed over", "direct"))
    again, plain_again = (quantile(taken[name], 0.5) for name in ("handed over, again", "direct, again"))
    console.print(
        f"Handed over once inside HAProxy, for TLS-ALPN-01: a new visitor with one request {handed:.2f} ms, without "
        f"{plain:.2f} ms\n(ratio {handed / plain:.2f}); a further request {again:.2f} ms, without {plain_again:.2f} ms "
        f"(ratio {again / plain_again:.2f}); {visits} each, in turn."
    )


async def _measure_tls(haproxy: HaProxy, gateway: Gateway, *, certificates: int, renewals: int) -> TlsFigures:
    made = {f"h{n}.example.com": _bundle(f"h{n}.example.com", version=1) for n in range(certificates)}

    async def read() -> Mapping[str, int]:
        return dict.fromkeys(made, 1)

    async def open_bundle(name: str) -> Bundle:
        return made[name]

    await gateway.certificates.synchronise(read, open_bundle)
    begun = time.perf_counter()
    await gateway.certificates.compare(read)
    compare = _milliseconds(begun)
    bare, ours, removals = [], [], []
    for number in range(renewals):
        one = _bundle(_HOST, version=2 + number)
        bare.append(await asyncio.to_thread(_bare_renewal, haproxy.folder, one))
        begun = time.perf_counter()
        await gateway.certificates.install(one)
        ours.append(_milliseconds(begun))
    for number in range(renewals):
        await gateway.certificates.install(_bundle(f"new{number}.example.com", version=1))
        begun = time.perf_counter()
        await gateway.certificates.remove(f"new{number}.example.com")
        removals.append(_milliseconds(begun))
    await haproxy.child.kill()
    begun = time.perf_counter()
    await haproxy.start_alone()
    return TlsFigures(certificates, bare, ours, removals, compare, _milliseconds(begun))


def _bare_renewal(folder: Path, bundle: Bundle) -> float:
    path = f"{folder}/certificates/{DEFAULT}"
    begun = time.perf_counter()
    with Runtime(folder).opened(time.monotonic() + 10) as session:
        session.hand_over(("set", "ssl", "cert", path), bundle.pem.decode())
        session.ask([("commit", "ssl", "cert", path)])
    return _milliseconds(begun)


def _bundle(name: str, *, version: int) -> Bundle:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = clock.now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Bundle(name, version, certificate.public_bytes(pem) + private, (name,))


def _visit(direct: int, handed_over: int, visits: int) -> Mapping[str, Sequence[float]]:
    """What a new visitor's first request takes, and the second on the same connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    taken: dict[str, list[float]] = {}
    for _ in range(visits):
        # In turn, so that whatever else the machine does meets both.
        for name, port in (("direct", direct), ("handed over", handed_over)):
            begun = time.perf_counter()
            connection = HTTPSConnection("127.0.0.1", port, context=context)
            for which in (name, f"{name}, again"):
                connection.request("GET", "/", headers={"Host": _HOST})
                connection.getresponse().read()
                taken.setdefault(which, []).append(_milliseconds(begun))
                begun = time.perf_counter()
            connection.close()
    return taken


def _tls_table(figures: Sequence[TlsFigures], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    names = (
        "certificates",
        "bare p50",
        "bare p99",
        "lifecycle p50",
        "lifecycle p99",
        "removal p50",
        "compare",
        "start",
    )
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for one in figures:
        times = [quantile(values, share) for values in (one.bare, one.renewals) for share in (0.5, 0.99)]
        table.add_row(
            f"{one.certificates:,}",
            *(f"{value:.2f}" for value in (*times, quantile(one.removals, 0.5))),
            f"{one.compare:.1f}",
            f"{one.start:.0f}",
        )
    return table


def _milliseconds(begun: float) -> float:
    return (time.perf_counter() - begun) * 1000


def _resident_bytes(haproxy: HaProxy) -> int:
    """Of the master and its worker."""
    master = haproxy.child.pid
    children = Path(f"/proc/{master}/task/{master}/children").read_text(encoding="ascii").split()
    statuses = [Path(f"/proc/{pid}/status").read_text(encoding="ascii") for pid in (master, *children)]
    return sum(
        int(line.split()[1]) * 1024 for status in statuses for line in status.splitlines() if line.startswith("VmRSS")
    )


def _table(figures: Sequence[Figures], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("hosts", justify="right", no_wrap=True)
    for name in ("bare p50", "bare p99", "lifecycle p50", "lifecycle p99", "promise"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("compare", "start, median", "resident MiB"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in figures:
        times = [quantile(values, share) for values in (one.bare, one.ours) for share in (0.5, 0.99)]
        table.add_row(
            f"{one.hosts:,}",
            *(f"{value:.2f}" for value in times),
            verdict(times[-1], at_most=_SWITCH_PROMISE_MS),
            f"{one.compare:.1f}",
            f"{quantile(one.starts, 0.5):.0f}",
            f"{one.resident_bytes / (1 << 20):.0f}",
        )
    return table


if __name__ == "__main__":
    asyncio.run(main(quick="--quick" in sys.argv[1:]))

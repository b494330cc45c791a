"""Whatever dies or is changed behind our back, the gateway serves what the database says, or comes back to it."""

import asyncio
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from lifecycle.deploy.gateway import Change, Difference, Differences, Gateway, GatewayDownError, Routes, Wanted
from lifecycle.deploy.gateway.runtime import Runtime
from lifecycle.dev.gateway import HaProxy
from lifecycle.dev.process import StartError
from tests.integration.gateway.conftest import Site
from tests.support.waiting import eventually

_HOST = "a.example.com"


def _wanted(site: Site, **more: Routes) -> Wanted:
    blue, green = site.addresses["blue"], site.addresses["green"]
    return Wanted(
        projects={
            "prj_a": Routes(generation=5, hosts={_HOST: "dep_blue"}, targets={"dep_blue": (blue,)}),
            "prj_b": Routes(generation=2, hosts={"b.example.com": "dep_both"}, targets={"dep_both": (blue, green)}),
            **more,
        }
    )


def _reading(wanted: Wanted) -> Callable[[], Awaitable[Wanted]]:
    async def read() -> Wanted:
        return wanted

    return read


def _tell(site: Site, *words: str) -> None:
    """What a person with the socket might do."""
    with Runtime(site.haproxy.folder).opened(time.monotonic() + 10) as session:
        session.ask([words])


async def test_a_restart_alone_serves_the_same(site: Site) -> None:
    """The gateway is killed and started again while our control plane is not there: every address works as before."""
    await site.gateway.synchronise(_reading(_wanted(site)))
    await site.gateway.apply(Change(project="prj_a", generation=6, hosts={"s.example.com": "stopped"}))
    await site.gateway.close()
    await site.haproxy.child.kill()
    await site.haproxy.start_alone()

    assert await site.name(_HOST) == "blue"
    assert {await site.name("b.example.com") for _ in range(6)} == {"blue", "green"}
    assert (await site.get("s.example.com"))[0] == 503
    assert (await site.get("other.example.com"))[0] == 404


async def test_it_serves_without_the_control_plane(site: Site) -> None:
    """While worker, engine and database are gone, every address is served."""
    await site.gateway.synchronise(_reading(_wanted(site)))
    await site.gateway.close()

    assert [await site.name(_HOST) for _ in range(20)] == ["blue"] * 20


async def test_a_change_while_it_is_down_counts_from_its_start(site: Site) -> None:
    """A switch that the gateway could not be told is in force when it is started again, with nobody's help."""
    await site.serve(_HOST, "dep_blue", site.addresses["blue"], generation=1)
    await site.haproxy.child.kill()
    change = Change(
        project="prj_a", generation=2, hosts={_HOST: "dep_green"}, targets={"dep_green": (site.addresses["green"],)}
    )
    with pytest.raises(GatewayDownError, match=r"admin\.sock"):
        await site.gateway.apply(change)
    with pytest.raises(GatewayDownError):
        await site.gateway.version()
    await site.haproxy.start_alone()

    assert await site.name(_HOST) == "green"
    assert await site.gateway.generation("prj_a") == 2


async def test_nothing_differs_after_synchronising(site: Site) -> None:
    """What was brought in order stays so: the next look finds nothing."""
    read = _reading(_wanted(site))
    first = await site.gateway.synchronise(read)

    assert len(first.found) > 0
    assert await site.gateway.compare(read) == Differences()
    assert await site.gateway.synchronise(read) == Differences()


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("del", "map", "hosts", _HOST), _HOST),
        (("set", "map", "hosts", _HOST, "prj_a/stopped"), _HOST),
        (("add", "map", "hosts", "surplus.example.com", "prj_a/dep_blue"), "surplus.example.com"),
        (("set", "map", "targets", "dep_blue", "prj_a/single/127.0.0.1:1"), "dep_blue"),
        (("del", "map", "targets", "dep_blue"), "dep_blue"),
        (("add", "map", "targets", "dep_old", "prj_a/single/127.0.0.1:1"), "dep_old"),
        (("set", "map", "generations", "prj_a", "4"), "prj_a"),
        (("del", "map", "generations", "prj_a"), "prj_a"),
        (("set", "server", "pool-0001/s1", "state", "maint"), "pool-0001/s1"),
        (("set", "server", "pool-0001/s1", "state", "drain"), "pool-0001/s1"),
        (("set", "server", "pool-0001/s2", "addr", "127.0.0.1", "port", "1"), "pool-0001/s2"),
        (("set", "server", "pool-0002/s1", "state", "ready"), "pool-0002/s1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_what_somebody_changed_in_haproxy_is_mended(site: Site, command: tuple[str, ...], key: str) -> None:
    """Whatever is changed in the running gateway by hand is found, named, and put right."""
    read = _reading(_wanted(site))
    await site.gateway.synchronise(read)
    maps = {name: f"{site.haproxy.folder}/{name}.map" for name in ("hosts", "targets", "generations")}
    _tell(site, *(maps.get(word, word) for word in command))
    compared = await site.gateway.compare(read)
    mended = await site.gateway.synchronise(read)

    assert [(one.place, one.key) for one in compared.found] == [("haproxy", key)]
    assert mended == compared
    assert await site.gateway.compare(read) == Differences()
    assert await site.name(_HOST) == "blue"


@pytest.mark.parametrize("file", ["hosts.map", "targets.map", "generations.map", "pools.cfg"])
@pytest.mark.parametrize("text", [None, "", "nonsense\n\x00\nprj_a\n"], ids=["gone", "empty", "nonsense"])
async def test_a_damaged_file_is_mended(site: Site, file: str, text: str | None) -> None:
    """A file that was lost or overwritten is written anew, so that the next start of the gateway is right."""
    read = _reading(_wanted(site))
    await site.gateway.synchronise(read)
    path: Path = site.haproxy.folder / file
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    found = (await site.gateway.synchronise(read)).found

    assert {one.place for one in found} >= {"files"}
    assert await site.gateway.compare(read) == Differences()
    await site.haproxy.child.kill()
    await site.haproxy.start_alone()
    assert await site.gateway.compare(read) == Differences()
    assert {await site.name("b.example.com") for _ in range(6)} == {"blue", "green"}


async def test_files_that_changed_while_haproxy_was_away_are_mended_in_both(site: Site) -> None:
    """The gateway started with wrong files: both are brought in order, and the report says where."""
    read = _reading(_wanted(site))
    await site.gateway.synchronise(read)
    await site.haproxy.child.kill()
    (site.haproxy.folder / "hosts.map").write_text("surplus.example.com prj_x/dep_blue\n")
    await site.haproxy.start_alone()
    found = set((await site.gateway.synchronise(read)).found)

    for place in ("files", "haproxy"):
        assert Difference(place, "hosts", _HOST, "prj_a/dep_blue", None) in found
        assert Difference(place, "hosts", "surplus.example.com", None, "prj_x/dep_blue") in found
    assert await site.name(_HOST) == "blue"
    assert (await site.get("surplus.example.com"))[0] == 404


async def test_files_are_mended_while_haproxy_is_down(site: Site) -> None:
    """While the gateway is down, the files are brought in order for its next start."""
    await site.haproxy.child.kill()
    with pytest.raises(GatewayDownError):
        await site.gateway.synchronise(_reading(_wanted(site)))
    await site.haproxy.start_alone()

    assert await site.gateway.compare(_reading(_wanted(site))) == Differences()
    assert await site.name(_HOST) == "blue"


async def test_a_deleted_project_is_forgotten(site: Site) -> None:
    """Of a project that the database no longer has, nothing stays in the gateway."""
    await site.gateway.synchronise(_reading(_wanted(site)))
    kept = {"prj_a": _wanted(site).projects["prj_a"]}
    await site.gateway.synchronise(_reading(Wanted(projects=kept)))

    assert (await site.get("b.example.com"))[0] == 404
    assert await site.gateway.generation("prj_b") is None
    assert not [name for name in ("hosts", "targets") if "prj_b" in (site.haproxy.folder / f"{name}.map").read_text()]


async def test_a_switch_during_a_sweep_is_not_undone(site: Site) -> None:
    """The sweep read the database before a switch, and writes after it: the switch stays."""
    await site.gateway.synchronise(_reading(_wanted(site)))
    early = _wanted(site, prj_c=Routes(generation=1, hosts={"c.example.com": "dep_blue"}))

    async def read() -> Wanted:
        await site.serve(_HOST, "dep_green", site.addresses["green"], generation=6)
        await site.serve("new.example.com", "dep_new", site.addresses["green"], generation=1, project="prj_new")
        return early

    differences = await site.gateway.synchronise(read)

    assert differences.overtaken == ("prj_a", "prj_new")
    assert {one.key for one in differences.found} == {"c.example.com", "prj_c"}
    assert await site.name(_HOST) == "green"
    assert await site.name("new.example.com") == "green"
    assert await site.gateway.generation("prj_a") == 6


async def test_a_database_from_a_backup_wins(site: Site) -> None:
    """After the database was restored, the gateway follows it, also where it had newer generations."""
    await site.gateway.synchronise(_reading(_wanted(site)))
    await site.serve(_HOST, "dep_green", site.addresses["green"], generation=9)
    await site.gateway.synchronise(_reading(_wanted(site)))

    assert await site.name(_HOST) == "blue"
    assert await site.gateway.generation("prj_a") == 5


async def test_a_hanging_haproxy_delays_nobody_for_ever(site: Site) -> None:
    """A gateway that does not answer is reported as down within the time that was set."""
    hurried = Gateway(site.haproxy.folder, timeout=timedelta(milliseconds=300))
    (site.haproxy.folder / "admin.sock").unlink()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(f"{site.haproxy.folder}/admin.sock")
        silent.listen()
        with pytest.raises(GatewayDownError, match="timed out"):
            await hurried.version()
    await hurried.close()


async def test_a_second_gateway_on_the_same_port_does_not_start(site: Site) -> None:
    """Two gateways never share the visitors of one port, each with its own idea of the routes."""
    second = HaProxy(site.root / "h", site.haproxy.port, api_address="127.0.0.1:1", log=site.root / "second.log")
    with pytest.raises(StartError, match="in use"):
        await second.start()


async def test_nothing_is_left_when_whoever_started_it_is_killed(site: Site) -> None:
    """`lifecycle dev` is killed with -9: neither HAProxy's master nor its worker stays behind."""
    await site.haproxy.child.stop()
    folder, port = site.haproxy.folder, site.haproxy.port
    program = (
        "import asyncio, sys; from pathlib import Path; from lifecycle.dev.gateway import HaProxy\n"
        "async def main():\n"
        f"    log = Path('{site.root}/other.log')\n"
        f"    server = HaProxy(Path('{folder}'), {port}, api_address='127.0.0.1:1', log=log)\n"
        "    await server.start()\n"
        "    print('ready', flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    starter = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    assert starter.stdout is not None
    assert await starter.stdout.readline() == b"ready\n"
    assert len(_processes(folder)) == 2
    starter.kill()
    await starter.wait()

    await eventually(lambda: not _processes(folder), within=10)


def _processes(folder: Path) -> list[str]:
    """The HAProxy processes that run with the files of this folder."""
    found = []
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = status.read_bytes()
        except OSError:
            continue  # it ended meanwhile
        if line.split(b"\0")[0].endswith(b"haproxy") and f"{folder}/haproxy.cfg".encode() in line:
            found.append(status.parent.name)
    return found

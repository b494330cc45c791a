"""Deployments with several instances: they share the load, and one that died is taken out without anybody's help."""

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from lifecycle.deploy.gateway import Change
from lifecycle.deploy.gateway.runtime import Runtime
from tests.integration.gateway.conftest import Site
from tests.integration.gateway.upstreams import Instance
from tests.support.traffic import Answer, traffic
from tests.support.waiting import eventually

_HOST = "a.example.com"


@pytest.fixture
async def instances(site: Site) -> AsyncIterator[list[Instance]]:
    """Three instances in processes of their own."""
    made = [Instance(name, site.free[name], log=site.root / f"{name}.log") for name in ("one", "two", "three")]
    for instance in made:
        instance.child.start()
    for instance in made:
        await eventually(instance.is_ready, within=20)
    yield made
    for instance in made:
        await instance.child.kill()


async def test_instances_share_the_load(site: Site, instances: list[Instance]) -> None:
    """With three instances, each gets about a third of the requests."""
    await site.serve(_HOST, "dep_1", *(one.address for one in instances), generation=1)
    answered = Counter([await site.name(_HOST) for _ in range(60)])

    assert set(answered) == {"one", "two", "three"}
    assert min(answered.values()) >= 10


@pytest.mark.parametrize("keep_alive", [True, False])
async def test_a_killed_instance_fails_no_request(site: Site, instances: list[Instance], keep_alive: bool) -> None:
    """An instance dies, and visitors do not notice; it is taken out though our control plane is not there."""
    await site.serve(_HOST, "dep_1", *(one.address for one in instances), generation=1)
    await site.gateway.close()  # from here on, HAProxy is alone
    answers = await _while_killed(site, instances[0], keep_alive=keep_alive)
    failed = [answer for answer in answers if answer.status != 200]
    late = Counter(json.loads(answer.body)["name"] for answer in answers[-30:])

    assert failed == []
    assert set(late) == {"two", "three"}
    # One for each that was on its way, and not one for each until a health check has noticed.
    assert _second_attempts(site) < 20


async def test_an_instance_that_is_back_is_used_again(site: Site, instances: list[Instance]) -> None:
    """After a crash and a restart, an instance takes its share without anybody's help."""
    await site.serve(_HOST, "dep_1", *(one.address for one in instances[:2]), generation=1)
    await instances[0].child.kill()

    async def without() -> bool:
        return {await site.name(_HOST) for _ in range(4)} == {"two"}

    await eventually(without, within=10)
    instances[0].child.start()

    async def with_it() -> bool:
        return {await site.name(_HOST) for _ in range(4)} == {"one", "two"}

    await eventually(with_it, within=20)


async def test_an_instance_that_only_hangs_up_is_avoided(site: Site, instances: list[Instance]) -> None:
    """An instance that takes connections and closes them costs no visitor an answer: another one gives it."""
    async with _hanging_up(site.free["four"]) as (address, _):
        await site.serve(_HOST, "dep_1", address, instances[0].address, generation=1)
        answers = [await site.name(_HOST) for _ in range(20)]

    assert set(answers) == {"one"}


async def test_what_was_posted_is_never_sent_twice(site: Site) -> None:
    """An order that an instance may have carried out before it died is not given to another one."""
    async with _hanging_up(site.free["four"]) as (first, some), _hanging_up(site.free["five"]) as (second, more):
        await site.serve(_HOST, "dep_1", first, second, generation=1)
        async with site.session.post(site.haproxy.url, headers={"Host": _HOST}, data="one order") as response:
            status = response.status

    assert status == 502
    assert some + more == ["POST"]


async def test_instances_come_and_go_while_requests_run(site: Site, instances: list[Instance]) -> None:
    """Scaling a deployment up and down fails no request."""
    every = [one.address for one in instances]
    await site.serve(_HOST, "dep_1", *every[:2], generation=1)
    done = asyncio.Event()
    running = asyncio.create_task(
        traffic(site.haproxy.port, _HOST, clients=3, keep_alive=True, until=lambda _: done.is_set())
    )
    for generation, addresses in enumerate((every, every[1:], every[1:2], every[:1], every[:2]) * 3, start=2):
        await site.serve(_HOST, "dep_1", *addresses, generation=generation)
        await asyncio.sleep(0.05)
    done.set()
    answers = await running

    assert [answer for answer in answers if answer.status != 200] == []
    assert {await site.name(_HOST) for _ in range(4)} == {"one", "two"}


async def test_more_deployments_than_pools_make_more_pools(site: Site, instances: list[Instance]) -> None:
    """The number of deployments with several instances has no limit that a person would have to know."""
    addresses = [one.address for one in instances]
    await site.serve("steady.example.com", "dep_steady", site.addresses["blue"], generation=1)
    done = asyncio.Event()
    running = asyncio.create_task(
        traffic(site.haproxy.port, "steady.example.com", clients=2, keep_alive=False, until=lambda _: done.is_set())
    )
    hosts = [f"h{n}.example.com" for n in range(5)]
    for n, host in enumerate(hosts):
        await site.serve(host, f"dep_{n}", *addresses, generation=1, project=f"prj_{n}")
    done.set()
    answers = await running

    assert [answer for answer in answers if answer.status != 200] == []
    for host in hosts:
        assert {await site.name(host) for _ in range(6)} == {"one", "two", "three"}
    await site.haproxy.child.kill()
    await site.haproxy.start_alone()
    for host in hosts:
        assert {await site.name(host) for _ in range(6)} == {"one", "two", "three"}


async def test_more_instances_than_servers_make_more_servers(site: Site, instances: list[Instance]) -> None:
    """The number of instances of a deployment has no limit that a person would have to know."""
    await site.serve(_HOST, "dep_1", *(one.address for one in instances), generation=1)
    addresses = [one.address for one in instances] + [site.addresses["blue"], site.addresses["green"]]
    await site.serve(_HOST, "dep_1", *addresses, generation=2)

    assert {await site.name(_HOST) for _ in range(10)} == {"one", "two", "three", "blue", "green"}


async def test_a_removed_deployment_gives_its_servers_back(site: Site, instances: list[Instance]) -> None:
    """What is removed gets no request any more, and its health is no longer asked for."""
    await site.serve(_HOST, "dep_1", *(one.address for one in instances[:2]), generation=1)
    await site.gateway.apply(Change(project="prj_a", generation=2, hosts={_HOST: None}, targets={"dep_1": None}))
    folder = site.haproxy.folder
    configured = (folder / "pools.cfg").read_text()

    assert (await site.get(_HOST))[0] == 404
    assert instances[0].address not in configured
    assert instances[0].address not in (folder / "targets.map").read_text()


def _second_attempts(site: Site) -> int:
    """How many requests HAProxy has given to another server of the first pool than at first."""
    with Runtime(site.haproxy.folder).opened(time.monotonic() + 10) as session:
        (answer,) = session.ask([("show", "stat", "pool-0001", "2", "-1")])
    names, values = (line.split(",") for line in answer.splitlines())
    return int(values[names.index("wredis")])


@asynccontextmanager
async def _hanging_up(port: int) -> AsyncIterator[tuple[str, list[str]]]:
    """An instance that reads a request, notes its method and closes; gives its address and the methods."""
    methods: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if line := await reader.readline():  # none from a health check
            methods.append(line.decode().split()[0])
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", port):
        yield f"127.0.0.1:{port}", methods


async def _while_killed(site: Site, instance: Instance, *, keep_alive: bool) -> list[Answer]:
    done = asyncio.Event()
    seen = 0

    def until(number: int) -> bool:
        nonlocal seen
        seen = number
        return done.is_set()

    running = asyncio.create_task(traffic(site.haproxy.port, _HOST, clients=3, keep_alive=keep_alive, until=until))
    await eventually(lambda: seen > 200, within=20)
    instance.child.signal(signal.SIGKILL)
    at_death = seen
    await eventually(lambda: seen > at_death + 400, within=20)
    done.set()
    return await running

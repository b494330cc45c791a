"""Under load and with many hosts: a switch loses nothing, and costs about the same."""

import asyncio
import json
import time
from statistics import median

import pytest

from lifecycle.deploy.gateway import Change, Differences, Routes, Wanted
from tests.integration.gateway.conftest import Site
from tests.support.traffic import Timeline, traffic

_HOST = "a.example.com"
_SWITCHES = 50
_MANY = 10_000


def _name(body: str) -> str:
    return str(json.loads(body)["name"])


async def _switch(site: Site, name: str, generation: int) -> None:
    await site.gateway.apply(Change(project="prj_a", generation=generation, hosts={_HOST: f"dep_{name}"}))


async def _deploy(site: Site, name: str, generation: int) -> None:
    """Switch to a deployment that the gateway never heard of, and forget the one before the last."""
    await site.gateway.apply(
        Change(
            project="prj_a",
            generation=generation,
            hosts={_HOST: f"dep_{generation}"},
            targets={f"dep_{generation}": (site.addresses[name],), f"dep_{generation - 2}": None},
        )
    )


@pytest.mark.parametrize("keep_alive", [True, False])
async def test_no_request_is_lost_or_misled_by_a_switch(site: Site, keep_alive: bool) -> None:
    """While new deployments come one after the other, every request is answered, by one that was live meanwhile."""
    for generation, name in enumerate(("green", "blue"), start=1):
        await site.serve(_HOST, f"dep_{name}", site.addresses[name], generation=generation)
    timeline = Timeline("blue")
    clock = asyncio.get_running_loop().time
    done = asyncio.Event()
    running = asyncio.create_task(
        traffic(site.haproxy.port, _HOST, clients=4, keep_alive=keep_alive, until=lambda _: done.is_set())
    )
    for number in range(_SWITCHES):
        name = ("green", "blue")[number % 2]
        asked = clock()
        await _deploy(site, name, 3 + number)
        timeline.switched(name, asked=asked, confirmed=clock())
        await asyncio.sleep(0.02)
    done.set()
    answers = await running

    assert len(answers) > 5 * _SWITCHES
    assert [answer for answer in answers if answer.status != 200] == []
    assert timeline.wrong(answers, name=_name) == []
    assert {_name(answer.body) for answer in answers} == {"blue", "green"}


async def test_ten_thousand_hosts_cost_little(site: Site) -> None:
    """With 10,000 hosts a switch is about as quick as with one, and the gateway is back from a crash as quickly."""
    for generation, name in enumerate(("green", "blue"), start=1):
        await site.serve(_HOST, f"dep_{name}", site.addresses[name], generation=generation)
    few = await _switch_seconds(site, first=3)
    few_start = await _start_seconds(site)
    address = site.addresses["blue"]
    projects = {
        f"prj_{n}": Routes(generation=1, hosts={f"h{n}.example.com": f"dep_{n}"}, targets={f"dep_{n}": (address,)})
        for n in range(_MANY)
    }
    targets = {f"dep_{name}": (site.addresses[name],) for name in ("blue", "green")}
    projects["prj_a"] = Routes(generation=100, hosts={_HOST: "dep_blue"}, targets=targets)

    async def read() -> Wanted:
        return Wanted(projects=projects)

    await site.gateway.synchronise(read)
    many = await _switch_seconds(site, first=101)
    many_start = await _start_seconds(site)

    # Both are far less in truth; here other work runs on the same machine.
    assert many < 20 * few
    assert many_start < 20 * few_start
    assert await site.name("h9999.example.com") == "blue"
    assert await site.name(_HOST) == "green"
    generation = 130
    projects["prj_a"] = Routes(generation=generation, hosts={_HOST: "dep_green"}, targets=targets)
    assert await site.gateway.synchronise(read) == Differences()


async def _switch_seconds(site: Site, *, first: int) -> float:
    seconds = []
    for number in range(30):
        begun = time.perf_counter()
        await _switch(site, ("blue", "green")[number % 2], first + number)
        seconds.append(time.perf_counter() - begun)
    return median(seconds)


async def _start_seconds(site: Site) -> float:
    await site.haproxy.child.kill()
    begun = time.perf_counter()
    await site.haproxy.start_alone()
    return time.perf_counter() - begun

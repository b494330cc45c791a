"""Changes: what `apply` promises to whoever calls it."""

import asyncio
import sys
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from lifecycle.deploy.gateway import Applied, Change, Gateway, GatewayDownError, Stale
from lifecycle.deploy.gateway.files import Folder
from tests.integration.gateway.conftest import Site

_HOST = "a.example.com"

# Another worker on this machine: applies one change for each of its projects.
_WORKER = """
import asyncio, sys
from pathlib import Path
from lifecycle.deploy.gateway import Change, Gateway

async def main(folder, name, number, address):
    gateway = Gateway(Path(folder))
    for n in range(int(number)):
        deployment = f"dep_{name}{n}"
        change = Change(
            project=f"prj_{name}{n}",
            generation=1,
            hosts={f"{name}{n}.example.com": deployment},
            targets={deployment: (address, f"127.0.0.2:{7000 + n}") if n % 8 == 0 else (address,)},
        )
        await gateway.apply(change)
    await gateway.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_switch_is_in_force_when_it_returns(site: Site) -> None:
    """Once a switch is confirmed, no visitor sees the former deployment any more."""
    await site.serve(_HOST, "dep_blue", site.addresses["blue"], generation=1)
    await site.serve(_HOST, "dep_green", site.addresses["green"], generation=2)
    seen = []
    for generation in range(3, 23):
        deployment = "dep_blue" if generation % 2 else "dep_green"
        applied = await site.gateway.apply(Change(project="prj_a", generation=generation, hosts={_HOST: deployment}))
        seen.append((applied, await site.name(_HOST)))

    assert seen == [(Applied(generation=n), "blue" if n % 2 else "green") for n in range(3, 23)]


async def test_an_older_change_does_nothing(site: Site) -> None:
    """A message that was late never brings back what was replaced."""
    await site.serve(_HOST, "dep_green", site.addresses["green"], generation=7)
    verdict = await site.gateway.apply(
        Change(
            project="prj_a",
            generation=6,
            hosts={_HOST: "dep_blue", "other.example.com": "dep_blue"},
            targets={"dep_blue": (site.addresses["blue"],)},
        )
    )

    assert verdict == Stale(newest=7)
    assert await site.name(_HOST) == "green"
    assert (await site.get("other.example.com"))[0] == 404
    assert await site.gateway.generation("prj_a") == 7


async def test_a_change_may_be_repeated(site: Site) -> None:
    """A step that is run again after a crash changes nothing more."""
    change = Change(
        project="prj_a",
        generation=1,
        hosts={_HOST: "dep_blue", "gone.example.com": None},
        targets={"dep_blue": (site.addresses["blue"],), "dep_gone": None},
    )

    assert [await site.gateway.apply(change) for _ in range(3)] == [Applied(generation=1)] * 3
    assert await site.name(_HOST) == "blue"


async def test_nobody_has_a_generation_before_the_first_change(site: Site) -> None:
    """A project that the gateway never heard of has no generation there."""
    assert await site.gateway.generation("prj_new") is None


async def test_a_removed_host_is_unknown_and_other_hosts_stay(site: Site) -> None:
    """Giving up one address leaves the others as they are."""
    await site.serve(_HOST, "dep_blue", site.addresses["blue"], generation=1)
    await site.serve("b.example.com", "dep_blue", site.addresses["blue"], generation=2)
    await site.gateway.apply(Change(project="prj_a", generation=3, hosts={_HOST: None}))

    assert (await site.get(_HOST))[0] == 404
    assert await site.name("b.example.com") == "blue"


async def test_a_host_that_moved_to_another_project_is_not_removed_by_the_former_one(site: Site) -> None:
    """Whoever takes over a domain keeps it, however late the former owner's clean-up is."""
    await site.serve(_HOST, "dep_blue", site.addresses["blue"], generation=1, project="prj_old")
    await site.serve(_HOST, "dep_green", site.addresses["green"], generation=1, project="prj_new")
    await site.gateway.apply(Change(project="prj_old", generation=2, hosts={_HOST: None}, targets={"dep_blue": None}))

    assert await site.name(_HOST) == "green"


@pytest.mark.parametrize(
    "bad",
    [
        {"project": "prj_a\nshutdown sessions"},
        {"project": "prj_a;show info"},
        {"hosts": {"a.example.com\ndisable frontend http": "dep_1"}},
        {"hosts": {"a.example.com dep_1;shutdown frontend http": None}},
        {"hosts": {"A.example.com": "dep_1"}},
        {"hosts": {_HOST: "dep_1;disable frontend http"}},
        {"hosts": {_HOST: "dep_1\n"}},
        {"hosts": {_HOST: "dep_1/single/10.0.0.1:80"}},
        {"hosts": {_HOST: "suspended:<script>"}},
        {"hosts": {_HOST: ""}},
        {"targets": {"dep_1": ("127.0.0.1:80\ndisable frontend http",)}},
        {"targets": {"dep_1": ("127.0.0.1:80;disable frontend http",)}},
        {"targets": {"dep_1": ("localhost:80",)}},
        {"targets": {"dep_1": ("127.0.0.1:0",)}},
        {"targets": {"dep_1": ("127.0.0.1:65536",)}},
        {"targets": {"dep_1 x": ("127.0.0.1:80",)}},
        {"generation": -1},
    ],
)
async def test_nothing_but_names_gets_through(site: Site, bad: dict[str, Any]) -> None:
    """However a name is chosen, it cannot become a command to the gateway or a line in its files."""
    good: dict[str, Any] = {"project": "prj_a", "generation": 1, "hosts": {_HOST: "dep_1"}}
    with pytest.raises(ValidationError):
        Change.model_validate({**good, **bad})
    # Past the model, as a mistake in our own code would be.
    unchecked = Change.model_construct(**{**good, "targets": {}, **bad})
    with pytest.raises(ValidationError):
        await site.gateway.apply(unchecked)

    assert (await site.get("nobody.example.com"))[0] == 404


async def test_workers_at_the_same_time_lose_nothing(site: Site) -> None:
    """Several workers on one machine change the gateway at once, and every change is there afterwards."""
    number = 24
    workers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", _WORKER, str(site.haproxy.folder), name, str(number), site.addresses["blue"]
        )
        for name in ("left", "right")
    ]
    codes = [await worker.wait() for worker in workers]
    hosts = [f"{name}{n}.example.com" for name in ("left", "right") for n in range(number)]

    assert codes == [0, 0]
    assert {host: await site.name(host) for host in hosts} == dict.fromkeys(hosts, "blue")
    await site.haproxy.child.kill()
    await site.haproxy.start_alone()
    assert {host: await site.name(host) for host in hosts} == dict.fromkeys(hosts, "blue")


async def test_a_lock_that_is_not_given_back_is_named(site: Site) -> None:
    """A worker that hangs with the lock does not let others wait for ever, and they say what they waited for."""
    hurried = Gateway(site.haproxy.folder, timeout=timedelta(milliseconds=200))
    folder = Folder(site.haproxy.folder, pools=2, slots=2)
    with folder.locked(float("inf")), pytest.raises(GatewayDownError, match="lock"):
        await hurried.apply(Change(project="prj_a", generation=1))
    await hurried.close()

    assert await site.gateway.generation("prj_a") is None

"""Switches under load, and rollouts by step. `python benchmarks/switch.py [--quick]`."""

import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import aiohttp
from _lab import others, quantile, verdict
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from lifecycle import ids
from lifecycle.deploy.platforms import regions
from lifecycle.deploy.platforms.platform import InstanceSpec, Platform, Refused
from lifecycle.dev.stack import APEX, REGION, WORKSPACE, Stack

_ROOT = Path(__file__).parents[1]
sys.path.append(str(_ROOT))  # what the tests have for the same purpose

from tests.support import docker  # noqa: E402
from tests.support.traffic import Answer, Timeline  # noqa: E402

_SWITCH_PROMISE_MS = 250
_APP = Path(__file__).with_name("_app.py")
_PAUSE_SECONDS = 0.2  # between two switches
_BUSYBOX_APP = 'mkdir -p /tmp/www; echo "{}" > /tmp/www/index.html; exec httpd -f -p "$PORT" -h /tmp/www'


class Size(NamedTuple):
    """How much is measured."""

    requests: int
    switches: int
    rollouts: int


class Switching(NamedTuple):
    """What 50 switches under load gave; milliseconds from the call to the answer, and to the target's first one."""

    requests: int
    seconds: float
    failed: int
    wrong: int
    answered: Sequence[float]
    served: Sequence[float]


class Rollouts(NamedTuple):
    """Milliseconds on one platform: each rollout from request to ready, its steps, and the bare start beside it."""

    platform: str
    whole: Sequence[float]
    steps: Mapping[str, Sequence[float]]
    bare: Sequence[float]


class Site:
    """A stack, and its API."""

    def __init__(self, stack: Stack, session: aiohttp.ClientSession) -> None:
        self.stack = stack
        self._session = session

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """What the API answers."""
        async with self._session.request(method, f"{self.stack.api_url}{path}", json=body) as response:
            answer = await response.json()
            if not response.ok:
                raise RuntimeError(f"{method} {path}: {answer}")
            return answer

    async def deploy(self, project: str, body: Mapping[str, object]) -> Any:
        """A deployment that is ready."""
        made = await self.ask("POST", f"/v1/projects/{project}/deployments", {"environment": "production", **body})
        async with asyncio.timeout(60):
            while made["status"] not in ("ready", "failed"):
                await asyncio.sleep(0.05)
                made = await self.ask("GET", f"/v1/deployments/{made['id']}")
        if made["status"] != "ready":
            raise RuntimeError(f"{made['id']} failed: {made['message']}")
        return made


async def main(*, quick: bool) -> None:
    """Run it and print the tables."""
    machine = others()
    size = Size(5_000, 10, 3) if quick else Size(50_000, 50, 10)
    with Progress(transient=True, console=Console(stderr=True)) as progress:
        task = progress.add_task("starting", total=4)
        async with _platforms() as extra, _site(extra) as site:
            progress.update(task, advance=1, description=f"{size.switches} switches, {size.requests} requests")
            switching = await _switch_under_load(site, size)
            measured = []
            for name, url in regions.parse(site.stack.environment["LIFECYCLE_REGIONS"]).items():
                progress.update(task, advance=1, description=f"rollouts in {name}")
                measured.append(await _rollouts(site, name, url, size.rollouts))
    console = Console(width=max(Console().width, 120))
    console.print(_switch_table(switching, size, machine))
    for rollouts in measured:
        console.print(_rollout_table(rollouts, size))
    console.print(
        "Bare: the platform's own start of the same instance, until it answers, in turn with the rollouts. A rollout\n"
        "also reserves names, moves routes in the database and the gateway, and journals each step."
    )


@asynccontextmanager
async def _platforms() -> AsyncIterator[str]:
    """A region on a private Docker Engine, where one can be started; else none."""
    try:
        async with docker.engine() as engine:
            await docker.make_busybox_image(engine)
            yield f",docker=docker:{engine.environment['DOCKER_HOST']}?network=host"
    except docker.DockerUnavailableError as error:
        Console(stderr=True).print(f"without Docker: {error}")
        yield ""


@asynccontextmanager
async def _site(extra: str) -> AsyncIterator[Site]:
    folder = Path(tempfile.mkdtemp(prefix="lifecycle-bench-"))
    local = f"{REGION}=process:{folder}/s/instances"
    stack = Stack(folder / "s", settings={"LIFECYCLE_REGIONS": local + extra})
    try:
        ready = await stack.start()
        headers = {"Authorization": f"Bearer {ready['api_key']}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            yield Site(stack, session)
    finally:
        await stack.stop()
        shutil.rmtree(folder)


async def _switch_under_load(site: Site, size: Size) -> Switching:
    await site.ask("POST", "/v1/projects", {"slug": "switch"})
    blue, green = [
        (await site.deploy("switch", {"command": [sys.executable, str(_APP), name]}))["id"]
        for name in ("blue", "green")
    ]
    names = {blue: "blue", green: "green"}
    file = site.stack.root / "answers.json"
    host = f"switch-{WORKSPACE}.{APEX}"
    begun = time.monotonic()
    load = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks._traffic", str(site.stack.gateway.port), host),
        *(str(size.requests), str(size.switches * (_PAUSE_SECONDS + 0.05) + 2), str(file)),
        cwd=_ROOT,
    )
    await asyncio.sleep(1)
    timeline = Timeline("green")
    asked: list[tuple[str, float]] = []
    answered = []
    for number in range(size.switches):
        target = (blue, green)[number % 2]
        moment = time.monotonic()
        await site.ask("POST", f"/v1/deployments/{target}/rollback")
        answered.append((time.monotonic() - moment) * 1000)
        asked.append((names[target], moment))
        await asyncio.sleep(_PAUSE_SECONDS)
    await load.wait()
    seconds = time.monotonic() - begun
    answers = [Answer(*answer) for answer in json.loads(file.read_text(encoding="utf-8"))]
    served = [_first(answers, name, moment) for name, moment in asked]
    for (name, moment), later in zip(asked, served, strict=True):
        # From its first answer on nobody else may answer; until then, the former one may.
        timeline.switched(name, asked=moment, confirmed=moment + later / 1000)
    good = [answer for answer in answers if answer.status == 200]
    wrong = timeline.wrong(good, name=lambda body: str(json.loads(body)["name"]))
    return Switching(len(answers), seconds, len(answers) - len(good), len(wrong), answered, served)


def _first(answers: Sequence[Answer], name: str, asked: float) -> float:
    received = (one.received for one in answers if one.sent >= asked and f'"{name}"' in one.body)
    return (min(received) - asked) * 1000


async def _rollouts(site: Site, region: str, url: str, number: int) -> Rollouts:
    kind = url.partition(":")[0]
    body: Mapping[str, object] = (
        {"command": [sys.executable, str(_APP), "x"]}
        if kind == "process"
        else {"image": docker.BUSYBOX_IMAGE, "command": ["sh", "-c", _BUSYBOX_APP]}
    )
    await site.ask("POST", "/v1/projects", {"slug": kind})
    platform = regions.open_platform(url)
    whole, bare, steps = [], [], dict[str, list[float]]()
    try:
        for _ in range(number):
            bare.append(await _bare_start(platform, region, body))
            made = await site.deploy(kind, {**body, "regions": [region]})
            whole.append(_milliseconds(made["created_at"], made["steps"][-1]["ended_at"]))
            for step in made["steps"]:
                steps.setdefault(step["name"], []).append(step["duration_seconds"] * 1000)
    finally:
        await platform.close()
    return Rollouts(kind, whole, steps, bare)


async def _bare_start(platform: Platform, region: str, body: Mapping[str, Any]) -> float:
    spec = InstanceSpec(id=ids.new("bare"), project="bare", deployment="bare", region=region, **{"image": None, **body})
    begun = time.monotonic()
    started = await platform.start(spec, {})
    if isinstance(started, Refused):
        raise SystemExit(started.why)
    async with aiohttp.ClientSession() as session, asyncio.timeout(30):
        while not await _answers(session, f"http://{started.address}/"):
            await asyncio.sleep(0.01)
    took = (time.monotonic() - begun) * 1000
    await platform.remove(spec.id, grace=timedelta(0))
    return took


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.ok
    except aiohttp.ClientError:
        return False


def _milliseconds(begun: str, ended: str) -> float:
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)) / timedelta(milliseconds=1)


def _switch_table(found: Switching, size: Size, machine: str) -> Table:
    rate = found.requests / found.seconds
    table = Table(
        title=f"{size.switches} switches under {found.requests:,} requests ({rate:,.0f}/s); {machine}",
        title_justify="left",
    )
    for column in ("figure", "p50", "p99", "latest", "promise"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for name, values in (("rollback answered, ms", found.answered), ("first answer of the target, ms", found.served)):
        promise = verdict(quantile(values, 0.99), at_most=_SWITCH_PROMISE_MS) if values is found.served else ""
        table.add_row(name, *(f"{quantile(values, share):.1f}" for share in (0.5, 0.99, 1.0)), promise)
    for name, count in (("failed requests", found.failed), ("answers of one that was not live", found.wrong)):
        table.add_row(name, str(count), "", "", verdict(count, at_most=0))
    return table


def _rollout_table(found: Rollouts, size: Size) -> Table:
    table = Table(title=f"{size.rollouts} rollouts on {found.platform}, milliseconds", title_justify="left")
    for column in ("step", "median", "latest"):
        table.add_column(column, justify="left" if column == "step" else "right")
    for step, values in found.steps.items():
        table.add_row(step, f"{median(values):.0f}", f"{max(values):.0f}")
    table.add_section()
    table.add_row("request to ready", f"{median(found.whole):.0f}", f"{max(found.whole):.0f}")
    table.add_row("bare start", f"{median(found.bare):.0f}", f"{max(found.bare):.0f}")
    table.add_row("x bare", f"{median(found.whole) / median(found.bare):.2f}", "")
    return table


if __name__ == "__main__":
    asyncio.run(main(quick="--quick" in sys.argv[1:]))

"""A handler that is suspended, replayed and repeated, as logs and metrics show it."""

import asyncio
import contextlib
import logging
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
import restate
import uvicorn

from lifecycle import identity, policies
from lifecycle.db import DatabaseDownError
from lifecycle.dev import ports
from lifecycle.dev.servers import Engine
from lifecycle.errors import Code, LifecycleError
from lifecycle.observability import invocations, logs, measures
from lifecycle.observability.logs import NotReplayed
from tests.support.waiting import eventually

_log = logging.getLogger("lifecycle.shop")
shop = restate.VirtualObject("Shop", invocation_retry_policy=policies.DECISION.invocations())
_broken: dict[str, int] = {}
_arrived: dict[str, tuple[int, str | None]] = {}


@shop.handler()
async def sell(ctx: restate.ObjectContext, failures: int) -> int:
    """Two steps with a pause between; the second one fails so often."""
    _log.info("begun")
    first = await ctx.run_typed("weigh-1", _weigh, policies.DATABASE.options(int))
    _log.info("weighed")
    await ctx.sleep(timedelta(milliseconds=300))
    _log.info("rested")
    second = await ctx.run_typed("pack", _pack, policies.DATABASE.options(int), key=ctx.key(), failures=failures)
    _log.info("packed")
    return first + second


@shop.handler()
async def refuse(ctx: restate.ObjectContext) -> None:
    """Says no."""
    raise LifecycleError(Code.PROJECT_NOT_FOUND, project=ctx.key())


@shop.handler()
async def stumble(ctx: restate.ObjectContext) -> None:
    """Has a defect that goes away."""
    _broken[ctx.key()] = _broken.get(ctx.key(), 0) + 1
    if _broken[ctx.key()] < 3:
        raise RuntimeError("a defect")


@shop.handler()
async def starve(ctx: restate.ObjectContext) -> None:
    """Needs something that is away for a while."""
    _broken[ctx.key()] = _broken.get(ctx.key(), 0) + 1
    if _broken[ctx.key()] < 3:
        raise DatabaseDownError("no answer in time")


@shop.handler()
async def deliver(ctx: restate.ObjectContext) -> None:
    """Sends word to others, at once and later, and is led through it again."""
    ctx.object_send(arrive, f"{ctx.key()}-now", 0)
    ctx.generic_send("Shop", "arrive", b"1", key=f"{ctx.key()}-by-name")
    ctx.object_send(arrive, f"{ctx.key()}-later", 2, send_delay=timedelta(milliseconds=300))
    await ctx.sleep(timedelta(milliseconds=300))
    await ctx.object_call(arrive, f"{ctx.key()}-asked", 3)


@shop.handler()
async def arrive(ctx: restate.ObjectContext, number: int) -> None:
    """Notes what trace it belongs to."""
    _arrived[ctx.key()] = (number, ctx.request().headers.get("traceparent"))


async def _weigh() -> int:
    _log.info("weighing")
    return 1


async def _pack(key: str, failures: int) -> int:
    _broken[key] = _broken.get(key, 0) + 1
    if _broken[key] <= failures:
        raise ConnectionError("no box")
    _log.info("packing")
    return 1


class Lines(logging.Handler):
    """Keeps what is logged, as it would be written."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(NotReplayed())
        self.kept: list[tuple[str, dict[str, str | int]]] = []
        self.errors: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        self.kept.append((record.getMessage(), dict(logs.bound())))
        if record.exc_info and record.exc_info[1] is not None:
            self.errors.append(record.exc_info[1])

    def of(self, key: str) -> list[tuple[str, dict[str, str | int]]]:
        """The lines about one object, in order."""
        return [line for line in self.kept if line[1].get("key") == key]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What is logged while the test runs."""
    handler, root = Lines(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


@asynccontextmanager
async def serving(port: int) -> AsyncIterator[None]:
    """The shop, in this process."""
    invocations.watch([shop])
    server = uvicorn.Server(uvicorn.Config(restate.app([shop]), port=port, log_config=None, lifespan="off"))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server.serve())
    try:
        yield
    finally:
        server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture(scope="module")
async def ingress() -> AsyncIterator[str]:
    """The ingress of an engine that replays at each step, and knows the shop."""
    root = Path(tempfile.mkdtemp(prefix="lifecycle-watched-"))
    names = ("restate_ingress", "restate_admin", "restate_node", "shop")
    given = ports.assign(names, remembered=root / "ports.json", given={})
    identity.ensure(root / "identity.pem")
    engine = Engine(
        root / "restate",
        given,
        log=root / "restate.log",
        identity_key=root / "identity.pem",
        extra={"RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT": "0s"},
    )
    try:
        async with serving(given["shop"]):
            await engine.start()
            deployment = {"uri": f"http://127.0.0.1:{given['shop']}", "use_http_11": True}
            async with (
                aiohttp.ClientSession() as session,
                session.post(f"{engine.admin_url}/deployments", json=deployment) as answer,
            ):
                assert answer.status == 201, await answer.text()
            yield engine.ingress_url
            await engine.child.stop()
    finally:
        await engine.child.stop()
        shutil.rmtree(root)


async def call(ingress: str, path: str, body: object = None, **headers: str) -> int:
    """Call a handler of the shop; gives the status."""
    async with aiohttp.ClientSession() as session:
        options = {"skip_auto_headers": ("Content-Type",)} if body is None else {"json": body}
        async with session.post(f"{ingress}/Shop/{path}", headers=headers, **options) as answer:
            await answer.read()
            return answer.status


def value(name: str, **labels: str) -> float:
    """A metric of this process."""
    return measures.REGISTRY.get_sample_value(name, labels) or 0


async def test_nothing_is_logged_twice_however_often_a_handler_is_replayed(ingress: str, lines: Lines) -> None:
    """One run is one story in the log, though the engine let the handler begin anew after each step."""
    assert await call(ingress, "quiet/sell", 0) == 200

    told = [message for message, _ in lines.of("quiet")]
    assert told == ["begun", "weighing", "weighed", "rested", "packing", "packed"]


async def test_each_attempt_of_a_step_is_told_with_its_number(ingress: str, lines: Lines) -> None:
    """Whoever reads the log sees what failed, in which step of which object, and how often already."""
    failed = value("lifecycle_step_failures_total", service="Shop", step="pack", reason="failed")
    carried_out = value("lifecycle_step_seconds_count", service="Shop", step="weigh")
    assert await call(ingress, "stubborn/sell", 2) == 200

    told = [(message, about) for message, about in lines.of("stubborn") if about.get("step") == "pack"]
    attempts = [about["attempt"] for _, about in told]
    failures = [message for message, _ in told if "a step failed" in message]
    assert attempts == [1, 2, 3]
    assert failures == ["a step failed, and is repeated: ConnectionError: no box"] * 2
    # The SDK would tell each of them once more, with a traceback.
    assert [message for message, _ in lines.of("stubborn") if "xception" in message] == []
    assert told[0][1].items() >= {"service": "Shop", "handler": "sell", "key": "stubborn"}.items()
    assert str(told[0][1]["invocation"]).startswith("inv_")
    assert value("lifecycle_step_failures_total", service="Shop", step="pack", reason="failed") == failed + 2
    assert value("lifecycle_step_seconds_count", service="Shop", step="weigh") == carried_out + 1


async def test_a_defect_is_told_with_its_traceback(ingress: str, lines: Lines) -> None:
    """Whoever mends it sees where it is; what is said of steps that fail is not taken for it."""
    assert await call(ingress, "sloppy/stumble") == 200

    assert [str(one) for one in lines.errors if "defect" in str(one)] == ["a defect"] * 2


async def test_a_defect_is_counted_and_a_refusal_is_not(ingress: str) -> None:
    """An alarm about handlers that fail is about us, and not about people who ask for what there is not."""
    before = failures("stumble", "defect")
    refused = await call(ingress, "nobody/refuse")
    stumbled = await call(ingress, "clumsy/stumble")

    assert (refused, stumbled) == (404, 200)
    assert failures("refuse", "defect") == 0
    assert await eventually(lambda: failures("stumble", "defect") == before + 2, within=5)


async def test_an_outage_of_others_is_no_defect(ingress: str) -> None:
    """Whoever is called at night because a handler is broken finds a handler that is broken."""
    assert await call(ingress, "hungry/starve") == 200

    assert await eventually(lambda: failures("starve", "outage") == 2, within=5)
    assert failures("starve", "defect") == 0


def test_the_first_failure_of_a_handler_is_a_growth(ingress: str) -> None:
    """What an alert counts is there with 0 before it happens first; `increase` takes what comes later as its start."""
    assert ingress
    kinds = {"project-deletion", "standby-stop", "certificate-renewal"}
    series = [("lifecycle_invocation_failures_total", {"service": "Shop", "handler": "refuse", "reason": "defect"})]
    for kind in kinds:
        series.append(("lifecycle_action_lateness_seconds_count", {"kind": kind}))
        series.extend(("lifecycle_wakeups_total", {"kind": kind, "verdict": one}) for one in ("due", "early", "stale"))
    series.append(("lifecycle_issuance_seconds_count", {"ending": "refused"}))

    assert [one for one in series if measures.REGISTRY.get_sample_value(*one) is None] == []


async def test_all_that_follows_at_once_belongs_to_the_trace_of_the_caller(ingress: str) -> None:
    """A trace leads from a request to all that it caused; what was sent for later begins one of its own."""
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert await call(ingress, "van/deliver", traceparent=parent) == 200
    assert await call(ingress, "cart/deliver") == 200

    def arrived() -> bool:
        return len([key for key in _arrived if key.startswith(("van-", "cart-"))]) == 8

    assert await eventually(arrived, within=10)
    assert {key: found for key, found in _arrived.items() if key.startswith("van-")} == {
        "van-now": (0, parent),
        "van-by-name": (1, parent),
        "van-later": (2, None),
        "van-asked": (3, parent),
    }
    assert {trace for key, (_, trace) in _arrived.items() if key.startswith("cart-")} == {None}


def failures(handler: str, reason: str) -> float:
    """Failed attempts of a handler of the shop."""
    return value("lifecycle_invocation_failures_total", service="Shop", handler=handler, reason=reason)

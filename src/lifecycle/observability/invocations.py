"""Watches the handlers of the worker: what their log lines belong to, how long steps take, what fails, traces.

Every service is watched from outside, by `watch`; no handler knows of it. What a handler sends at once carries the
`traceparent` (W3C Trace Context) with which it was called, so that all that follows from a request is one trace. What
it sends for later does not: days may lie in between.
"""

import functools
import inspect
import logging
import re
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

from restate import Service, TerminalError, VirtualObject, Workflow
from restate.extensions import current_context
from restate.server_context import DisconnectedException, ServerInvocationContext

from lifecycle.certs.model import Ending
from lifecycle.db import DatabaseDownError
from lifecycle.deploy.gateway import GatewayDownError
from lifecycle.deploy.platforms.platform import PlatformDownError
from lifecycle.engine import EngineDownError
from lifecycle.observability import logs, measures, traces

_log = logging.getLogger(__name__)

# The action that an object decides about; its key is the last part of the action's id.
_KINDS = {
    "ProjectService": "project-deletion",
    "ProjectDeletion": "project-deletion",
    "StandbyService": "standby-stop",
    "CertificateService": "certificate-renewal",
}
_SUBJECTS = {
    "ProjectService": "project",
    "ProjectDeletion": "project",
    "DeploymentService": "project",
    "RoutingService": "project",
    "StandbyService": "deployment",
    "Rollout": "deployment",
    "CertificateService": "domain",
    "Issuance": "issuance",
}
# Workflows are named by what they work on and, behind dots, the generation or the number of the run.
_GENERATIONS = {"ProjectDeletion": "generation", "Issuance": "run"}
_WAKE_UP = re.compile(rb'\{"generation":\s*(\d{1,18})\}')
# A step that is repeated has a number in its name: `look-3`, `order-again-2`.
_NUMBER = re.compile(r"(-again)?-\d+$")
_COUNTED_STEPS = 10_000
_TRACEPARENT = "traceparent"
_RAW_CALL = inspect.signature(ServerInvocationContext.do_raw_call)
# What is raised while a part is away; who runs that part hears of it by other alerts.
_OUTAGES = (
    DatabaseDownError,
    EngineDownError,
    GatewayDownError,
    PlatformDownError,
    ConnectionError,
    TimeoutError,
)

# Failed attempts of steps that did not succeed yet, as this worker saw them.
_failed: OrderedDict[tuple[str, str], int] = OrderedDict()
# The errors of steps that were logged in this attempt of a handler.
_told: ContextVar[list[str] | None] = ContextVar("lifecycle_told_failures", default=None)


class ToldOnce(logging.Filter):
    """Drops what the SDK logs of a step that failed: the line of `_watched` said it, with the step and the attempt."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        error = record.exc_info[1] if record.exc_info else None
        return error is None or not any(told in str(error) for told in _told.get() or ())


_TOLD_ONCE = ToldOnce()


def watch(services: Iterable[Service | VirtualObject | Workflow]) -> None:
    """Have every handler of the services watched; doing it twice changes nothing."""
    logging.getLogger("restate.server_context").addFilter(_TOLD_ONCE)
    handlers = [(service.name, handler) for service in services for handler in service.handlers.values()]
    for _, handler in handlers:
        if _attempt not in (known := handler.context_managers or []):
            handler.context_managers = [_attempt, *known]
    measures.begin_worker(
        sorted(set(_KINDS.values())), [ending.value for ending in Ending], [(name, one.name) for name, one in handlers]
    )


def step_name(name: str) -> str:
    """The name of a step without the number of its repetition, so that there are few of them."""
    return _NUMBER.sub("", name)


def belongs_to(service: str, key: str, body: bytes) -> Mapping[str, str | int]:
    """What an invocation is about, for log lines: service, project or domain, action, generation.

    Args:
        service: its name.
        key: of the object or workflow; empty for a service.
        body: what was sent; of a wake-up, the generation.
    """
    found: dict[str, str | int] = {}
    subject, _, rest = key.partition(".") if service in _GENERATIONS else (key, "", "")
    if subject:
        found[_SUBJECTS.get(service, "key")] = subject
    if service in _KINDS:
        found["action"] = f"{_KINDS[service]}/{subject}"
    if (number := rest.partition(".")[0]).isdecimal():
        found[_GENERATIONS[service]] = int(number)
    if wake := _WAKE_UP.fullmatch(body):
        found["generation"] = int(wake[1])
    return found


@asynccontextmanager
async def _attempt() -> AsyncIterator[None]:
    """Around one attempt of a handler."""
    ctx = current_context()
    if not isinstance(ctx, ServerInvocationContext):
        yield
        return
    service, handler = ctx.handler.service_tag.name, ctx.handler.name
    request = ctx.request()
    subject = belongs_to(service, ctx.key(), request.body)
    logs.bind(service=service, handler=handler, invocation=request.id, **subject)
    _told.set([])
    ctx.run_typed = functools.partial(_run_typed, ctx.run_typed, service, request.id)  # type: ignore[method-assign]
    # Not of the present span: what is sent must be the same when it is replayed.
    if (caller := request.headers.get(_TRACEPARENT)) is not None:
        ctx.do_raw_call = functools.partial(_do_raw_call, ctx, caller)  # type: ignore[method-assign]
    # The engine's own span, when it traces; else that of whoever called.
    parent = request.attempt_headers if _TRACEPARENT in request.attempt_headers else request.headers
    attributes = {"restate.invocation.id": request.id, **{f"lifecycle.{name}": of for name, of in subject.items()}}
    with traces.span(f"{service}/{handler}", parent=parent, is_server=True, attributes=attributes) as span:
        try:
            yield
        except (TerminalError, DisconnectedException):
            raise  # refused, or the engine has gone
        except Exception as error:
            reason = measures.OUTAGE if isinstance(error, _OUTAGES) else measures.DEFECT
            measures.ATTEMPT_FAILURES.labels(service, handler, reason).inc()
            span.fail(error)
            raise


def _do_raw_call(ctx: ServerInvocationContext, caller: str, *given: Any, **named: Any) -> Any:
    """As the SDK's, below every call and send of a handler; what has no delay gets the caller's `traceparent`.

    Whether there is a delay counts, and not how long it is: that may be another one when the handler is replayed.
    """
    call = _RAW_CALL.bind(ctx, *given, **named)
    if call.arguments.get("send_delay") is None:
        call.arguments["headers"] = {_TRACEPARENT: caller, **(call.arguments.get("headers") or {})}
    return ServerInvocationContext.do_raw_call(*call.args, **call.kwargs)


def _run_typed(
    run_typed: Callable[..., Any],
    service: str,
    invocation: str,
    name: str,
    action: Callable[..., Any],
    *given: Any,
    **arguments: Any,
) -> Any:
    """As the SDK's, with the step watched when it is carried out, and not when it is read from the journal."""
    if not inspect.iscoroutinefunction(action):  # a look at the clock
        return run_typed(name, action, *given, **arguments)

    @functools.wraps(action)
    async def step(*given: Any, **arguments: Any) -> Any:
        return await _watched(service, invocation, name, functools.partial(action, *given, **arguments))

    return run_typed(name, step, *given, **arguments)


async def _watched(service: str, invocation: str, name: str, action: Callable[[], Awaitable[Any]]) -> Any:
    """One attempt of a step."""
    place, plain = (invocation, name), step_name(name)
    attempt = _failed.get(place, 0) + 1
    logs.bind(step=name, attempt=attempt)
    started = time.perf_counter()
    with traces.span(name, attributes={"lifecycle.step": plain, "lifecycle.attempt": attempt}) as span:
        try:
            result = await action()
        except TerminalError:
            measures.STEP_FAILURES.labels(service, plain, "refused").inc()
            raise
        except Exception as error:
            measures.STEP_FAILURES.labels(service, plain, "failed").inc()
            _count(place, attempt)
            if (told := _told.get()) is not None:
                told.append(repr(error))
            defect = None if isinstance(error, _OUTAGES) else error  # whose place in the code tells something
            _log.warning("a step failed, and is repeated: %s: %s", type(error).__name__, error, exc_info=defect)
            span.fail(error)
            raise
        finally:
            measures.STEP.labels(service, plain).observe(time.perf_counter() - started)
    _failed.pop(place, None)
    # The verdicts of a certificate authority are answers, not errors: `failure` and `over` say that it went wrong.
    if getattr(result, "failure", None) is not None or getattr(result, "over", None) is not None:
        measures.STEP_FAILURES.labels(service, plain, "verdict").inc()
    return result


def _count(place: tuple[str, str], attempt: int) -> None:
    _failed[place] = attempt
    _failed.move_to_end(place)
    while len(_failed) > _COUNTED_STEPS:
        _failed.popitem(last=False)

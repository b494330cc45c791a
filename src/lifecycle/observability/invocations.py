"""Watches the handlers of the worker: what their log lines belong to, how long steps take, what fails, traces.

Every service is watched from outside, by `watch`; no handler knows of it.
"""

import functools
import inspect
import logging
import re
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from restate import Service, TerminalError, VirtualObject, Workflow
from restate.extensions import current_context
from restate.server_context import DisconnectedException, ServerInvocationContext

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

# Failed attempts of steps that did not succeed yet, as this worker saw them.
_failed: OrderedDict[tuple[str, str], int] = OrderedDict()


def watch(services: Iterable[Service | VirtualObject | Workflow]) -> None:
    """Have every handler of the services watched; doing it twice changes nothing."""
    for service in services:
        for handler in service.handlers.values():
            if _attempt not in (known := handler.context_managers or []):
                handler.context_managers = [_attempt, *known]


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
    ctx.run_typed = functools.partial(_run_typed, ctx.run_typed, service, request.id)  # type: ignore[method-assign]
    # The engine's own span, when it traces; else that of whoever called.
    parent = request.attempt_headers if "traceparent" in request.attempt_headers else request.headers
    attributes = {"restate.invocation.id": request.id, **{f"lifecycle.{name}": of for name, of in subject.items()}}
    with traces.span(f"{service}/{handler}", parent=parent, is_server=True, attributes=attributes) as span:
        try:
            yield
        except (TerminalError, DisconnectedException):
            raise  # refused, or the engine has gone
        except Exception as error:
            measures.ATTEMPT_FAILURES.labels(service, handler).inc()
            span.fail(error)
            raise


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
            _log.warning("a step failed, and is repeated: %s: %s", type(error).__name__, error)
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

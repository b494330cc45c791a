"""A mortal worker that can also die inside the steps of an issuance, and whose steps can be made to fail.

    python -m tests.support.mortal_issuer FOLDER

As `mortal_worker`, with more points: each thing that a step does to the CA (`ca/new_order`), to the database
(`db/set_order_url`), to the gateway (`gateway/install`) and to DNS (`dns/publish`).

`FOLDER/crash` names a step, such as `Issuance/run/order`, that fails the first time before it acts and the second
time after it acted; the third time it acts twice. Each time is noted in `FOLDER/crashes`.

While there is `FOLDER/another`, visitors seem to get another certificate than the one that was just installed.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import ModuleType
from typing import Any

from restate.server_context import ServerInvocationContext

from lifecycle.certs import orders_store, store
from lifecycle.certs.authorities import Authorities
from lifecycle.certs.dns import Publisher
from lifecycle.deploy.gateway.certificates import Certificates
from tests.support import mortal_worker

_EFFECTS: tuple[tuple[str, ModuleType | type, tuple[str, ...]], ...] = (
    (
        "db",
        orders_store,
        ("begin_order", "set_order_url", "write_published", "withdraw_tokens", "mark_removed", "end_order"),
    ),
    ("db", store, ("insert_version", "serve")),
    ("gateway", Certificates, ("install", "answer_challenge", "withdraw_challenge")),
    ("dns", Publisher, ("publish", "remove")),
)


class _CrashError(Exception):
    """A planted failure."""


def _make_mortal() -> None:
    for kind, owner, names in _EFFECTS:
        for name in names:
            setattr(owner, name, _watched(f"{kind}/{name}", getattr(owner, name)))
    run = Authorities.run

    async def mortal_run(self: Authorities, function: Callable[..., Any], *given: Any, **arguments: Any) -> Any:
        point = f"ca/{function.__name__}"
        mortal_worker.pass_point(point, "before")
        result = await run(self, function, *given, **arguments)
        mortal_worker.pass_point(point, "after")
        return result

    Authorities.run = mortal_run  # type: ignore[method-assign]
    serial = Certificates.serial

    async def planted_serial(self: Certificates, hostname: str, *, timeout: timedelta) -> str | None:  # noqa: ASYNC109
        found = await serial(self, hostname, timeout=timeout)
        return "another" if (mortal_worker.FOLDER / "another").exists() else found

    Certificates.serial = planted_serial  # type: ignore[method-assign]
    _make_steps_fail()


def _watched(point: str, work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(work)
    async def watched(*given: Any, **arguments: Any) -> Any:
        mortal_worker.pass_point(point, "before")
        result = await work(*given, **arguments)
        mortal_worker.pass_point(point, "after")
        return result

    return watched


def _make_steps_fail() -> None:
    run_typed = ServerInvocationContext.run_typed

    def failing_run(self: Any, name: str, action: Callable[..., Awaitable[Any]], *given: Any, **arguments: Any) -> Any:
        if not inspect.iscoroutinefunction(action):
            return run_typed(self, name, action, *given, **arguments)
        step = f"{self.handler.service_tag.name}/{self.handler.name}/{name}"

        @functools.wraps(action)
        async def failing(*given: Any, **arguments: Any) -> Any:
            crashes = mortal_worker.FOLDER / "crashes"
            if not _is_wanted(step):
                return await action(*given, **arguments)
            mortal_worker.note("crashes", step)
            seen = crashes.read_text().splitlines().count(step)
            if seen == 1:
                raise _CrashError("before it acted")
            result = await action(*given, **arguments)
            if seen == 2:
                raise _CrashError("after it acted")
            return await action(*given, **arguments) if seen == 3 else result

        return run_typed(self, name, failing, *given, **arguments)

    ServerInvocationContext.run_typed = failing_run  # type: ignore[method-assign,assignment]


def _is_wanted(step: str) -> bool:
    try:
        return (mortal_worker.FOLDER / "crash").read_text() == step
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    mortal_worker.main(_make_mortal)

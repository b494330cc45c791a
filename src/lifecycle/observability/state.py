"""Metrics of what is stored, read when somebody asks for them: actions, certificates, rate limits, the gateway.

Every process says the same of it, so a query takes the largest and adds nothing up. What a part does not answer is
absent: parts are asked side by side, and none of them for long, so that one that hangs does not hide the others.
Domains are named by workers only, whose port is private.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Gauge

from lifecycle.certs import expiry_store
from lifecycle.certs import store as certificates_store
from lifecycle.certs.authorities import Authorities, Used
from lifecycle.certs.model import Status
from lifecycle.db import Database, DatabaseDownError
from lifecycle.deploy import routing_store
from lifecycle.deploy.gateway import Gateway, GatewayDownError
from lifecycle.engine import EngineDownError
from lifecycle.errors import LifecycleError
from lifecycle.ledger import icalendar
from lifecycle.ledger import store as ledger_store
from lifecycle.ledger.entry import ActionState
from lifecycle.notifications import store as notifications_store
from lifecycle.notifications.model import Channel

T = TypeVar("T")
_log = logging.getLogger(__name__)

# Prometheus waits ten seconds for the whole page; a request to the API ends before that.
PATIENCE = timedelta(seconds=3)
# Enough to see what expires next; a label for every domain would be too many for whoever stores the series.
_SOONEST = 20
_FRESH_SECONDS = 5
_RENEWALS = ("planned", "none")
_RENEWAL = "`planned`, or `none` when it was cancelled or cannot be any more"


class Kept(Generic[T]):
    """What reads many rows is read once for all who ask within five seconds.

    Args:
        read: reads it.
    """

    def __init__(self, read: Callable[[Database], Awaitable[T]]) -> None:
        self._read = read
        self._known: WeakKeyDictionary[Database, tuple[float, T]] = WeakKeyDictionary()
        self._locks: WeakKeyDictionary[Database, asyncio.Lock] = WeakKeyDictionary()

    async def of(self, db: Database) -> T:
        """What was read from this database a moment ago, or now.

        Raises:
            DatabaseDownError: it does not answer.
        """
        async with self._locks.setdefault(db, asyncio.Lock()):
            known = self._known.get(db)
            if known is None or time.perf_counter() - known[0] > _FRESH_SECONDS:
                known = self._known[db] = (time.perf_counter(), await self._read(db))
            return known[1]


_open_actions = Kept(ledger_store.count_open)
_generations = Kept(routing_store.generations)
_deliveries = Kept(notifications_store.count_waiting)


def parts(registry: CollectorRegistry) -> Gauge:
    """The gauge of `ask`."""
    return Gauge("lifecycle_up", "Whether a part answers.", ["part"], registry=registry)


async def ask(part: str, up: Gauge, work: Awaitable[None]) -> None:
    """Have a part say what it knows; what it does not say within three seconds, it does not say.

    Args:
        part: database, engine or worker.
        up: where it is noted whether it answered.
        work: asks it.
    """
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            await work
    except (TimeoutError, DatabaseDownError, EngineDownError, LifecycleError):
        up.labels(part).set(0)
    except Exception as error:  # noqa: BLE001  such as a database without our tables: the others still have their say
        _warn(part, error)
        up.labels(part).set(0)
    else:
        up.labels(part).set(1)


def _warn(part: str, error: Exception) -> None:
    _log.warning("%s could not be asked for metrics: %s: %s", part, type(error).__name__, error)


async def actions(db: Database, registry: CollectorRegistry, *, overdue_after: timedelta, now: datetime) -> None:
    """Open actions by kind and state, which may be five seconds old, and those that should have begun.

    Raises:
        DatabaseDownError: it does not answer.
    """
    counts = await _open_actions.of(db)
    late = await ledger_store.overdue(db, before=now - overdue_after)
    opened = Gauge("lifecycle_actions", "Open actions.", ["kind", "state"], registry=registry)
    overdue = Gauge(
        "lifecycle_actions_overdue",
        "Pending actions, not blocked, whose due time has passed by more than is promised.",
        ["kind"],
        registry=registry,
    )
    lateness = Gauge(
        "lifecycle_actions_overdue_seconds",
        "How long ago the oldest overdue action was due; 0 when there is none.",
        ["kind"],
        registry=registry,
    )
    for kind in sorted(icalendar.KINDS | {kind for kind, _ in counts}):
        for state in ActionState:
            if state.is_open:
                opened.labels(kind, state.value).set(counts.get((kind, state.value), 0))
        number, oldest = late.get(kind, (0, now))
        overdue.labels(kind).set(number)
        lateness.labels(kind).set((now - oldest).total_seconds())


async def certificates(db: Database, registry: CollectorRegistry, *, now: datetime) -> None:
    """Certificates by status, and when the first of those in use expires.

    Raises:
        DatabaseDownError: it does not answer.
    """
    counts = await certificates_store.count_by_status(db)
    soonest = await _soonest(db, limit=1, now=now)
    domains = Gauge("lifecycle_certificates", "Domains with a certificate, by status.", ["status"], registry=registry)
    for status in Status:
        if status is not Status.REMOVED:
            domains.labels(status.value).set(counts.get(status.value, 0))
    first = Gauge(
        "lifecycle_certificates_first_expiry_timestamp_seconds",
        f"When the first of the certificates in use expires, by renewal: {_RENEWAL}.",
        ["renewal"],
        registry=registry,
    )
    for renewal, some in soonest.items():
        for one in some:
            first.labels(renewal).set(one.not_after.timestamp())


async def expiries(db: Database, registry: CollectorRegistry, *, now: datetime) -> None:
    """When certificates in use expire: the soonest few, by domain.

    Raises:
        DatabaseDownError: it does not answer.
    """
    expiry = Gauge(
        "lifecycle_certificate_expiry_timestamp_seconds",
        f"When the certificate in use expires: the {_SOONEST} soonest of each kind of renewal: {_RENEWAL}.",
        ["domain", "renewal"],
        registry=registry,
    )
    for renewal, some in (await _soonest(db, limit=_SOONEST, now=now)).items():
        for one in some:
            expiry.labels(one.domain, renewal).set(one.not_after.timestamp())


async def deliveries(db: Database, registry: CollectorRegistry) -> None:
    """Messages that wait for their next attempt, which may be five seconds old.

    Raises:
        DatabaseDownError: it does not answer.
    """
    counts = await _deliveries.of(db)
    waiting = Gauge(
        "lifecycle_deliveries_waiting", "Deliveries that wait for their next attempt.", ["channel"], registry=registry
    )
    failing = Gauge("lifecycle_deliveries_failing", "Those of them that have failed.", ["channel"], registry=registry)
    for channel in Channel:
        number, failed = counts.get(channel, (0, 0))
        waiting.labels(channel.value).set(number)
        failing.labels(channel.value).set(failed)


async def _soonest(db: Database, *, limit: int, now: datetime) -> Mapping[str, Sequence[expiry_store.Expiry]]:
    planned = await expiry_store.soonest_expiries(db, limit=limit)
    forgotten = now - expiry_store.FORGOTTEN_AFTER
    return dict(
        zip(_RENEWALS, (planned, await expiry_store.unrenewed_expiries(db, since=forgotten, limit=limit)), strict=True)
    )


async def rate_limits(authorities: Authorities, registry: CollectorRegistry) -> None:
    """What is left of the rate limits of each authority: of the emptiest bucket of each limit.

    Raises:
        DatabaseDownError: it does not answer.
    """
    labels = ["authority", "limit"]
    left = Gauge(
        "lifecycle_rate_limit_left", "Tokens left in the emptiest bucket of a limit.", labels, registry=registry
    )
    size = Gauge("lifecycle_rate_limit_capacity", "Tokens in a full bucket of a limit.", labels, registry=registry)
    blocked = Gauge(
        "lifecycle_rate_limit_blocked", "Buckets that the authority holds back now.", labels, registry=registry
    )
    for authority in authorities.names:
        used = await authorities.budgets(authority)
        for limit in {one.place.limit for one in used}:
            some = [one for one in used if one.place.limit is limit]
            blocked.labels(authority, limit.value).set(sum(one.blocked_until is not None for one in some))
            counted = [one for one in some if one.figure is not None]
            if counted:
                emptiest = min(counted, key=_share)
                left.labels(authority, limit.value).set(0 if emptiest.blocked_until else emptiest.left)
                size.labels(authority, limit.value).set(emptiest.figure.capacity if emptiest.figure else 0)


async def gateway(gateway: Gateway, db: Database, registry: CollectorRegistry) -> None:
    """Whether the gateway of this machine answers, and how far it is behind the database when that answers too."""
    # First the database: what changes in between is newer in the gateway, and not behind.
    wanted = await _or_none("routes", _generations.of(db))
    served = await _or_none("gateway", gateway.generations())
    up = Gauge("lifecycle_gateway_up", "Whether the gateway of this worker answers.", registry=registry)
    up.set(served is not None)
    if wanted is None or served is None:
        return
    behind = [number - served.get(project, 0) for project, number in wanted.items()]
    lag = Gauge(
        "lifecycle_gateway_generation_lag",
        "Changes of routes that the gateway does not serve yet, of the project that is furthest behind.",
        registry=registry,
    )
    lag.set(max(0, *behind) if behind else 0)
    projects = Gauge("lifecycle_gateway_projects_behind", "Projects with such changes.", registry=registry)
    projects.set(sum(one > 0 for one in behind))


async def _or_none(part: str, work: Awaitable[T]) -> T | None:
    """What it gives; None when it is down, fails, or does not answer within three seconds."""
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            return await work
    except (TimeoutError, DatabaseDownError, GatewayDownError):
        return None
    except Exception as error:  # noqa: BLE001  as in `ask`
        _warn(part, error)
        return None


async def of_worker(
    db: Database, authorities: Authorities, haproxy: Gateway | None, registry: CollectorRegistry, *, now: datetime
) -> None:
    """All that only workers say, and whether the database answers."""

    async def stored() -> None:
        await expiries(db, registry, now=now)
        await rate_limits(authorities, registry)

    async with asyncio.TaskGroup() as group:
        group.create_task(ask("database", parts(registry), stored()))
        if haproxy is not None:
            group.create_task(gateway(haproxy, db, registry))


def _share(used: Used) -> float:
    return used.share

"""Metrics of what is stored, read when somebody asks for them: actions, certificates, rate limits, the gateway.

Every process says the same of it, so a query takes the largest and adds nothing up. What a part does not answer is
absent. Domains are named by workers only, whose port is private.
"""

from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, Gauge

from lifecycle.certs import expiry_store
from lifecycle.certs import store as certificates_store
from lifecycle.certs.authorities import Authorities, Used
from lifecycle.db import Database, DatabaseDownError
from lifecycle.deploy import routing_store
from lifecycle.deploy.gateway import Gateway, GatewayDownError
from lifecycle.ledger import icalendar
from lifecycle.ledger import store as ledger_store
from lifecycle.ledger.entry import ActionState

# Enough to see what expires next; a label for every domain would be too many for whoever stores the series.
_SOONEST = 20


async def actions(db: Database, registry: CollectorRegistry, *, overdue_after: timedelta, now: datetime) -> None:
    """Open actions by kind and state, and those that should have begun.

    Raises:
        DatabaseDownError: it does not answer.
    """
    counts = await ledger_store.count_open(db)
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


async def certificates(db: Database, registry: CollectorRegistry) -> None:
    """Certificates by status, and when the first of those in use expires.

    Raises:
        DatabaseDownError: it does not answer.
    """
    counts = await certificates_store.count_by_status(db)
    soonest = await expiry_store.soonest_expiries(db, limit=1)
    domains = Gauge("lifecycle_certificates", "Domains with a certificate, by status.", ["status"], registry=registry)
    for status, number in counts.items():
        domains.labels(status).set(number)
    if soonest:
        first = Gauge(
            "lifecycle_certificates_first_expiry_timestamp_seconds",
            "When the first of the certificates in use expires.",
            registry=registry,
        )
        first.set(soonest[0].not_after.timestamp())


async def expiries(db: Database, registry: CollectorRegistry) -> None:
    """When certificates in use expire: the soonest few, by domain.

    Raises:
        DatabaseDownError: it does not answer.
    """
    expiry = Gauge(
        "lifecycle_certificate_expiry_timestamp_seconds",
        f"When the certificate in use expires: the {_SOONEST} soonest.",
        ["domain"],
        registry=registry,
    )
    for one in await expiry_store.soonest_expiries(db, limit=_SOONEST):
        expiry.labels(one.domain).set(one.not_after.timestamp())


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
    """How far the gateway of this machine is behind the database."""
    up = Gauge("lifecycle_gateway_up", "Whether the gateway of this worker answers.", registry=registry)
    try:
        # First the database: what changes in between is newer in the gateway, and not behind.
        wanted = await routing_store.generations(db)
        served = await gateway.generations()
    except GatewayDownError:
        up.set(0)
        return
    up.set(1)
    behind = [number - served.get(project, 0) for project, number in wanted.items()]
    lag = Gauge(
        "lifecycle_gateway_generation_lag",
        "Changes of routes that the gateway does not serve yet, of the project that is furthest behind.",
        registry=registry,
    )
    lag.set(max(0, *behind) if behind else 0)
    projects = Gauge("lifecycle_gateway_projects_behind", "Projects with such changes.", registry=registry)
    projects.set(sum(one > 0 for one in behind))


async def of_worker(
    db: Database, authorities: Authorities, haproxy: Gateway | None, registry: CollectorRegistry
) -> None:
    """All that only workers say; without the database, that it is away."""
    up = Gauge("lifecycle_up", "Whether a part answers.", ["part"], registry=registry)
    try:
        await expiries(db, registry)
        await rate_limits(authorities, registry)
        if haproxy is not None:
            await gateway(haproxy, db, registry)
    except DatabaseDownError:
        up.labels("database").set(0)
    else:
        up.labels("database").set(1)


def _share(used: Used) -> float:
    return used.share

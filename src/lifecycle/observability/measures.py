"""What this process counts while it works; its `/metrics` shows it. All names and labels of such metrics are here.

No label names a project, a person or a domain: how many values each has follows from our code.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from restate.server_context import restate_context_is_replaying

if TYPE_CHECKING:
    from lifecycle.scheduler.countdown import Countdown

REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)

# Five seconds is what a deletion is promised (LIFECYCLE_DELETION_OVERDUE_AFTER); what is later is counted roughly.
_LATENESS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 3600)
_WORK_BUCKETS = (0.01, 0.05, 0.25, 1, 5, 15, 60, 300, 900, 3600)
# An authority may hold an order back for hours or days.
_ISSUANCE_BUCKETS = (1, 5, 15, 60, 300, 900, 3600, 6 * 3600, 24 * 3600, 7 * 24 * 3600)
_REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)

WAKE_UP_VERDICTS = ("due", "early", "stale")
# The outcomes of a cancel that alerts ask for; any other code of a refusal may follow.
CANCEL_OUTCOMES = ("cancelled", "engine_unavailable")
# Why an attempt of a handler failed, and why one of a step did.
OUTAGE, DEFECT = "outage", "defect"
STEP_REASONS = ("failed", "refused", "verdict")

LATENESS = Histogram(
    "lifecycle_action_lateness_seconds",
    "From the due time of an action to the decision to carry it out.",
    ["kind"],
    buckets=_LATENESS_BUCKETS,
    registry=REGISTRY,
)
WAKEUPS = Counter(
    "lifecycle_wakeups",
    "Wake-ups that arrived: due, early, or stale, which means that a cancel or a move had overtaken it.",
    ["kind", "verdict"],
    registry=REGISTRY,
)
CANCELS = Counter(
    "lifecycle_cancels",
    "Answers to cancels of actions: cancelled, or the code of the refusal.",
    ["kind", "outcome"],
    registry=REGISTRY,
)
TRANSITIONS = Counter(
    "lifecycle_transitions",
    "Transitions that were written into the audit log, by name.",
    ["action"],
    registry=REGISTRY,
)
PURGE = Histogram(
    "lifecycle_purge_seconds",
    "From the beginning of a purge to its receipt.",
    buckets=_WORK_BUCKETS,
    registry=REGISTRY,
)
ISSUANCE = Histogram(
    "lifecycle_issuance_seconds",
    "From the beginning of an issuance to its end, pauses included, by how it ended.",
    ["ending"],
    buckets=_ISSUANCE_BUCKETS,
    registry=REGISTRY,
)
STEP = Histogram(
    "lifecycle_step_seconds",
    "Durable steps that were carried out, each attempt by itself.",
    ["service", "step"],
    buckets=_WORK_BUCKETS,
    registry=REGISTRY,
)
STEP_FAILURES = Counter(
    "lifecycle_step_failures",
    "Attempts of durable steps that failed and are repeated, or whose answer was a failure of somebody else.",
    ["service", "step", "reason"],
    registry=REGISTRY,
)
ATTEMPT_FAILURES = Counter(
    "lifecycle_invocation_failures",
    "Attempts of handlers that ended with an error that is no refusal; the engine repeats them. By reason: outage, "
    "which is that of a part which does not answer, or defect, which is ours.",
    ["service", "handler", "reason"],
    registry=REGISTRY,
)
REQUEST = Histogram(
    "lifecycle_http_request_seconds",
    "Requests to the API, by route.",
    ["method", "route", "status"],
    buckets=_REQUEST_BUCKETS,
    registry=REGISTRY,
)


def begin_api(kinds: Iterable[str]) -> None:
    """Make the series that alerts about the API ask for, so that they begin at 0: a first one is seen to be more.

    Args:
        kinds: of actions.
    """
    for kind in kinds:
        for outcome in CANCEL_OUTCOMES:
            CANCELS.labels(kind, outcome)


def begin_worker(kinds: Iterable[str], endings: Iterable[str], handlers: Iterable[tuple[str, str]]) -> None:
    """The same for a worker.

    Args:
        kinds: of actions.
        endings: of issuances.
        handlers: of services, each with the name of its service.
    """
    for kind in kinds:
        LATENESS.labels(kind)
        for verdict in WAKE_UP_VERDICTS:
            WAKEUPS.labels(kind, verdict)
    for ending in endings:
        ISSUANCE.labels(ending)
    for service, handler in handlers:
        ATTEMPT_FAILURES.labels(service, handler, DEFECT)


def woken(kind: str, before: "Countdown", after: "Countdown", *, begun_at: datetime | None = None) -> None:
    """A wake-up of an action was decided about; nothing is counted when the decision is only replayed.

    Args:
        kind: of the action.
        before: its countdown, as the wake-up found it.
        after: what became of it.
        begun_at: when it was decided to carry it out; None when that was not decided.
    """
    if restate_context_is_replaying.get():
        return
    if after.stale_wakeups > before.stale_wakeups:
        WAKEUPS.labels(kind, "stale").inc()
    elif after.early_wakeups > before.early_wakeups:
        WAKEUPS.labels(kind, "early").inc()
    else:
        WAKEUPS.labels(kind, "due").inc()
    if begun_at is not None and before.due_at is not None:
        LATENESS.labels(kind).observe(max((begun_at - before.due_at).total_seconds(), 0))


def recorded(action: str) -> None:
    """A transition is in the audit log."""
    if not restate_context_is_replaying.get():
        TRANSITIONS.labels(action).inc()


def purged(begun_at: datetime | None, finished_at: datetime) -> None:
    """A purge is finished, and its project has taken note."""
    if begun_at is not None and not restate_context_is_replaying.get():
        PURGE.observe(max((finished_at - begun_at).total_seconds(), 0))


def issued(ending: str, begun_at: datetime, ended_at: datetime) -> None:
    """An issuance has ended in some way, and its certificate has taken note."""
    if not restate_context_is_replaying.get():
        ISSUANCE.labels(ending).observe(max((ended_at - begun_at).total_seconds(), 0))

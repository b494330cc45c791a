"""Reconciler: once a minute, compares what should happen with what the engine is going to do.

    start ──> sweep ──delayed──> sweep ──> …

    wake-up gone   ──> armed again with the same due time, and an alarm
    overdue        ──> armed again, and an alarm
    purge ended by hand ──> begun again, and an alarm
    rollout ended by hand ──> given up, and an alarm
    purge too long, invocation stuck, engine unreadable ──> an alarm
    gateway and instances ──> InstanceService.upkeep
    certificates served, challenges left behind ──> CertificateUpkeep
    deliveries ──> Outbox.upkeep

Object key: `"reconciler"`. An alarm is a finding that people see until it is mended; one about a project goes to
its audit log as well.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from restate import ObjectContext, ObjectSharedContext, VirtualObject

from lifecycle import clock, ids, policies, resources
from lifecycle.certs import watch
from lifecycle.certs.certificates import look_due, renewal_due
from lifecycle.certs.certificates import settle as certificate_settle
from lifecycle.certs.model import Ending, Outcome, workflow_key
from lifecycle.certs.model import Settled as CertificateSettled
from lifecycle.certs.model import Wake as CertificateWake
from lifecycle.certs.upkeep import KEY as CERTIFICATE_UPKEEP
from lifecycle.certs.upkeep import keep_up
from lifecycle.certs.watch import LostIssuance, MissingRenewal, RunningOut, Troubles
from lifecycle.clock import rfc3339
from lifecycle.db import DatabaseDownError
from lifecycle.deploy.deployments import settle
from lifecycle.deploy.instances import UPKEEP, upkeep
from lifecycle.deploy.model import Settled, Status
from lifecycle.deploy.standby import Wake as StandbyWake
from lifecycle.deploy.standby import expire as standby_expire
from lifecycle.deploy.verification.service import upkeep as domain_upkeep
from lifecycle.engine import Deadline, EngineDownError, LostRollout, LostStandby, Stuck
from lifecycle.ledger.entry import Entry
from lifecycle.ledger.service import record
from lifecycle.models import Durable
from lifecycle.notifications import targets_store
from lifecycle.notifications.notifier import upkeep as deliveries_upkeep
from lifecycle.resources import Resources
from lifecycle.scheduler import alarms
from lifecycle.scheduler.alarms import Finding, Told
from lifecycle.scheduler.model import Wake
from lifecycle.scheduler.projects import expire, resume_purge

_log = logging.getLogger(__name__)

KEY = "reconciler"
STATE = "reconciler"
RUNNING_OUT = "certificate_running_out"
_STUCK_AFTER_RETRIES = 5
# A loop that has not swept for this many intervals is taken for dead and started anew.
_DEAD_AFTER_INTERVALS = 3
_ENDED_BY_HAND = "Its rollout was ended in the engine."
_ISSUANCE_ENDED_BY_HAND = "Its issuance was ended in the engine."

reconciler = VirtualObject(
    "Reconciler",
    description="Heals lost wake-ups and alarms about what is late or stuck.",
    invocation_retry_policy=policies.DECISION.invocations(),
)


class Interval(Durable):
    """Time between two sweeps."""

    seconds: float


class ReconcilerState(Durable):
    """What the reconciler remembers.

    Attributes:
        cleared: findings that are gone, and of which nobody could be told so far that they are.
    """

    generation: int = 0
    sequence: int = 0
    swept_at: datetime | None = None
    rearmed: int = 0
    findings: tuple[Finding, ...] = ()
    cleared: tuple[Finding, ...] = ()


class Look(Durable):
    """What one look at the engine showed.

    Attributes:
        operators: the workspace that is told of what belongs to none.
        operators_unknown: the database did not say which that is.
    """

    now: datetime
    missing: tuple[Deadline, ...] = ()
    overdue: tuple[Deadline, ...] = ()
    lost: tuple[Deadline, ...] = ()
    standbys: tuple[LostStandby, ...] = ()
    rollouts: tuple[LostRollout, ...] = ()
    certificates: Troubles = Troubles()
    findings: tuple[Finding, ...] = ()
    complete: bool = True
    operators: str | None = None
    operators_unknown: bool = False


@reconciler.handler()
async def start(ctx: ObjectContext) -> None:
    """See to it that the loop runs. Harmless when it does."""
    state = await ctx.get(STATE, type_hint=ReconcilerState) or ReconcilerState()
    now = datetime.fromtimestamp(await ctx.time(), UTC)
    interval = await _interval(ctx)
    if state.swept_at is not None and now - state.swept_at < interval * _DEAD_AFTER_INTERVALS:
        return
    started = state.model_copy(update={"generation": state.generation + 1, "swept_at": now})
    ctx.set(STATE, started)
    ctx.object_send(sweep, KEY, Wake(generation=started.generation))


@reconciler.handler(ingress_private=True)
async def sweep(ctx: ObjectContext, wake: Wake) -> None:
    """Look once, mend what can be mended, alarm about the rest, and come back."""
    state = await ctx.get(STATE, type_hint=ReconcilerState) or ReconcilerState()
    if wake.generation != state.generation:
        return
    ctx.object_send(sweep, KEY, wake, send_delay=await _interval(ctx))
    ctx.object_send(upkeep, UPKEEP, None)
    ctx.service_send(domain_upkeep, None)
    ctx.object_send(keep_up, CERTIFICATE_UPKEEP, None)
    ctx.service_send(deliveries_upkeep, None)
    look = await ctx.run_typed("look", _look, policies.ENGINE.options(Look))
    since = {(finding.kind, finding.subject): finding.since for finding in state.findings}
    late = {deadline.project: deadline for deadline in (*look.missing, *look.overdue)}
    for deadline in late.values():
        delay = max(deadline.moment - look.now, timedelta(milliseconds=1))
        ctx.object_send(expire, deadline.project, Wake(generation=deadline.generation), send_delay=delay)
    for standby in look.standbys:
        object_wake = StandbyWake(generation=standby.generation)
        ctx.object_send(standby_expire, standby.deployment, object_wake, send_delay=clock.until(standby.moment))
    for rollout in look.rollouts:
        if ("rollout_lost", rollout.project) in since:  # seen by the last sweep too: it is not just beginning
            ended = Settled(deployment=rollout.deployment, status=Status.FAILED, now=look.now, message=_ENDED_BY_HAND)
            ctx.object_send(settle, rollout.project, ended)
    _mend_certificates(ctx, look.certificates, state.findings)
    for deadline in look.lost:
        ctx.object_send(resume_purge, deadline.project, Wake(generation=deadline.generation))
    seen = tuple(
        new.model_copy(update={"since": since.get((new.kind, new.subject), new.since)}) for new in look.findings
    )
    told = alarms.news(
        (*not_looked_at(look, state.findings), *seen),
        (*state.cleared, *state.findings),
        operators=look.operators,
        operators_unknown=look.operators_unknown,
    )
    sequence = _announce(ctx, state, told.told, look)
    ctx.set(
        STATE,
        state.model_copy(
            update={
                "sequence": sequence,
                "swept_at": look.now,
                "rearmed": state.rearmed + len(late),
                "findings": told.findings,
                "cleared": told.cleared,
            }
        ),
    )


@reconciler.handler(kind="shared", journal_retention=timedelta(0))
async def findings(ctx: ObjectSharedContext) -> ReconcilerState:
    """What is wrong now, and when that was last looked at."""
    return await ctx.get(STATE, type_hint=ReconcilerState) or ReconcilerState()


async def _interval(ctx: ObjectContext) -> timedelta:
    """The setting, once for each invocation: a replay under another one must take the same way."""
    read = await ctx.run_typed("read-interval", _read_interval, policies.DECISION.options(Interval))
    return timedelta(seconds=read.seconds)


async def _read_interval() -> Interval:
    return Interval(seconds=resources.current().settings.reconciler_interval.total_seconds())


def _mend_certificates(ctx: ObjectContext, troubles: Troubles, before: Sequence[Finding]) -> None:
    for renewal in troubles.missing:
        wake = CertificateWake(generation=renewal.generation)
        ctx.object_send(renewal_due, renewal.domain, wake, send_delay=clock.until(renewal.moment))
    for look in troubles.looks:
        wake = CertificateWake(generation=look.generation)
        ctx.object_send(look_due, look.domain, wake, send_delay=clock.until(look.moment))
    for lost in still_lost(troubles.lost, before):
        outcome = Outcome(ending=Ending.AGAIN, message=_ISSUANCE_ENDED_BY_HAND)
        ended = CertificateSettled(issuance=lost.issuance, run=lost.run, outcome=outcome)
        ctx.object_send(certificate_settle, lost.domain, ended)


def still_lost(lost: Sequence[LostIssuance], before: Sequence[Finding]) -> Sequence[LostIssuance]:
    """Those that the last sweep has seen too; any other run may be one that just begins, whatever came before it."""
    seen = {one.about for one in before if one.kind == "issuance_lost"}
    return [one for one in lost if workflow_key(one.issuance, one.run) in seen]


def not_looked_at(look: Look, before: Sequence[Finding]) -> Sequence[Finding]:
    """Of the findings of before, those that stay as they were: whether they are gone could not be seen."""
    if not look.complete:
        seen = {one.kind for one in look.findings}
        return [one for one in before if one.kind not in seen]
    return [one for one in before if one.kind == RUNNING_OUT and look.certificates.lives_unknown]


def _announce(ctx: ObjectContext, state: ReconcilerState, told: Sequence[Told], look: Look) -> int:
    """Record what is new and what is gone; returns the last sequence number used."""
    sequence = state.sequence
    for action, workspace, finding in told:
        sequence += 1
        entry = Entry(
            id=f"{KEY}.{sequence}",
            sequence=sequence,
            workspace=workspace,
            project=finding.subject if ids.is_project_id(finding.subject) else None,
            action=action,
            at=look.now,
            detail={
                "kind": finding.kind,
                "subject": finding.subject,
                "detail": finding.detail,
                "hint": finding.hint,
            },
        )
        ctx.service_send(record, arg=entry)
    return sequence


async def _look() -> Look:
    available = resources.current()
    settings, engine = available.settings, available.engine
    now = clock.now()
    operators = await _operators(available)
    try:
        # The later of the two clocks decides what is due (design, invariant 3): nothing is woken before both say so.
        now = min(now, await engine.clock())
        missing = await engine.missing_timers()
        overdue = await engine.overdue(before=now - settings.deletion_overdue_after)
        purges = await engine.long_purges(started_before=now - settings.deletion_purge_budget)
        lost = await engine.lost_purges(started_before=now - settings.deletion_overdue_after)
        standbys = await engine.missing_standbys()
        rollouts = await engine.lost_rollouts()
        certificates = await watch.look(engine, available.db, now=now, warn_share=settings.certificates_warn_share)
        stuck = await engine.stuck(retries=_STUCK_AFTER_RETRIES)
    except EngineDownError as error:
        _log.warning("alarm kind=engine_unreadable %s", error)
        return Look(now=now, findings=(_engine_unreadable(error, now),), complete=False, **operators)
    found = (
        ("timer_missing", missing, "It was armed again; it had been removed, or had failed."),
        ("overdue", overdue, "It was woken again; see 'lifecycle doctor'."),
        ("purge_lost", lost, "It was begun again; somebody had ended it."),
        ("purge_over_budget", purges, "See what its step says in the engine."),
    )
    findings = [_finding(kind, one, now, hint) for kind, deadlines, hint in found for one in deadlines]
    findings += [_rollout_finding(one, now) for one in rollouts]
    findings += _certificate_findings(certificates, now)
    findings += [_stuck_finding(one, now) for one in stuck]
    for finding in findings:
        _log.warning("alarm kind=%s subject=%s %s", finding.kind, finding.subject, finding.detail)
    return Look(
        now=now,
        missing=tuple(missing),
        overdue=tuple(overdue),
        lost=tuple(lost),
        standbys=tuple(standbys),
        rollouts=tuple(rollouts),
        certificates=certificates,
        findings=tuple(findings),
        **operators,
    )


async def _operators(available: Resources) -> Mapping[str, Any]:
    """Who is told of what belongs to nobody, as fields of a look."""
    name = available.settings.notification_workspace
    try:
        found = None if name is None else await targets_store.workspace_called(available.db, name)
    except DatabaseDownError:
        return {"operators_unknown": True}
    return {"operators": found}


def _finding(kind: str, deadline: Deadline, now: datetime, hint: str) -> Finding:
    return Finding(
        kind=kind,
        subject=deadline.project,
        workspace=deadline.workspace,
        detail=f"generation {deadline.generation}, since {rfc3339(deadline.moment)}",
        hint=hint,
        since=now,
    )


def _rollout_finding(rollout: LostRollout, now: datetime) -> Finding:
    return Finding(
        kind="rollout_lost",
        subject=rollout.project,
        workspace=rollout.workspace,
        detail=f"the rollout of {rollout.deployment} is not carried out by anybody",
        hint="It is given up with the next sweep, and what it started is removed; somebody had ended it.",
        since=now,
    )


def _certificate_findings(troubles: Troubles, now: datetime) -> list[Finding]:
    def about(one: MissingRenewal | LostIssuance | RunningOut, kind: str, detail: str, hint: str) -> Finding:
        return Finding(kind=kind, subject=one.domain, workspace=one.workspace, detail=detail, hint=hint, since=now)

    return [
        *(
            about(
                one, "renewal_timer_missing", f"since {rfc3339(one.moment)}", "It was armed again; it had been removed."
            )
            for one in troubles.missing
        ),
        *(
            about(one, "look_timer_missing", f"since {rfc3339(one.moment)}", "It was armed again; it had been removed.")
            for one in troubles.looks
        ),
        *(
            about(
                one,
                "issuance_lost",
                f"{one.issuance} is not carried out by anybody",
                "It goes on after the next sweep.",
            ).model_copy(update={"about": workflow_key(one.issuance, one.run)})
            for one in troubles.lost
        ),
        *(
            about(one, RUNNING_OUT, one.detail, "See 'lifecycle cert show', and mend what it says.")
            for one in troubles.running_out
        ),
    ]


def _stuck_finding(stuck: Stuck, now: datetime) -> Finding:
    return Finding(
        kind="invocation_stuck",
        subject=f"{stuck.service}/{stuck.handler} {stuck.status}",
        workspace=None,
        detail=f"{stuck.invocations} {stuck.status} after up to {stuck.retries} tries, such as {stuck.target} "
        f"({stuck.example}): {stuck.last_failure[:300]}",
        hint="Mend the cause; what backs off then goes on by itself, what is paused wants a resume.",
        since=now,
    )


def _engine_unreadable(error: EngineDownError, now: datetime) -> Finding:
    return Finding(
        kind="engine_unreadable",
        subject="engine",
        workspace=None,
        detail=str(error),
        hint="Check LIFECYCLE_RESTATE_ADMIN_URL of the worker, and that the engine's admin port answers.",
        since=now,
    )

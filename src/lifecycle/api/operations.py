"""What can be done with a pending action, by kind; used by the action routes and by each kind's own."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import NamedTuple

from lifecycle import clock
from lifecycle.api.certificate_answers import answer
from lifecycle.api.certificate_requests import key_of
from lifecycle.api.context import Context, idempotency
from lifecycle.api.problems import invalid
from lifecycle.api.shapes.certificates import CertificateAnswer
from lifecycle.api.shapes.deletions import CancelAnswer, DeletionAnswer, DeletionMove, deletion_answer
from lifecycle.api.shapes.standby import StandbyAnswer, standby_answer
from lifecycle.certs import model as certs
from lifecycle.deploy import standby
from lifecycle.deploy.standby import KeepRunning, ScheduleStop
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Actor
from lifecycle.observability import logs, measures
from lifecycle.scheduler import entries
from lifecycle.scheduler.model import CancelDeletion, ExpediteDeletion, RescheduleDeletion

Moved = DeletionAnswer | StandbyAnswer | CertificateAnswer


class Operations(NamedTuple):
    """The verbs of one kind of action. Each gets its key (or label), and the generation that is meant or None."""

    subject: Callable[[Context, Actor, str], Awaitable[str]]

    cancel: Callable[[Context, Actor, str, int | None], Awaitable[CancelAnswer]]
    move: Callable[[Context, Actor, str, DeletionMove, int | None], Awaitable[Moved]]
    run: Callable[[Context, Actor, str, int | None, str | None], Awaitable[Moved]]


async def project_of(context: Context, actor: Actor, key: str) -> str:
    """The project id behind the key of a deletion, which may be a slug."""
    project = await context.project_id(actor, key)
    logs.bind(action=f"{entries.KIND}/{project}")
    return project


async def cancel_deletion(context: Context, actor: Actor, project: str, generation: int | None) -> CancelAnswer:
    """Cancel the deletion of a project."""
    with _counted(entries.KIND):
        project = await project_of(context, actor, project)
        command = CancelDeletion(actor=actor, now=clock.now(), generation=generation)
        cancelled = await context.client.cancel_deletion(project, command)
    return CancelAnswer.model_validate(cancelled.model_dump())


async def move_deletion(
    context: Context, actor: Actor, project: str, body: DeletionMove, generation: int | None
) -> DeletionAnswer:
    """Move the deletion of a project."""
    project = await project_of(context, actor, project)
    _check(body)
    command = RescheduleDeletion(
        actor=actor,
        now=clock.now(),
        generation=generation,
        grace_seconds=None if body.grace is None else body.grace.total_seconds(),
        due_at=body.due_at,
    )
    return deletion_answer(project, await context.client.reschedule_deletion(project, command))


async def run_deletion(
    context: Context, actor: Actor, project: str, generation: int | None, idempotency_key: str | None
) -> DeletionAnswer:
    """Expedite the deletion of a project."""
    project = await project_of(context, actor, project)
    command = ExpediteDeletion(actor=actor, now=clock.now(), generation=generation)
    deletion = await context.client.expedite_deletion(
        project, command, idempotency_key=idempotency(actor, idempotency_key, "expedite", project, str(generation))
    )
    return deletion_answer(project, deletion)


async def deployment_of(context: Context, actor: Actor, key: str) -> str:  # noqa: ARG001  as for the other kinds
    """The key of a standby is the deployment's id."""
    return key


async def keep_running(context: Context, actor: Actor, deployment: str, generation: int | None) -> CancelAnswer:
    """Cancel the stop of a deployment."""
    with _counted(standby.KIND):
        kept = await context.client.keep_running(
            deployment, KeepRunning(actor=actor, now=clock.now(), generation=generation)
        )
    return CancelAnswer(outcome="cancelled", generation=kept.generation, cancelled_at=kept.cancelled_at)


async def move_stop(
    context: Context, actor: Actor, deployment: str, body: DeletionMove, generation: int | None
) -> StandbyAnswer:
    """Move the stop of a deployment."""
    due_at = _due_at(body)
    command = ScheduleStop(project="", workspace=actor.workspace, actor=actor, due_at=due_at, generation=generation)
    return standby_answer(deployment, await context.client.schedule_stop(deployment, command))


async def run_stop(
    context: Context,
    actor: Actor,
    deployment: str,
    generation: int | None,
    idempotency_key: str | None,  # noqa: ARG001  stopping twice is stopping once
) -> StandbyAnswer:
    """Stop a deployment now."""
    command = ScheduleStop(
        project="", workspace=actor.workspace, actor=actor, due_at=clock.now(), generation=generation
    )
    return standby_answer(deployment, await context.client.schedule_stop(deployment, command))


async def domain_of(context: Context, actor: Actor, key: str) -> str:  # noqa: ARG001  as for the other kinds
    """The key of a renewal is the domain, in its canonical form."""
    return _renewed(key)


async def cancel_renewal(context: Context, actor: Actor, domain: str, generation: int | None) -> CancelAnswer:
    """Cancel the next renewal of a certificate."""
    with _counted(certs.KIND):
        act = certs.Act(actor=actor, now=clock.now(), generation=generation)
        cancelled = await context.client.cancel_renewal(_renewed(domain), act)
    return CancelAnswer(outcome="cancelled", generation=cancelled.generation, cancelled_at=cancelled.cancelled_at)


async def move_renewal(
    context: Context, actor: Actor, domain: str, body: DeletionMove, generation: int | None
) -> CertificateAnswer:
    """Move the next renewal of a certificate."""
    key, due_at = _renewed(domain), _due_at(body)
    command = certs.RescheduleRenewal(actor=actor, now=clock.now(), generation=generation, due_at=due_at)
    return await answer(context, key, await context.client.reschedule_renewal(key, command))


async def run_renewal(
    context: Context, actor: Actor, domain: str, generation: int | None, idempotency_key: str | None
) -> CertificateAnswer:
    """Renew a certificate now."""
    key = _renewed(domain)
    certificate = await context.client.renew_certificate(
        key,
        certs.Act(actor=actor, now=clock.now(), generation=generation),
        idempotency_key=idempotency(actor, idempotency_key, "run", key, str(generation)),
    )
    return await answer(context, key, certificate)


def _renewed(key: str) -> str:
    domain = key_of(key)
    logs.bind(domain=domain, action=f"{certs.KIND}/{domain}")
    return domain


@contextmanager
def _counted(kind: str) -> Iterator[None]:
    """The block cancels an action of this kind; what comes of it is counted."""
    try:
        yield
    except LifecycleError as error:
        measures.CANCELS.labels(kind, error.code.value).inc()
        raise
    measures.CANCELS.labels(kind, "cancelled").inc()


def _due_at(body: DeletionMove) -> datetime:
    _check(body)
    if body.due_at is not None and body.due_at < clock.now():
        raise LifecycleError(Code.DUE_IN_PAST, due_at=clock.rfc3339(body.due_at), field="due_at")
    return body.due_at or clock.now() + (body.grace or timedelta(0))


def _check(body: DeletionMove) -> None:
    if body.grace is not None and body.due_at is not None:
        raise LifecycleError(Code.GRACE_AND_DUE_AT, field="due_at")
    if body.grace is None and body.due_at is None:
        raise invalid("grace", "give 'grace' or 'due_at'")


KINDS: Mapping[str, Operations] = {
    entries.KIND: Operations(project_of, cancel_deletion, move_deletion, run_deletion),
    standby.KIND: Operations(deployment_of, keep_running, move_stop, run_stop),
    certs.KIND: Operations(domain_of, cancel_renewal, move_renewal, run_renewal),
}

"""ProjectDeletion: the work of deleting a project, from the first row to the signed receipt.

    survey ──> each subsystem: remove, look that it is gone ──> receipt and tombstone ──> settle

Workflow key: `{project id}.{generation}`, so a generation is purged once. Every step is idempotent and
retried until it works; nothing here ever goes back to active. **A new subsystem joins in `SUBSYSTEMS`**, children
before parents: it then has its steps, its receipt line and its place in the progress.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from restate import Workflow, WorkflowContext, WorkflowSharedContext

from lifecycle import clock, policies, resources
from lifecycle.certs import abandonment, certificates, delivery, orders_store, proving
from lifecycle.certs import store as certificates_store
from lifecycle.certs.model import Seal
from lifecycle.db import Connection, Database
from lifecycle.deploy import deployments, instances, launch, routing, routing_store
from lifecycle.deploy import store as deploy_store
from lifecycle.deploy.instances import Target
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Durable
from lifecycle.receipts import signing
from lifecycle.scheduler import store
from lifecycle.scheduler.model import (
    Deletion,
    Project,
    PurgeOrder,
    PurgeProgress,
    Read,
    ReceiptLine,
    Settle,
)

PROGRESS = "progress"
# A rollout that is halted ends at its next step; while it builds an image that may take a while.
_ROLLOUT_ENDS_WITHIN = timedelta(seconds=1)
_ISSUANCE_ENDS_WITHIN = timedelta(seconds=1)

project_deletion = Workflow(
    "ProjectDeletion",
    description="Removes a project and everything that belongs to it, and signs for it.",
    invocation_retry_policy=policies.DECISION.invocations(),
)


class Subsystem(NamedTuple):
    """One kind of thing that a purge removes.

    Attributes:
        name: as the receipt shows it.
        tables: the tables it empties; a test compares them with the foreign keys of the schema.
        find: how many the project has now, by its id.
        remove: removes them all; runs again after a failure, and when nothing is left.
        evidence: how it is known that they are gone.
    """

    name: str
    tables: tuple[str, ...]
    find: Callable[[str], Awaitable[int]]
    remove: Callable[[PurgeOrder], Awaitable[None]]
    evidence: str


def _rows(
    name: str,
    tables: tuple[str, ...],
    count: Callable[[Database, str], Awaitable[int]],
    batch: Callable[[Connection, PurgeOrder], Awaitable[int]],
) -> Subsystem:
    """A subsystem that is rows of the database and nothing else."""

    async def find(project: str) -> int:
        return await count(resources.current().db, project)

    async def remove(order: PurgeOrder) -> None:
        await store.delete_in_batches(resources.current().db, order, batch)

    return Subsystem(name, tables, find, remove, evidence=f"no row left in {', '.join(tables)}")


async def _remove_instances(order: PurgeOrder) -> None:
    await store.seal_project(resources.current().db, order)
    await launch.stop_project(order.project.id)


async def _count_certificates(project: str) -> int:
    return await certificates_store.count_of_project(resources.current().db, project)


async def _remove_certificates(order: PurgeOrder) -> None:
    available = resources.current()
    await store.seal_project(available.db, order)
    # First, for whoever compares the gateway with the database just now would bring back what is removed there.
    await certificates_store.retire_project(available.db, order.project.id)
    for domain in await certificates_store.domains_of_project(available.db, order.project.id):
        await delivery.withdraw(domain)
    await store.delete_in_batches(available.db, order, certificates_store.delete_of_project)


SUBSYSTEMS = (
    Subsystem(
        name="instances",
        tables=(),
        find=launch.count_project,
        remove=_remove_instances,
        evidence="no platform has one any more",
    ),
    Subsystem(
        name="certificates",
        tables=("certificate_domains", "certificates", "acme_orders", "challenges"),
        find=_count_certificates,
        remove=_remove_certificates,
        evidence="the gateway serves none, and no key, order or challenge is left",
    ),
    _rows("routes", ("routes", "sentinel_configs"), routing_store.count, routing_store.delete_of_project),
    _rows(
        "deployments",
        ("deployments", "deployment_steps", "instances"),
        deploy_store.count,
        deploy_store.delete_of_project,
    ),
    _rows("domains", ("domains",), store.count_domains, store.delete_domains),
    _rows("environments", ("environments",), store.count_environments, store.delete_environments),
)


class Survey(Durable):
    """What a purge found before it removed anything, by name of the subsystem."""

    found: Mapping[str, int]


class Domains(Durable):
    """Domains whose certificates belong to the project."""

    domains: tuple[str, ...]


class Running(Durable):
    """Deployments that have instances, or may get some."""

    deployments: tuple[str, ...]


class Burial(Durable):
    """The moment that the receipt states."""

    deleted_at: datetime


@project_deletion.main(ingress_private=True)
async def run(ctx: WorkflowContext, order: PurgeOrder) -> None:
    """Carry out one purge."""
    lines: list[ReceiptLine] = []
    _show(ctx, order, "survey", lines)
    survey = await ctx.run_typed("survey", _survey, policies.DATABASE.options(Survey), order=order)
    if order.project.deployed or survey.found.get("deployments"):
        _show(ctx, order, "seal-deployments", lines)
        await _seal_deployments(ctx, order)
    if survey.found.get("certificates"):
        _show(ctx, order, "seal-certificates", lines)
        await _seal_certificates(ctx, order)
    for subsystem in SUBSYSTEMS:
        _show(ctx, order, f"remove-{subsystem.name}", lines)
        line = await ctx.run_typed(
            f"remove-{subsystem.name}",
            _remove,
            policies.DATABASE.options(ReceiptLine),
            subsystem=subsystem,
            order=order,
            found=survey.found.get(subsystem.name, 0),
        )
        lines.append(line)
    _show(ctx, order, "write-tombstone", lines)
    burial = await ctx.run_typed("write-tombstone", _bury, policies.DATABASE.options(Burial), order=order, lines=lines)
    _show(ctx, order, None, lines)
    # An answer upward is a send by name: an import would make a ring of services that wait for each other.
    message = Settle(generation=order.generation, deleted_at=burial.deleted_at)
    ctx.generic_send("ProjectService", "settle", message.model_dump_json().encode(), key=order.project.id)


@project_deletion.handler(journal_retention=timedelta(0))
async def progress(ctx: WorkflowSharedContext, read: Read) -> PurgeProgress:  # noqa: ARG001  checked by the caller
    """How far the purge is."""
    shown = await ctx.get(PROGRESS, type_hint=PurgeProgress)
    if shown is None:
        raise LifecycleError(Code.PROJECT_NOT_FOUND)
    return shown


async def _seal_deployments(ctx: WorkflowContext, order: PurgeOrder) -> None:
    """See to it that nothing is started any more, and that no host is served."""
    while (await ctx.object_call(deployments.seal, order.project.id, None)).rolling:
        await ctx.sleep(_ROLLOUT_ENDS_WITHIN)
    await ctx.object_call(routing.clear, order.project.id, None)
    # By the object that also starts them: whatever was starting some of them has ended before.
    running = await ctx.run_typed("list-running", _running, policies.DATABASE.options(Running), order=order)
    for deployment in running.deployments:
        await ctx.object_call(instances.stop, deployment, Target(project=order.project.id, deployment=deployment))


async def _seal_certificates(ctx: WorkflowContext, order: PurgeOrder) -> None:
    """See to it that nothing is issued or renewed any more, and that no challenge and no open order is left."""
    found = await ctx.run_typed("list-domains", _domains, policies.DATABASE.options(Domains), order=order)
    seal = Seal(workspace=order.project.workspace, project=order.project.id)
    for domain in found.domains:
        while (await ctx.object_call(certificates.seal, domain, seal)).at_work:
            await ctx.sleep(_ISSUANCE_ENDS_WITHIN)
    await ctx.run_typed("withdraw-challenges", _withdraw, policies.PLATFORM.options(type(None)), order=order)


def order(project: Project, deletion: Deletion) -> PurgeOrder:
    """What a purge must know, taken from a deletion that has just begun."""
    due_at, started_at = deletion.countdown.due_at, deletion.started_at
    if due_at is None or started_at is None or deletion.scheduled_at is None:
        raise ValueError(f"the deletion of {project.id} has not begun")
    return PurgeOrder(
        project=project,
        generation=deletion.generation,
        reason=deletion.reason,
        requested_by=deletion.requested_by.person if deletion.requested_by else "",
        expedited_by=deletion.expedited_by.person if deletion.expedited_by else None,
        scheduled_at=deletion.scheduled_at,
        due_at=due_at,
        started_at=started_at,
    )


def key(project_id: str, deletion: Deletion) -> str:
    """The workflow key of a purge; a workflow runs once, so one that was ended by hand needs another key."""
    first = f"{project_id}.{deletion.generation}"
    return first if deletion.purge_attempt == 1 else f"{first}.{deletion.purge_attempt}"


def _show(ctx: WorkflowContext, order: PurgeOrder, step: str | None, lines: list[ReceiptLine]) -> None:
    ctx.set(PROGRESS, PurgeProgress(generation=order.generation, step=step, lines=tuple(lines)))


async def _survey(order: PurgeOrder) -> Survey:
    """Mark the project as being purged, and count what belongs to it."""
    async with resources.current().precedence.work():
        await store.seal_project(resources.current().db, order)
        return Survey(found={one.name: await one.find(order.project.id) for one in SUBSYSTEMS})


async def _domains(order: PurgeOrder) -> Domains:
    return Domains(domains=tuple(await certificates_store.domains_of_project(resources.current().db, order.project.id)))


async def _withdraw(order: PurgeOrder) -> None:
    for issuance in await orders_store.published_of_project(resources.current().db, order.project.id):
        await proving.withdraw(issuance)
    # What is given up one by one may find its row gone, and then the CA would keep the order.
    await abandonment.give_up_orders_of(order.project.id)


async def _running(order: PurgeOrder) -> Running:
    wanted = await deploy_store.instances(resources.current().db, project=order.project.id)
    return Running(deployments=tuple(dict.fromkeys(one.deployment for one in wanted)))


async def _remove(subsystem: Subsystem, order: PurgeOrder, found: int) -> ReceiptLine:
    async with resources.current().precedence.work():
        await subsystem.remove(order)
        left = await subsystem.find(order.project.id)
    if left:
        raise RuntimeError(f"{order.project.id} still has {left} {subsystem.name}; they are removed again")
    return ReceiptLine(subsystem=subsystem.name, count=found, finished_at=clock.now(), evidence=subsystem.evidence)


async def _bury(order: PurgeOrder, lines: list[ReceiptLine]) -> Burial:
    """Put the signed receipt in the place of the project; a tombstone that is there already stays as it is."""
    available = resources.current()
    now = clock.now()
    # The project's own row goes in the transaction that stores this very receipt.
    last = ReceiptLine(subsystem="project", count=1, finished_at=now, evidence="replaced by the tombstone")
    async with available.precedence.work():
        receipt = await signing.sign(
            available.db, available.vault, order=order, lines=[*lines, last], deleted_at=clock.rfc3339(now)
        )
        return Burial(deleted_at=await store.bury(available.db, order, deleted_at=now, receipt=receipt))

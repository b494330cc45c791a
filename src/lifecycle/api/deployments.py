"""/v1/deployments: deploy, show, cancel, roll back, promote, stop, wake."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import PlainTextResponse

from lifecycle import clock, ids
from lifecycle.access import store as access_store
from lifecycle.api import paging, uploads
from lifecycle.api.context import ActorOf, Context, ContextOf, IdempotencyKey, require
from lifecycle.api.paths import UNQUOTED
from lifecycle.api.projects import ProjectRef
from lifecycle.api.shapes import deployments as shapes
from lifecycle.api.shapes.deployments import DeploymentAnswer, DeploymentList, NewDeployment
from lifecycle.deploy import builds, routing_store, rules, store
from lifecycle.deploy.model import Act, Deploy, Fleet, Spec
from lifecycle.errors import CATALOG, Code, LifecycleError
from lifecycle.models import Actor, Role
from lifecycle.scheduler import store as project_store

router = APIRouter(prefix="/v1", tags=["deployments"])

DeploymentRef = Annotated[
    str, UNQUOTED, Path(max_length=60, description="Id of a deployment.", examples=[shapes.EXAMPLE_DEPLOYMENT])
]


@router.post("/projects/{project}/deployments", status_code=202, summary="Deploy")
async def deploy(
    project: ProjectRef,
    body: NewDeployment,
    context: ContextOf,
    actor: ActorOf,
    idempotency_key: IdempotencyKey = None,
) -> DeploymentAnswer:
    """Rolls out an image, a command, or a source that is uploaded afterwards. Needs the role operator.

    One rollout runs at a time per project; a newer one for the same branch supersedes those that still wait.
    """
    require(actor, Role.OPERATOR)
    row = await project_store.find_project(context.db, workspace=actor.workspace, reference=project)
    if row is None:
        raise LifecycleError(Code.PROJECT_NOT_FOUND)
    deployment = (
        ids.new("dep")
        if idempotency_key is None
        else ids.derived("dep", actor.workspace, actor.key, idempotency_key, row.id, body.model_dump_json())
    )
    now = clock.now()
    spec = Spec(
        **body.model_dump(exclude={"env", "regions"}),
        id=deployment,
        project=row.id,
        workspace=actor.workspace,
        workspace_name=await access_store.workspace_name(context.db, actor.workspace),
        slug=row.slug,
        regions=_regions(context, body),
        sealed_variables=context.vault.seal(json.dumps(dict(body.env)).encode(), bound_to=deployment)
        if body.env
        else None,
        requested_by=actor.person,
        created_at=now,
    )
    await store.insert(context.db, spec)
    try:
        fleet = await context.client.deploy(spec.project, Deploy(actor=actor, now=now, spec=spec))
    except LifecycleError as error:
        if CATALOG[error.code].status < HTTPStatus.INTERNAL_SERVER_ERROR:
            await store.forget(context.db, deployment)
        raise
    return await _one(context, actor, deployment, fleet)


@router.get("/projects/{project}/deployments", summary="List deployments")
async def list_all(
    project: ProjectRef,
    context: ContextOf,
    actor: ActorOf,
    cursor: paging.Cursor = None,
    limit: Annotated[int, Query(ge=1, le=200, description="Most items in one answer.")] = 20,
) -> DeploymentList:
    """Lists the deployments of a project, newest first."""
    row = await project_store.find_project(context.db, workspace=actor.workspace, reference=project)
    if row is None:
        raise LifecycleError(Code.PROJECT_NOT_FOUND)
    after = None
    if cursor:
        at, last = paging.decode(cursor, parts=2)
        after = (paging.moment(at), last)
    rows = await store.list_of_project(context.db, row.id, after=after, limit=limit)
    more = paging.encode(rows[-1].spec.created_at.isoformat(), rows[-1].spec.id) if len(rows) == limit else None
    return DeploymentList(
        items=await _answers(context, actor, rows, await _fleet(context, row.id)) if rows else (), next_cursor=more
    )


@router.get("/deployments/{deployment}", summary="Show a deployment")
async def show(deployment: DeploymentRef, context: ContextOf, actor: ActorOf) -> DeploymentAnswer:
    """Shows a deployment with its steps, where it serves, and what can be done with it."""
    return await _one(context, actor, deployment)


@router.post("/deployments/{deployment}/cancel", status_code=202, summary="Cancel a rollout")
async def cancel(deployment: DeploymentRef, context: ContextOf, actor: ActorOf) -> DeploymentAnswer:
    """Gives a rollout up; routes that moved already go back. Needs the role operator."""
    return await _act(context, actor, deployment, context.client.cancel_deployment)


@router.post("/deployments/{deployment}/rollback", status_code=202, summary="Roll back to a deployment")
async def rollback(deployment: DeploymentRef, context: ContextOf, actor: ActorOf) -> DeploymentAnswer:
    """Makes this deployment live instead of the present one, and keeps it live.

    Newer ones do not take its domains until one is promoted. A stopped one is woken, and takes over when it is
    healthy. Needs the role operator.
    """
    return await _act(context, actor, deployment, context.client.rollback)


@router.post("/deployments/{deployment}/promote", status_code=202, summary="Promote a deployment")
async def promote(deployment: DeploymentRef, context: ContextOf, actor: ActorOf) -> DeploymentAnswer:
    """Makes this deployment live and ends the effect of a rollback. Needs the role operator."""
    return await _act(context, actor, deployment, context.client.promote)


@router.post("/deployments/{deployment}/stop", status_code=202, summary="Stop a deployment")
async def stop(deployment: DeploymentRef, context: ContextOf, actor: ActorOf) -> DeploymentAnswer:
    """Stops a deployment that is not live. Needs the role operator."""
    return await _act(context, actor, deployment, context.client.stop_deployment)


@router.post("/deployments/{deployment}/wake", status_code=202, summary="Wake a deployment")
async def wake(deployment: DeploymentRef, context: ContextOf, actor: ActorOf) -> DeploymentAnswer:
    """Starts a stopped deployment again, into standby. Needs the role operator."""
    return await _act(context, actor, deployment, context.client.wake_deployment)


@router.put("/deployments/{deployment}/source", status_code=202, summary="Upload the source")
async def upload(deployment: DeploymentRef, request: Request, context: ContextOf, actor: ActorOf) -> DeploymentAnswer:
    """Takes a tarball with a Dockerfile at its top, for a deployment with `source`.

    The build begins when the upload is complete. One that broke off can be repeated. Needs the role operator.
    """
    require(actor, Role.OPERATOR)
    listing = await _find(context, actor, deployment)
    # The rollout knows first whether it still waits; the database, for how it ended.
    wanted = listing.spec.source and not listing.status.is_terminal
    if not (wanted and await context.client.source_expected(deployment)):
        raise LifecycleError(Code.SOURCE_NOT_EXPECTED, deployment=deployment)
    await uploads.keep(
        request.stream(),
        builds.source_of(context.settings, deployment),
        most_bytes=context.settings.deploy_largest_source,
    )
    await context.client.source_uploaded(deployment)
    return await _one(context, actor, deployment)


@router.get("/deployments/{deployment}/logs", summary="Read the logs", response_class=PlainTextResponse)
async def logs(
    deployment: DeploymentRef,
    context: ContextOf,
    actor: ActorOf,
    lines: Annotated[int, Query(ge=1, le=10_000, description="Last lines of each.")] = 100,
) -> str:
    """Shows what the build and the instances printed last, as plain text."""
    listing = await _find(context, actor, deployment)
    parts = [uploads.tail(builds.log_of(context.settings, deployment), lines=lines)]
    for instance in await store.instances(context.db, deployment=listing.spec.id):
        platform = context.platforms.get(instance.region)
        if platform is not None:
            parts.append(await platform.logs(instance.id, lines=lines))
    return "\n".join(part for part in parts if part)


@router.get("/deployments/{deployment}/openapi", summary="Read its OpenAPI document", response_class=PlainTextResponse)
async def openapi(deployment: DeploymentRef, context: ContextOf, actor: ActorOf) -> str:
    """Shows the OpenAPI document that an instance served when it was ready, as plain text; empty when none did."""
    await _find(context, actor, deployment)
    return await store.openapi(context.db, deployment) or ""


async def _act(
    context: Context, actor: Actor, deployment: str, ask: Callable[[str, Act], Awaitable[Fleet]]
) -> DeploymentAnswer:
    listing = await _find(context, actor, deployment)
    fleet = await ask(listing.spec.project, Act(actor=actor, now=clock.now(), deployment=deployment))
    return await _one(context, actor, deployment, fleet)


async def _find(context: Context, actor: Actor, deployment: str) -> store.Listing:
    found = await store.find(context.db, deployment, workspace=actor.workspace)
    if found is None:
        raise LifecycleError(Code.DEPLOYMENT_NOT_FOUND, deployment=deployment)
    return found


async def _one(context: Context, actor: Actor, deployment: str, fleet: Fleet | None = None) -> DeploymentAnswer:
    listing = await _find(context, actor, deployment)
    fleet = fleet or await _fleet(context, listing.spec.project)
    answers = await _answers(context, actor, [listing], fleet)
    return answers[0]


async def _fleet(context: Context, project: str) -> Fleet | None:
    try:
        return await context.client.fleet(project)
    except LifecycleError:
        return None  # the database knows enough to show


async def _answers(
    context: Context, actor: Actor, listings: Sequence[store.Listing], fleet: Fleet | None
) -> tuple[DeploymentAnswer, ...]:
    project = listings[0].spec.project
    steps = await store.steps(context.db, [listing.spec.id for listing in listings])
    instances = await store.instances(context.db, project=project)
    routes = await routing_store.routes(context.db, project)
    return tuple(
        _answer(
            listing,
            fleet,
            actor,
            steps=tuple(shapes.step(row) for row in steps[listing.spec.id]),
            domains=tuple(route.hostname for route in routes if route.deployment == listing.spec.id),
            instances=tuple(
                shapes.InstanceAnswer(id=one.id, region=one.region, address=one.address)
                for one in instances
                if one.deployment == listing.spec.id
            ),
        )
        for listing in listings
    )


def _answer(listing: store.Listing, fleet: Fleet | None, actor: Actor, **found: tuple[object, ...]) -> DeploymentAnswer:
    spec, member = listing.spec, None if fleet is None else fleet.member(listing.spec.id)
    shown: dict[str, object] = {
        **spec.model_dump(include={"id", "project", "environment", "command", "branch", "commit_sha", "replicas"}),
        "regions": spec.regions,
        "created_at": spec.created_at,
        "created_by": spec.requested_by,
        "status": listing.status,
        "message": listing.message,
        "live": listing.live,
        "pinned": listing.pinned,
        "running": listing.running,
        "image": listing.image,
        "available_actions": (),
    }
    if fleet is not None and member is not None:
        # What was decided counts, also while the database does not know it yet.
        if member.status.is_terminal:
            shown |= {"status": member.status, "message": member.message}
        shown |= {
            "live": fleet.is_live(spec.id),
            "running": member.running,
            "pinned": spec.environment in fleet.pinned,
            "available_actions": _available(rules.available_actions(fleet, spec.id, actor, clock.now())),
        }
    return DeploymentAnswer.model_validate({**shown, **found})


def _available(actions: Mapping[str, LifecycleError | None]) -> tuple[shapes.AvailableAction, ...]:
    return tuple(
        shapes.AvailableAction(action=name, allowed=True)
        if error is None
        else shapes.AvailableAction(
            action=name, allowed=False, code=error.code.value, reason=error.message, hint=error.hint
        )
        for name, error in actions.items()
    )


def _regions(context: Context, body: NewDeployment) -> tuple[str, ...]:
    """The regions that were asked for, else all that can run it."""
    known = context.regions
    fitting = [name for name, url in known.items() if url.startswith("docker:") == bool(body.image or body.source)]
    wanted = body.regions if body.regions is not None else tuple(fitting)
    for name in wanted or ("",):
        if name not in fitting:
            choice = ", ".join(fitting) or "none that runs " + ("images" if body.image or body.source else "commands")
            raise LifecycleError(Code.REGION_UNKNOWN, region=name or "for this", regions=choice, field="regions")
    return tuple(dict.fromkeys(wanted))

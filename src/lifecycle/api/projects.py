"""/v1/projects: make, list, show, change."""

from typing import Annotated

from fastapi import APIRouter, Path

from lifecycle import clock, ids
from lifecycle.api import paging
from lifecycle.api.context import ActorOf, Context, ContextOf, IdempotencyKey, require
from lifecycle.api.paths import UNQUOTED
from lifecycle.api.problems import invalid
from lifecycle.api.shapes.projects import NewProject, ProjectAnswer, ProjectChange, ProjectList
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Actor, Role
from lifecycle.scheduler import store
from lifecycle.scheduler.model import ConfigureProject, CreateProject, Project, Read

router = APIRouter(prefix="/v1/projects", tags=["projects"])

ProjectRef = Annotated[str, UNQUOTED, Path(description="Id (`prj_…`) or slug of a project.", examples=["shop"])]


@router.post("", status_code=201, summary="Make a project")
async def create(
    body: NewProject, context: ContextOf, actor: ActorOf, idempotency_key: IdempotencyKey = None
) -> ProjectAnswer:
    """Makes a project with the environments production and preview. Needs the role operator.

    With an Idempotency-Key the same request makes one project, however often it is sent.
    """
    require(actor, Role.OPERATOR)
    # Asked first so that nothing is sent while the database is down; the claim itself is the object's.
    owner = await store.find_project(context.db, workspace=actor.workspace, reference=body.slug)
    project_id = (
        ids.new("prj")
        if idempotency_key is None
        else ids.derived("prj", actor.workspace, actor.key, idempotency_key, body.model_dump_json())
    )
    if owner is not None and owner.id != project_id:
        raise LifecycleError(Code.SLUG_TAKEN, slug=body.slug, field="slug")
    command = CreateProject(actor=actor, now=clock.now(), slug=body.slug, name=body.name or body.slug)
    return await _answer(context, actor, await context.client.create_project(project_id, command))


@router.get("", summary="List projects")
async def list_all(
    context: ContextOf, actor: ActorOf, cursor: paging.Cursor = None, limit: paging.Limit = 100
) -> ProjectList:
    """Lists the projects of the workspace, oldest first; deleted ones are gone, see tombstones."""
    after = paging.decode(cursor, parts=1)[0] if cursor else ""
    rows = await store.list_projects(context.db, workspace=actor.workspace, after=after, limit=limit)
    return ProjectList(
        items=tuple(_listed(row) for row in rows),
        next_cursor=paging.encode(rows[-1].id) if len(rows) == limit else None,
    )


@router.get("/{project}", summary="Show a project")
async def show(project: ProjectRef, context: ContextOf, actor: ActorOf) -> ProjectAnswer:
    """Shows one project with its state: active, scheduled or purging."""
    row = await store.find_project(context.db, workspace=actor.workspace, reference=project)
    if row is None:
        raise LifecycleError(Code.PROJECT_NOT_FOUND)
    return _listed(row)


@router.patch("/{project}", summary="Change settings")
async def change(project: ProjectRef, body: ProjectChange, context: ContextOf, actor: ActorOf) -> ProjectAnswer:
    """Changes the name (operator) or the protection against deletion (administrator)."""
    if body.name is None and body.protected is None:
        raise invalid("name", "give 'name' or 'protected'")
    project_id = await context.project_id(actor, project)
    command = ConfigureProject(actor=actor, now=clock.now(), name=body.name, protected=body.protected)
    changed = await context.client.configure_project(project_id, command)
    return await _answer(context, actor, changed)


async def _answer(context: Context, actor: Actor, project: Project) -> ProjectAnswer:
    deletion = await context.client.deletion(project.id, Read(workspace=actor.workspace))
    shown = project.model_dump(exclude={"workspace"})
    return ProjectAnswer.model_validate({**shown, "state": deletion.project_state, "environments": store.ENVIRONMENTS})


def _listed(row: store.ProjectListing) -> ProjectAnswer:
    return ProjectAnswer.model_validate({**row._asdict(), "environments": store.ENVIRONMENTS})

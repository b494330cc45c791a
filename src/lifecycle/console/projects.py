"""Projects: all of them, and everything about one in one look."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Query, Response

from lifecycle.api import actions, certificates, deletions, deployments, domains, paging, projects, records
from lifecycle.api.actions import ActionQuery
from lifecycle.api.context import Context, ContextOf
from lifecycle.api.deletions import HoldRef
from lifecycle.api.domains import DomainRef
from lifecycle.api.projects import ProjectRef
from lifecycle.api.shapes.deletions import DeletionAnswer, NewHold
from lifecycle.api.shapes.deployments import DeploymentAnswer
from lifecycle.api.shapes.domains import DomainAnswer, NewDomain
from lifecycle.api.shapes.projects import NewProject, ProjectChange
from lifecycle.console import bars, notices, rights
from lifecycle.console import hosts as host_names
from lifecycle.console.notices import DoneOf
from lifecycle.console.pages import PageRoute, asked, page, to
from lifecycle.console.sessions import SentOf, Visitor, VisitorOf
from lifecycle.deploy.domains import Kind
from lifecycle.deploy.model import Environment, Status
from lifecycle.errors import CATALOG, Code, LifecycleError
from lifecycle.ids import HoldName
from lifecycle.ledger import due_store
from lifecycle.models import Actor
from lifecycle.scheduler import store
from lifecycle.scheduler.model import Phase

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_SHOWN = 50
_SHOWN_OF_ONE = 10
_MOST_CERTIFICATES = 100
_MOST_ACTIONS = 20
_MOST_LETTERS = 200
_FAULT = HTTPStatus.INTERNAL_SERVER_ERROR

# What the page says after a form was carried out.
SAID: Mapping[str, str] = {
    "created": "The project is there. Deploy something to it next.",
    "changed": "The settings are changed.",
    "held": "The hold is placed: no deletion of this project is carried out before it is released.",
    "released": "The hold is released.",
    "added": "The domain is added. Set its records, and it is served as soon as they are found.",
    "looked": "DNS was asked; this is what it says now.",
    "removed": "The domain is removed.",
    "cancelled": "The deletion is cancelled. The project stays.",
}


class NamedHold(NewHold):
    """A hold as the form has it."""

    name: HoldName


class Serving(NamedTuple):
    """What is live in an environment.

    Attributes:
        deployment: its id; None: nothing is.
        shown: the deployment itself, when it is among the newest.
        hosts: the names that show what is live there.
        earlier: the newest one before it that can take over again.
    """

    environment: Environment
    deployment: str | None
    shown: DeploymentAnswer | None
    hosts: tuple[DomainAnswer, ...]
    earlier: DeploymentAnswer | None


@router.get("/projects")
async def list_all(
    context: ContextOf,
    visitor: VisitorOf,
    find: Annotated[str, Query(max_length=_MOST_LETTERS)] = "",
    state: Annotated[str, Query(max_length=_MOST_LETTERS)] = "",
    cursor: paging.Cursor = None,
) -> Response:
    """The projects, or straight to the one that is looked for; `?state=deleted` shows what remains of deleted ones."""
    if state == "deleted":
        return await _graves(context, visitor, cursor)
    if find.strip():
        where = await _found(context, visitor.actor, find.strip())
        if where is not None:
            return to(where)
    return await _listed(context, visitor, find=find.strip(), cursor=cursor)


@router.post("/projects")
async def create(context: ContextOf, sent: SentOf) -> Response:
    """Makes a project; what is refused is said beside the form."""
    try:
        body = asked(lambda: NewProject(slug=sent.get("slug"), name=sent.get("name") or None))
        made = await projects.create(body, context, sent.visitor.actor)
    except LifecycleError as error:
        if CATALOG[error.code].status >= _FAULT:
            raise
        return await _listed(context, sent.visitor, refused=error, typed=sent.fields)
    return notices.done(f"/projects/{made.slug}", "created")


@router.get("/projects/{project}")
async def show(
    project: ProjectRef, context: ContextOf, visitor: VisitorOf, done: DoneOf, cursor: paging.Cursor = None
) -> Response:
    """One project; of one that is deleted, what remains of it."""
    actor = visitor.actor
    try:
        shown = await projects.show(project, context, actor)
    except LifecycleError as error:
        where = await _buried(context, actor, project) if error.code is Code.PROJECT_NOT_FOUND else None
        if where is None:
            raise
        return to(where)
    # Both ask the engine; one after the other they would outlast the request while it hangs.
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(deletion_of(context, actor, shown.id))
        listing = group.create_task(deployments.list_all(shown.id, context, actor, cursor, _SHOWN_OF_ONE))
    (deletion, trouble), listed = reading.result(), listing.result()
    known = await host_names.of_project(context, shown.id)
    newest = listed.items if cursor is None else ()
    now_pending = await actions.list_all(context, actor, ActionQuery(project=shown.id, limit=_MOST_ACTIONS))
    return page(
        "project.html",
        visitor,
        project=shown,
        deletion=deletion,
        trouble=trouble,
        deployments=listed,
        is_first=cursor is None,
        serving=[serving(one, known.items, newest) for one in Environment],
        hosts=known.items,
        all_hosts=known.total,
        more_custom=known.more_brought,
        custom=[one for one in known.items if one.kind is Kind.CUSTOM],
        certificates=await certificates.list_all(
            context, actor, project=shown.id, status=None, cursor=None, limit=_MOST_CERTIFICATES
        ),
        pending=now_pending.items,
        environments=list(Environment),
        may=rights.of(actor),
        bars=bars,
        said=SAID.get(done, "") if _is_so(done, deletion) else "",
        is_moving=shown.state == "purging" or trouble is not None or any(not one.status.is_terminal for one in newest),
    )


@router.post("/projects/{project}/settings")
async def change(project: ProjectRef, context: ContextOf, sent: SentOf) -> Response:
    """Changes the name, or the protection against deletion."""
    protected = {"yes": True, "no": False}.get(sent.get("protected"))
    body = asked(lambda: ProjectChange(name=sent.get("name") or None, protected=protected))
    await projects.change(project, body, context, sent.visitor.actor)
    return notices.done(f"/projects/{project}", "changed")


@router.post("/projects/{project}/holds")
async def hold(project: ProjectRef, context: ContextOf, sent: SentOf) -> Response:
    """Places a hold."""
    named = asked(lambda: NamedHold(name=sent.get("name").lower(), reason=sent.get("reason")))
    await deletions.place_hold(project, named.name, NewHold(reason=named.reason), context, sent.visitor.actor)
    return notices.done(f"/projects/{project}", "held")


@router.get("/projects/{project}/holds/{name}/release")
async def confirm_release(project: ProjectRef, name: HoldRef, context: ContextOf, visitor: VisitorOf) -> Response:
    """Says what a hold stops, and asks whether it is to be released."""
    deletion = await deletions.show(project, context, visitor.actor, Response())
    found = next((one for one in deletion.holds if one.name == name), None)
    if found is None:
        raise LifecycleError(Code.HOLD_NOT_FOUND, project=project, name=name)
    return page("release.html", visitor, project=project, hold=found, deletion=deletion)


@router.post("/projects/{project}/holds/{name}/release")
async def release(project: ProjectRef, name: HoldRef, context: ContextOf, sent: SentOf) -> Response:
    """Releases a hold."""
    await deletions.release_hold(project, name, context, sent.visitor.actor)
    return notices.done(f"/projects/{project}", "released")


@router.post("/projects/{project}/domains")
async def add_domain(project: ProjectRef, context: ContextOf, sent: SentOf) -> Response:
    """Gives the project a domain."""
    body = asked(lambda: NewDomain.model_validate({name: sent.get(name) for name in ("domain", "environment")}))
    await domains.add(project, body, context, sent.visitor.actor)
    return notices.done(f"/projects/{project}", "added")


@router.post("/projects/{project}/domains/{domain}/verify")
async def verify_domain(project: ProjectRef, domain: DomainRef, context: ContextOf, sent: SentOf) -> Response:
    """Looks at its records now."""
    await domains.verify(project, domain, context, sent.visitor.actor)
    return notices.done(f"/projects/{project}", "looked")


@router.get("/projects/{project}/domains/{domain}/remove")
async def confirm_removal(project: ProjectRef, domain: DomainRef, context: ContextOf, visitor: VisitorOf) -> Response:
    """Says what visitors of the domain get afterwards, and asks."""
    shown = await domains.show(project, domain, context, visitor.actor)
    return page("remove_domain.html", visitor, project=project, domain=shown)


@router.post("/projects/{project}/domains/{domain}/remove")
async def remove_domain(project: ProjectRef, domain: DomainRef, context: ContextOf, sent: SentOf) -> Response:
    """Takes the domain away."""
    await domains.remove(project, domain, context, sent.visitor.actor)
    return notices.done(f"/projects/{project}", "removed")


async def deletion_of(
    context: Context, actor: Actor, project: str
) -> tuple[DeletionAnswer | None, LifecycleError | None]:
    """What the engine says of a project's deletion; while it does not answer, why not."""
    try:
        return await deletions.show(project, context, actor, Response()), None
    except LifecycleError as error:
        if CATALOG[error.code].status < _FAULT:
            raise
        return None, error


def serving(environment: Environment, hosts: tuple[DomainAnswer, ...], newest: tuple[DeploymentAnswer, ...]) -> Serving:
    """What is live in an environment, and what it can be rolled back to.

    Args:
        environment: which.
        hosts: names of the project, among them those that follow what is live.
        newest: its newest deployments, newest first.
    """
    there = [one for one in newest if one.environment is environment]
    follow = tuple(one for one in hosts if one.environment is environment and one.kind.follows_live and one.status.owns)
    live = next((one for one in there if one.live), None)
    known = live.id if live else next((one.deployment for one in follow if one.deployment), None)
    before = there[there.index(live) + 1 :] if live else []
    earlier = next((one for one in before if one.status in (Status.READY, Status.STOPPED)), None)
    return Serving(environment, known, live, follow, earlier)


def _is_so(done: str, deletion: DeletionAnswer | None) -> bool:
    """Whether what was done a moment ago still holds; others may have undone it."""
    return done != "cancelled" or (deletion is not None and deletion.phase is Phase.NONE)


async def _listed(
    context: Context,
    visitor: Visitor,
    *,
    find: str = "",
    cursor: str | None = None,
    refused: LifecycleError | None = None,
    typed: Mapping[str, str] = MappingProxyType({}),
) -> Response:
    listed = await projects.list_all(context, visitor.actor, cursor, _SHOWN)
    ids = [one.id for one in listed.items]
    return page(
        "projects.html",
        visitor,
        status=CATALOG[refused.code].status if refused else HTTPStatus.OK,
        listed=listed,
        due=await due_store.of_projects(context.db, ids, workspace=visitor.actor.workspace),
        find=find,
        cursor=cursor,
        refused=refused,
        typed=typed,
        may=rights.of(visitor.actor),
    )


async def _graves(context: Context, visitor: Visitor, cursor: str | None) -> Response:
    """The projects that were deleted, the latest first."""
    before = None
    if cursor:
        moment, project = paging.decode(cursor, parts=2)
        before = (paging.moment(moment), project)
    found = await store.list_tombstones(context.db, workspace=visitor.actor.workspace, before=before, limit=_SHOWN)
    is_more = len(found) == _SHOWN
    next_cursor = paging.encode(found[-1].deleted_at.isoformat(), found[-1].project) if is_more else None
    return page("projects_deleted.html", visitor, found=found, cursor=cursor, next_cursor=next_cursor)


async def _found(context: Context, actor: Actor, reference: str) -> str | None:
    """Where the page of a project is, or of what remains of it."""
    try:
        return f"/projects/{(await projects.show(reference, context, actor)).slug}"
    except LifecycleError as error:
        if error.code is not Code.PROJECT_NOT_FOUND:
            raise
        return await _buried(context, actor, reference)


async def _buried(context: Context, actor: Actor, reference: str) -> str | None:
    try:
        grave = await records.tombstone(reference, context, actor)
    except LifecycleError as error:
        if error.code is not Code.TOMBSTONE_NOT_FOUND:
            raise
        return None
    return f"/projects/{grave.project}/deletion"

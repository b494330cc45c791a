"""The deletion of a project: what would go, the grace, the purge step by step, and the receipt."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, NamedTuple

from fastapi import APIRouter, Response

from lifecycle import clock
from lifecycle.api import deletions, deliveries, projects, records
from lifecycle.api.context import Context, ContextOf, if_match
from lifecycle.api.projects import ProjectRef
from lifecycle.api.shapes.deletions import DeletionAnswer, DeletionMove, DryRunAnswer, NewDeletion
from lifecycle.api.shapes.notifications import DeliveryAnswer
from lifecycle.api.shapes.projects import ProjectAnswer
from lifecycle.api.shapes.records import TombstoneAnswer
from lifecycle.console import hosts, notices, purges, rights
from lifecycle.console.notices import DoneOf
from lifecycle.console.pages import PageRoute, asked, page
from lifecycle.console.projects import deletion_of
from lifecycle.console.sessions import Sent, SentOf, Visitor, VisitorOf
from lifecycle.durations import humanize
from lifecycle.errors import CATALOG, Code, LifecycleError
from lifecycle.models import Actor
from lifecycle.receipts import signing
from lifecycle.scheduler.alarms import Finding
from lifecycle.scheduler.model import Compute, Impact, Phase, Traffic

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_MOST_DELIVERIES = 20
_ANY_MOMENT = timedelta(seconds=10)
_REMINDED = "deletion.reminded"

SAID: Mapping[str, str] = {
    "scheduled": "The deletion is scheduled. Until it begins, anybody with the role operator can cancel it.",
    "moved": "The deletion is moved. Reminders are sent anew, and links in former mails no longer work.",
    "expedited": "The deletion is brought forward to the shortest notice there is.",
}


class Subject(NamedTuple):
    """Whose deletion it is: a project that is there, or what remains of one."""

    id: str
    slug: str
    project: ProjectAnswer | None
    tombstone: TombstoneAnswer | None


class Proof(NamedTuple):
    """What looking at a receipt with the published keys came to.

    Attributes:
        stated: what it says; empty when it is not genuine, for then it says nothing.
        problem: why it is not.
    """

    stated: Mapping[str, Any]
    problem: str


@router.get("/projects/{project}/deletion")
async def show(project: ProjectRef, context: ContextOf, visitor: VisitorOf, done: DoneOf) -> Response:
    """Where the deletion stands, and the form to schedule one while there is none."""
    return await _shown(project, context, visitor, done=done)


@router.post("/projects/{project}/deletion")
async def schedule(project: ProjectRef, context: ContextOf, sent: SentOf) -> Response:
    """Schedules it."""

    async def do(generation: int | None) -> None:
        body = asked(lambda: NewDeletion.model_validate(wish(sent)))
        await deletions.schedule(project, body, context, sent.visitor.actor, Response(), generation)

    return await _done(project, "scheduled", context, sent, do)


@router.post("/projects/{project}/deletion/cancel")
async def cancel(project: ProjectRef, context: ContextOf, sent: SentOf) -> Response:
    """Cancels exactly the one that was shown."""
    generation = if_match(sent.get("generation") or None)
    await deletions.cancel(project, context, sent.visitor.actor, generation)
    return notices.done(f"/projects/{project}", "cancelled")


@router.post("/projects/{project}/deletion/move")
async def move(project: ProjectRef, context: ContextOf, sent: SentOf) -> Response:
    """Moves exactly the one that was shown."""

    async def do(generation: int | None) -> None:
        body = asked(lambda: DeletionMove.model_validate(moment(sent)))
        await deletions.move(project, body, context, sent.visitor.actor, Response(), generation)

    return await _done(project, "moved", context, sent, do)


@router.get("/projects/{project}/deletion/expedite")
async def confirm_expedite(project: ProjectRef, context: ContextOf, visitor: VisitorOf) -> Response:
    """Says what deleting now means, and asks."""
    shown = await projects.show(project, context, visitor.actor)
    deletion = await deletions.show(shown.id, context, visitor.actor, Response())
    floor = humanize(context.settings.deletion_expedite_floor)
    may = rights.of(visitor.actor)
    return page("expedite.html", visitor, project=shown, deletion=deletion, floor=floor, may=may)


@router.post("/projects/{project}/deletion/expedite")
async def expedite(project: ProjectRef, context: ContextOf, sent: SentOf) -> Response:
    """Brings exactly the one that was shown forward."""
    generation = if_match(sent.get("generation") or None)
    await deletions.expedite(project, context, sent.visitor.actor, Response(), generation)
    return notices.done(f"/projects/{project}/deletion", "expedited")


@router.get("/projects/{project}/receipt")
async def receipt(project: ProjectRef, context: ContextOf, visitor: VisitorOf) -> Response:
    """The receipt as a file, for whoever verifies it elsewhere."""
    found = await records.tombstone(project, context, visitor.actor)
    name = f'attachment; filename="{found.project}.jws"'
    headers = {"Content-Disposition": name, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(found.receipt, media_type="application/jose", headers=headers)


def wish(sent: Sent) -> dict[str, object]:
    """The form of a new deletion as the API takes it; an empty field is one that was left out."""
    rest = {name: sent.get(name) for name in ("reason", "confirm", "traffic", "compute") if sent.get(name)}
    return {**rest, **moment(sent)}


def moment(sent: Sent) -> dict[str, object]:
    """The due time of a form: a grace from now, or a time in UTC."""
    if sent.get("by") != "due_at":
        return {"grace": sent.get("grace")} if sent.get("grace") else {}
    due_at = sent.get("due_at")
    try:
        # Browsers leave out the zone, and seconds that are nought.
        typed = datetime.fromisoformat(due_at)
    except ValueError:
        return {"due_at": due_at}
    return {"due_at": (typed if typed.tzinfo else typed.replace(tzinfo=UTC)).isoformat()}


def is_due(deletion: DeletionAnswer | None, now: datetime) -> bool:
    """Whether a deletion begins at any moment."""
    due_at = deletion.due_at if deletion is not None and deletion.phase is Phase.SCHEDULED else None
    return deletion is not None and due_at is not None and not deletion.blocked_by and due_at <= now + _ANY_MOMENT


def proof(receipt: str, keys: Mapping[str, Any]) -> Proof:
    """Look at a receipt with these keys."""
    try:
        return Proof(signing.verify(receipt, keys), "")
    except LifecycleError as error:
        return Proof({}, error.message)


async def _done(
    project: str, word: str, context: Context, sent: Sent, do: Callable[[int | None], Awaitable[None]]
) -> Response:
    """Do it with the generation that was shown; what is refused is said beside the form, with what was typed."""
    try:
        await do(if_match(sent.get("generation") or None))
    except LifecycleError as error:
        if CATALOG[error.code].status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise
        return await _shown(project, context, sent.visitor, refused=error, typed=sent.fields)
    return notices.done(f"/projects/{project}/deletion", word)


async def _shown(
    reference: str,
    context: Context,
    visitor: Visitor,
    *,
    done: str = "",
    refused: LifecycleError | None = None,
    typed: Mapping[str, str] = MappingProxyType({}),
) -> Response:
    actor = visitor.actor
    subject = await _subject(reference, context, actor)
    deletion, trouble = None, None
    if subject.tombstone is None:
        deletion, trouble = await deletion_of(context, actor, subject.id)
    if subject.project is not None and deletion is not None and deletion.phase is Phase.DELETED:
        # It went while this page was made.
        subject = await _subject(subject.id, context, actor)
    phase = Phase.DELETED if subject.tombstone else deletion.phase if deletion else None
    return page(
        "deletion.html",
        visitor,
        status=CATALOG[refused.code].status if refused else HTTPStatus.OK,
        project=subject,
        deletion=deletion,
        phase=phase.value if phase else "",
        is_moving=phase is Phase.PURGING or trouble is not None or is_due(deletion, clock.now()),
        trouble=trouble,
        impact=await _impact(subject, deletion, context, actor),
        hosts=await _hosts(subject, context),
        sent=await _sent(subject, phase, context, visitor),
        steps=purges.steps(deletion.purge if deletion else None),
        findings=await _findings(subject, context, actor) if phase is Phase.PURGING else (),
        proof=proof(subject.tombstone.receipt, await records.jwks(context)) if subject.tombstone else None,
        jwks_url=f"{context.settings.api_url}/.well-known/jwks.json",
        graces=_graces(context),
        traffics=list(Traffic),
        computes=list(Compute),
        refused=refused,
        typed=typed,
        may=rights.of(actor),
        said=SAID.get(done, "") if phase is Phase.SCHEDULED else "",
    )


async def _subject(reference: str, context: Context, actor: Actor) -> Subject:
    try:
        found = await projects.show(reference, context, actor)
    except LifecycleError as error:
        if error.code is not Code.PROJECT_NOT_FOUND:
            raise
        return await _remains(reference, context, actor)
    return Subject(found.id, found.slug, found, None)


async def _remains(reference: str, context: Context, actor: Actor) -> Subject:
    """Of a project that is gone.

    Raises:
        LifecycleError: `project_not_found` when there never was one, as far as the workspace knows.
    """
    try:
        grave = await records.tombstone(reference, context, actor)
    except LifecycleError as error:
        if error.code is not Code.TOMBSTONE_NOT_FOUND:
            raise
        raise LifecycleError(Code.PROJECT_NOT_FOUND) from error
    return Subject(grave.project, grave.slug, None, grave)


async def _impact(subject: Subject, deletion: DeletionAnswer | None, context: Context, actor: Actor) -> Impact | None:
    """What goes: as it was counted for a deletion that is scheduled, else as it would be now."""
    if deletion is None or deletion.phase is not Phase.NONE:
        return deletion.impact if deletion else None
    wanted = NewDeletion(dry_run=True)
    answer = await deletions.schedule(subject.id, wanted, context, actor, Response())
    return answer.impact if isinstance(answer, DryRunAnswer) else None


async def _hosts(subject: Subject, context: Context) -> hosts.Hosts:
    if subject.project is None or subject.project.state == "purging":
        return hosts.Hosts((), 0)
    return await hosts.of_project(context, subject.id)


async def _sent(subject: Subject, phase: Phase | None, context: Context, visitor: Visitor) -> Sequence[DeliveryAnswer]:
    """To whom the reminders went, for those who may know."""
    if phase is not Phase.SCHEDULED or not rights.of(visitor.actor).operate:
        return ()
    wanted = deliveries.Wanted(type=_REMINDED, project=subject.id, limit=_MOST_DELIVERIES)
    found = await deliveries.list_all(context, visitor.actor, wanted)
    return found.items


async def _findings(subject: Subject, context: Context, actor: Actor) -> Sequence[Finding]:
    """What the reconciler says of this project."""
    try:
        found = (await context.client.findings()).findings
    except LifecycleError:
        return ()
    return [one for one in found if one.subject == subject.id and one.workspace == actor.workspace]


def _graces(context: Context) -> Mapping[str, str]:
    settings = context.settings
    return {
        "usual": humanize(settings.deletion_grace).replace(" ", ""),
        "least": humanize(settings.deletion_min_grace),
        "most": humanize(settings.deletion_max_grace),
        "floor": humanize(settings.deletion_expedite_floor),
    }

"""What needs no API key: health, metrics, error pages, and the page behind a cancel link."""

import asyncio
from contextlib import suppress
from html import escape
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest

from lifecycle import clock
from lifecycle.access import links
from lifecycle.api import problems
from lifecycle.api.context import Context, ContextOf
from lifecycle.api.operations import cancel_deletion
from lifecycle.api.shapes.records import Explanation
from lifecycle.db import DatabaseDownError
from lifecycle.errors import CATALOG, Code, LifecycleError, explanation
from lifecycle.health import check, clock_difference
from lifecycle.models import Actor, Role
from lifecycle.observability import measures, state
from lifecycle.scheduler import store
from lifecycle.scheduler.model import Deletion, Phase, Read

router = APIRouter(tags=["public"])

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><title>{title}</title>
<style>:root{{color-scheme:light dark}}
body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:4rem auto;padding:0 1rem}}
button{{font:inherit;padding:.5rem 1.2rem}}</style></head>
<body><h1>{title}</h1><p>{text}</p>{more}</body></html>"""

_PAGE_RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "description": "A page that says why not.",
        "content": {"text/html": {"schema": {"type": "string"}}, **problems.RESPONSES["4XX"]["content"]},
    }
}
_NAMED_WITHIN_SECONDS = 1.0
_BUTTON = '<form method="post"><button type="submit">Cancel the deletion</button></form>'

Token = Annotated[str, Path(max_length=2000, description="The token in the link.", examples=["eyJrZXkiOiIuLi4ifQ"])]


@router.get("/healthz", summary="Is the process up?", response_class=PlainTextResponse)
async def healthz() -> str:
    """Answers `ok` as long as the process runs."""
    return "ok"


_WELL = {"application/json": {"example": {"database": True, "engine": True, "clocks": True, "worker": True}}}


@router.get(
    "/readyz",
    summary="Can it do its work?",
    responses={200: {"content": _WELL}, 503: {"model": dict[str, bool]}},
)
async def readyz(context: ContextOf, response: Response) -> dict[str, bool]:
    """Runs all checks; 503 only when the worker cannot be reached through the engine.

    Without the database a cancel still works, so an API without it stays ready. What is the matter is for
    `lifecycle doctor` to say: this page needs no key, so it names the checks only.
    """
    checks = await check(context.settings, context.db, context.engine, context.client)
    wells = {one.name: one.ok for one in checks}
    if not wells["worker"]:
        response.status_code = 503
    return wells


@router.get("/metrics", summary="Metrics for Prometheus", response_class=PlainTextResponse)
async def metrics(context: ContextOf) -> Response:
    """What is pending and what is late, what was found, which parts answer, and what this process counted."""
    registry = CollectorRegistry()
    up = state.parts(registry)
    async with asyncio.TaskGroup() as group:
        group.create_task(state.ask("database", up, _measure_stored(context, registry)))
        group.create_task(state.ask("worker", up, _measure_reconciler(context, registry)))
        group.create_task(state.ask("engine", up, _measure_clocks(context, registry)))
    text = generate_latest(registry) + generate_latest(measures.REGISTRY)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


@router.get("/errors/{code}", summary="Explain an error code")
async def explain(
    code: Annotated[str, Path(max_length=60, examples=["deletion_started"])],
) -> Explanation:
    """What an error code means and what to do; the `type` of every problem document leads here."""
    try:
        known = Code(code)
    except ValueError as error:
        raise LifecycleError(Code.NOT_FOUND, path=f"/errors/{code}") from error
    message, hint = explanation(known)
    return Explanation(code=known.value, status=CATALOG[known].status, message=message, hint=hint)


@router.get("/cancel/{token}", summary="Page of a cancel link", response_class=HTMLResponse, responses=_PAGE_RESPONSES)
async def cancel_page(token: Token, context: ContextOf) -> HTMLResponse:
    """Shows a page with one button, or what happened instead.

    Opening it changes nothing, since mail scanners open links.
    """
    try:
        link = links.parse(context.vault, token)
        deletion = await context.client.deletion(link.project, Read(workspace=link.workspace))
    except LifecycleError as error:
        title = "This link is not valid" if error.code is Code.CANCEL_LINK_INVALID else "Not to be said now"
        return _page(title, f"{error.message} {error.hint}", status=error.status_code)
    due_at = deletion.countdown.due_at
    if deletion.phase is not Phase.SCHEDULED or deletion.generation != link.generation or due_at is None:
        return _page("This link is over", _instead(await _named(context, link), deletion), status=HTTPStatus.GONE)
    text = f"Project {await _named(context, link)} will be deleted at {due_at:%F %T} UTC."
    if due_at <= clock.now():
        text = (
            f"The deletion of project {await _named(context, link)} was due at {due_at:%F %T} UTC, and begins at any "
        )
        text += "moment. Until it does, it can be cancelled."
    return _page("Cancel this deletion?", text, more=_BUTTON)


@router.post("/cancel/{token}", summary="Use a cancel link", response_class=HTMLResponse, responses=_PAGE_RESPONSES)
async def use_cancel_link(token: Token, context: ContextOf) -> HTMLResponse:
    """Cancels the one generation that the link is for, and says what happened when that is too late."""
    try:
        link = links.parse(context.vault, token)
    except LifecycleError as error:
        return _refused(error)
    project = await _named(context, link)
    actor = Actor(workspace=link.workspace, key="", person="cancel link", role=Role.OPERATOR)
    try:
        cancelled = await cancel_deletion(context, actor, link.project, link.generation)
    except LifecycleError as error:
        try:
            deletion = await context.client.deletion(link.project, Read(workspace=link.workspace))
        except LifecycleError:
            return _refused(error)
        if deletion.phase is Phase.SCHEDULED and deletion.generation == link.generation:
            return _refused(error)
        return _page("This link is over", _instead(project, deletion), status=error.status_code)
    return _page("Cancelled", f"Project {project} stays. Cancelled at {cancelled.cancelled_at:%F %T} UTC.")


async def _named(context: Context, link: links.CancelLink) -> str:
    """What people call the project of a link, and its id; the id alone while the database does not answer.

    A cancel works without the database, so its page does not wait for it.
    """
    with suppress(DatabaseDownError, TimeoutError):
        async with asyncio.timeout(_NAMED_WITHIN_SECONDS):
            found = await store.find_project(context.db, workspace=link.workspace, reference=link.project)
            if found is not None and found.name != found.slug:
                return f"{found.name} ({found.slug}, {found.id})"
            slugs = await store.slugs(context.db, [link.project], workspace=link.workspace)
            if link.project in slugs:
                return f"{slugs[link.project]} ({link.project})"
    return link.project


def _refused(error: LifecycleError) -> HTMLResponse:
    return _page("Not cancelled by this link", f"{error.message} {error.hint}", status=error.status_code)


def _instead(project: str, deletion: Deletion) -> str:
    """What happened to the deletion that a link of before would have cancelled."""
    due_at, cancelled = deletion.countdown.due_at, deletion.cancellation
    match deletion.phase:
        case Phase.DELETED if deletion.deleted_at is not None:
            return f"Project {project} was deleted at {deletion.deleted_at:%F %T} UTC."
        case Phase.PURGING | Phase.DELETED:
            return f"The deletion of project {project} has begun, and can no longer be cancelled."
        case Phase.SCHEDULED if due_at is not None:
            return (
                f"The deletion that it was for was moved, or cancelled and scheduled again. Project {project} will now "
                f"be deleted at {due_at:%F %T} UTC; cancel that with the newest link, or in Lifecycle."
            )
        case _ if cancelled is not None:
            return (
                f"The deletion of project {project} was cancelled at {cancelled.cancelled_at:%F %T} UTC "
                f"by {cancelled.cancelled_by}."
            )
        case _:
            return f"No deletion of project {project} is scheduled."


async def _measure_stored(context: Context, registry: CollectorRegistry) -> None:
    now = clock.now()
    await state.actions(context.db, registry, overdue_after=context.settings.deletion_overdue_after, now=now)
    await state.certificates(context.db, registry, now=now)
    await state.deliveries(context.db, registry)


async def _measure_clocks(context: Context, registry: CollectorRegistry) -> None:
    difference = await clock_difference(context.engine)
    clocks = Gauge("lifecycle_clock_difference_seconds", "Between this API and the engine.", registry=registry)
    clocks.set(difference.total_seconds())


async def _measure_reconciler(context: Context, registry: CollectorRegistry) -> None:
    found = await context.client.findings()
    kinds = Gauge("lifecycle_findings", "Present findings of the reconciler by kind.", ["kind"], registry=registry)
    for finding in found.findings:
        kinds.labels(finding.kind).inc()
    rearmed = Counter("lifecycle_wakeups_rearmed", "Lost or overdue wake-ups that were armed again.", registry=registry)
    rearmed.inc(found.rearmed)
    swept = Gauge("lifecycle_reconciler_swept_timestamp_seconds", "Time of the last sweep.", registry=registry)
    swept.set(found.swept_at.timestamp() if found.swept_at else 0)
    interval = Gauge("lifecycle_reconciler_interval_seconds", "Time between two sweeps.", registry=registry)
    interval.set(context.settings.reconciler_interval.total_seconds())


def _page(title: str, text: str, *, more: str = "", status: int = 200) -> HTMLResponse:
    page = _PAGE.format(title=escape(title), text=escape(text), more=more)
    policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"
    return HTMLResponse(
        page,
        status_code=status,
        headers={
            "Cache-Control": "no-store",
            "Content-Security-Policy": policy,
            "Referrer-Policy": "no-referrer",
        },
    )

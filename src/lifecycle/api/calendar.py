"""/v1/actions.ics: what is pending, for programs that show calendars; and the links that open it."""

import hashlib
from datetime import timedelta
from email.utils import format_datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response

from lifecycle import clock
from lifecycle.access import calendar_links
from lifecycle.access import store as access_store
from lifecycle.api.context import ActorOf, ContextOf
from lifecycle.api.shapes.calendar import CreatedLink, LinkAnswer, LinkList
from lifecycle.ledger import icalendar, store

router = APIRouter(prefix="/v1", tags=["calendar"])

# Programs that show calendars look every few hours or days, and have to see that something was cancelled.
_CLOSED_STAY = timedelta(days=14)
_MOST_EVENTS = 1000

_CALENDAR: dict[int | str, dict[str, Any]] = {
    200: {"content": {icalendar.MEDIA_TYPE: {"schema": {"type": "string"}}}},
    304: {"description": "Nothing has changed since the answer with this ETag."},
}


class CalendarResponse(Response):
    """An answer in iCalendar, for the description of the API."""

    media_type = icalendar.MEDIA_TYPE


@router.get(
    "/actions.ics",
    summary="Calendar of pending actions",
    response_class=CalendarResponse,
    responses=_CALENDAR,
)
async def feed(
    context: ContextOf,
    token: Annotated[str, Query(max_length=200, description="The token of a calendar link.")],
    if_none_match: Annotated[
        str | None, Header(max_length=1000, description="ETags of former answers; 304 when one still holds.")
    ] = None,
) -> Response:
    """Each action of the workspace as an event, up to 1,000 open ones, the soonest; no API key is needed.

    What was carried out or cancelled stays for 14 days, the latest 1,000, and a cancelled one says so.
    """
    workspace = await calendar_links.workspace(context.db, token)
    events = await store.list_events(
        context.db, workspace=workspace, closed_since=clock.now() - _CLOSED_STAY, limit=_MOST_EVENTS
    )
    name = await access_store.workspace_name(context.db, workspace)
    body = icalendar.render(events, workspace=workspace, workspace_name=name).encode()
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}
    # If-Modified-Since is not looked at: a transition may be written down after later ones were already read.
    if events:
        headers["Last-Modified"] = format_datetime(max(event.changed_at for event in events), usegmt=True)
    if if_none_match is not None and _holds(etag, if_none_match):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return CalendarResponse(body, headers=headers)


@router.post("/calendar-links", status_code=201, summary="Make a calendar link")
async def create(context: ContextOf, actor: ActorOf) -> CreatedLink:
    """Makes an address to subscribe to, and shows it this once. Needs the role viewer.

    It ends when it is revoked, and with the last key of the person who made it. A person has up to 20.
    """
    made = await calendar_links.create(context.db, by=actor)
    url = f"{context.settings.api_url.rstrip('/')}/v1/actions.ics?token={made.token}"
    return CreatedLink(id=made.id, url=url, person=actor.person)


@router.get("/calendar-links", summary="List calendar links")
async def list_all(context: ContextOf, actor: ActorOf) -> LinkList:
    """Lists one's own links without their secrets, newest first; for an administrator those of everybody."""
    rows = await calendar_links.list_links(context.db, by=actor)
    return LinkList(
        items=tuple(
            LinkAnswer(id=row.id, person=row.person, created_at=row.created_at, revoked_at=row.revoked_at)
            for row in rows
        )
    )


@router.delete("/calendar-links/{link}", status_code=204, summary="Revoke a calendar link")
async def revoke(
    link: Annotated[str, Path(max_length=40, examples=["cal_01kahv3q5jc1s6v0n8w2k4m7xz"])],
    context: ContextOf,
    actor: ActorOf,
) -> None:
    """Ends a link at once. Needs the role viewer for one's own, administrator for those of others."""
    await calendar_links.revoke(context.db, link_id=link, by=actor)


def _holds(etag: str, if_none_match: str) -> bool:
    """Whether the list of ETags names this one; weakly compared, as RFC 9110 (13.1.2) asks for."""
    named = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return etag in named or "*" in named

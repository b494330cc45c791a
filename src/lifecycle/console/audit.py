"""Audit: who did what, found by whatever is known of it; each entry has an address of its own."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response

from lifecycle.api import records
from lifecycle.api.context import Context, ContextOf
from lifecycle.api.records import AuditQuery
from lifecycle.api.shapes.base import Asked
from lifecycle.console import details
from lifecycle.console.pages import PageRoute, asked, page
from lifecycle.console.sessions import VisitorOf
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Actor
from lifecycle.notifications.events import FAMILIES
from lifecycle.scheduler import store

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_PER_PAGE = 50
_BETWEEN = re.compile(r"[\s._]+")
_ACTION = re.compile(r"[a-z_]+(\.[a-z_]+)?")
# Entries of these families tell nobody, but they are in the log.
_SUGGESTED = sorted({*FAMILIES, "key", "recipient", "calendar_link"})


class Filters(Asked):
    """The filters of the page, as its address has them; times are in UTC, as a form sends them."""

    project: str = ""
    action: str = ""
    person: str = ""
    domain: str = ""
    since: str = ""
    until: str = ""
    cursor: str = ""

    @property
    def chosen(self) -> dict[str, str]:
        """Those that are set, but for the page."""
        return {name: value for name, value in self.model_dump().items() if value and name != "cursor"}


@router.get("/audit")
async def show_all(context: ContextOf, visitor: VisitorOf, query: Annotated[Filters, Query()]) -> Response:
    """The log, newest first."""
    wanted = asked(
        lambda: AuditQuery(
            project=query.project or None,
            action=action_of(query.action) if query.action else None,
            person=query.person or None,
            domain=query.domain or None,
            since=_moment("since", query.since),
            until=_moment("until", query.until),
            cursor=query.cursor or None,
            limit=_PER_PAGE,
        )
    )
    found = await records.audit(context, visitor.actor, wanted)
    return page(
        "audit.html",
        visitor,
        query=query,
        since=_field(wanted.since),
        until=_field(wanted.until),
        items=[(one, details.gist(one.detail)) for one in found.items],
        next_cursor=found.next_cursor,
        slugs=await _slugs(context, visitor.actor, {one.project for one in found.items}),
        families=_SUGGESTED,
    )


@router.get("/audit/{entry}")
async def show(entry: str, context: ContextOf, visitor: VisitorOf) -> Response:
    """One entry, with all that it says."""
    found = await records.audit_entry(entry, context, visitor.actor)
    return page(
        "audit_entry.html",
        visitor,
        entry=found,
        lines=details.lines(found.detail),
        slugs=await _slugs(context, visitor.actor, {found.project}),
    )


async def _slugs(context: Context, actor: Actor, projects: set[str | None]) -> Mapping[str, str]:
    return await store.slugs(context.db, sorted(one for one in projects if one), workspace=actor.workspace)


def action_of(text: str) -> str:
    """The action that somebody means: as the log has it, as its pages write it, or a family of them.

    Args:
        text: `deletion.scheduled`, `Deletion scheduled`, `deletion.*`, `deletion*` or `deletion`.

    Raises:
        LifecycleError: `invalid_request`, saying how it is written.
    """
    plain = _BETWEEN.sub("_", text.strip().lower())
    for family in sorted(_SUGGESTED, key=len, reverse=True):
        if plain.rstrip("_*") == family:
            return f"{family}.*"
        if plain.startswith(f"{family}_"):
            plain = f"{family}.{plain.removeprefix(f'{family}_')}"
            break
    if not _ACTION.fullmatch(plain):
        problem = "action: write one as 'Deletion scheduled' or deletion.scheduled, and all of a kind as deletion.*"
        raise LifecycleError(Code.INVALID_REQUEST, problem=problem, field="action")
    return plain


def _field(at: datetime | None) -> str:
    """A time as the fields of forms have it: in UTC, and without a zone."""
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"


def _moment(name: str, text: str) -> datetime | None:
    """A time of a form, which has no zone, or one of an address, which may have.

    Raises:
        LifecycleError: `invalid_request`.
    """
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        problem = f"{name}: not a time; write it as 2026-11-24T09:00"
        raise LifecycleError(Code.INVALID_REQUEST, problem=problem, field=name) from error

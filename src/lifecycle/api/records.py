"""What happened: the audit log, tombstones and the keys that verify receipts."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field

from lifecycle.api import paging
from lifecycle.api.context import ActorOf, ContextOf
from lifecycle.api.projects import ProjectRef
from lifecycle.api.shapes.base import Asked, Moment
from lifecycle.api.shapes.records import AuditAnswer, AuditList, TombstoneAnswer
from lifecycle.errors import Code, LifecycleError, shown
from lifecycle.ledger import store as ledger_store
from lifecycle.models import Actor, Role
from lifecycle.receipts import signing
from lifecycle.scheduler import store

router = APIRouter(tags=["records"])

_JWK = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "kid": "…",
    "use": "sig",
    "alg": "ES256",
}


class AuditQuery(Asked):
    """Which entries of the audit log to list."""

    project: str | None = Field(default=None, max_length=63, description="Id or slug; ids also of deleted ones.")
    action: str | None = Field(
        default=None,
        max_length=60,
        pattern=r"^[a-z_]+(\.([a-z_]+|\*))?$",
        description="One such as `deletion.scheduled`, or all of a family as `deletion.*`.",
    )
    person: str | None = Field(default=None, max_length=200, description="Who did it; `lifecycle` for the service.")
    domain: str | None = Field(default=None, max_length=253, description="What happened to it and its certificate.")
    since: Moment | None = Field(default=None, description="What happened then or later.")
    until: Moment | None = Field(default=None, description="What happened before.")
    cursor: str | None = Field(default=None, max_length=1000, description="`next_cursor` of the former answer.")
    limit: int = Field(default=100, ge=1, le=1000, description="Most items in one answer.")


@router.get("/v1/audit", summary="Read the audit log")
async def audit(context: ContextOf, actor: ActorOf, query: Annotated[AuditQuery, Query()]) -> AuditList:
    """Who did what, newest first, for ever. Cancel links in reminders are shown to operators and up.

    It can be filtered by `project`, `action` (one such as `deletion.scheduled`, or all of a family as `deletion.*`),
    `person`, `domain`, and time (`since`, `until`).
    """
    wanted = ledger_store.AuditFilter(
        workspace=actor.workspace,
        project=await context.project_id(actor, query.project) if query.project else None,
        action=query.action,
        person=query.person,
        domain=query.domain,
        since=query.since,
        until=query.until,
    )
    before = None
    if query.cursor:
        at, position = paging.decode(query.cursor, parts=2)
        before = (paging.moment(at), paging.number(position))
    rows = await ledger_store.list_audit(context.db, wanted, before=before, limit=query.limit)
    last = rows[-1] if len(rows) == query.limit else None
    return AuditList(
        items=tuple(_entry(row, actor) for row in rows),
        next_cursor=paging.encode(last.at.isoformat(), str(last.position)) if last else None,
    )


@router.get("/v1/audit/{entry}", summary="Show an entry of the audit log")
async def audit_entry(
    entry: Annotated[str, Path(max_length=320, examples=["prj_01kahv3q5jc1s6v0n8w2k4m7xz.2"])],
    context: ContextOf,
    actor: ActorOf,
) -> AuditAnswer:
    """Shows one entry. It keeps its id and never changes."""
    row = await ledger_store.find_audit(context.db, entry, workspace=actor.workspace)
    if row is None:
        raise LifecycleError(Code.AUDIT_ENTRY_NOT_FOUND, entry=shown(entry))
    return _entry(row, actor)


def _entry(row: ledger_store.AuditRow, actor: Actor) -> AuditAnswer:
    may_cancel = actor.role.includes(Role.OPERATOR)
    return AuditAnswer(
        id=row.id,
        project=row.project,
        action=row.action,
        actor=row.actor_person,
        actor_key=row.actor_key,
        at=row.at,
        detail={name: value for name, value in row.detail.items() if may_cancel or name != "cancel_url"},
    )


@router.get("/v1/tombstones/{project}", summary="Show a tombstone")
async def tombstone(project: ProjectRef, context: ContextOf, actor: ActorOf) -> TombstoneAnswer:
    """What remains of a deleted project: when, which generation, and the signed receipt."""
    found = await store.find_tombstone(context.db, workspace=actor.workspace, reference=project)
    if found is None:
        raise LifecycleError(Code.TOMBSTONE_NOT_FOUND, project=project[:63])
    return TombstoneAnswer(**found._asdict())


@router.get(
    "/.well-known/jwks.json",
    summary="Keys that verify receipts",
    responses={200: {"content": {"application/json": {"example": {"keys": [_JWK]}}}}},
)
async def jwks(context: ContextOf) -> dict[str, list[dict[str, Any]]]:
    """The public keys of all receipts, as a JWK set (RFC 7517). Needs no API key."""
    return await signing.jwks(context.db)

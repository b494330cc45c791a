"""What happened: the audit log, tombstones and the keys that verify receipts."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from lifecycle.api import paging
from lifecycle.api.context import ActorOf, ContextOf
from lifecycle.api.projects import ProjectRef
from lifecycle.api.shapes.records import AuditAnswer, AuditList, TombstoneAnswer
from lifecycle.errors import Code, LifecycleError
from lifecycle.ledger import store as ledger_store
from lifecycle.models import Role
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


@router.get("/v1/audit", summary="Read the audit log")
async def audit(
    context: ContextOf,
    actor: ActorOf,
    project: Annotated[str | None, Query(max_length=63, description="Id or slug; ids also of deleted ones.")] = None,
    cursor: paging.Cursor = None,
    limit: paging.Limit = 100,
) -> AuditList:
    """Who did what, newest first, for ever. Cancel links in reminders are shown to operators and up."""
    project_id = await context.project_id(actor, project) if project else None
    before = None
    if cursor:
        at, position = paging.decode(cursor, parts=2)
        before = (paging.moment(at), paging.number(position))
    rows = await ledger_store.list_audit(
        context.db, workspace=actor.workspace, project=project_id, before=before, limit=limit
    )
    may_cancel = actor.role.includes(Role.OPERATOR)
    return AuditList(
        items=tuple(
            AuditAnswer(
                id=row.id,
                project=row.project,
                action=row.action,
                actor=row.actor_person,
                actor_key=row.actor_key,
                at=row.at,
                detail={name: value for name, value in row.detail.items() if may_cancel or name != "cancel_url"},
            )
            for row in rows
        ),
        next_cursor=paging.encode(rows[-1].at.isoformat(), str(rows[-1].position)) if len(rows) == limit else None,
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

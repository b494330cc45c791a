"""/v1/api-keys: make, list, revoke."""

from typing import Annotated

from fastapi import APIRouter, Path

from lifecycle.access import keys, store
from lifecycle.api.context import ActorOf, ContextOf, require
from lifecycle.api.paths import UNQUOTED
from lifecycle.api.shapes.records import CreatedKey, KeyAnswer, KeyList, NewKey
from lifecycle.models import Role

router = APIRouter(prefix="/v1/api-keys", tags=["keys"])


@router.post("", status_code=201, summary="Make an API key")
async def create(body: NewKey, context: ContextOf, actor: ActorOf) -> CreatedKey:
    """Makes a key of this workspace and shows it this once. Needs the role administrator."""
    require(actor, Role.ADMINISTRATOR)
    made = await keys.create(context.db, workspace=actor.workspace, person=body.person, role=body.role, by=actor)
    return CreatedKey(id=made.id, token=made.token, person=body.person, role=body.role)


@router.get("", summary="List API keys")
async def list_all(context: ContextOf, actor: ActorOf) -> KeyList:
    """Lists the keys of the workspace without their secrets, newest first. Needs the role administrator."""
    require(actor, Role.ADMINISTRATOR)
    rows = await store.list_keys(context.db, actor.workspace)
    return KeyList(
        items=tuple(
            KeyAnswer(
                id=row.id,
                person=row.person,
                role=row.role,
                created_at=row.created_at,
                created_by=row.created_by,
                revoked_at=row.revoked_at,
            )
            for row in rows
        )
    )


@router.delete("/{key}", status_code=204, summary="Revoke an API key")
async def revoke(
    key: Annotated[str, UNQUOTED, Path(max_length=40, examples=["key_01kahv3q5jc1s6v0n8w2k4m7xz"])],
    context: ContextOf,
    actor: ActorOf,
) -> None:
    """Ends a key; other API processes notice within `LIFECYCLE_KEY_CACHE_TTL`. Needs the role administrator."""
    require(actor, Role.ADMINISTRATOR)
    await keys.revoke(context.db, key_id=key, by=actor)
    context.keyring.forget(key)

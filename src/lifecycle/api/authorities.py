"""/v1/authorities: certificate authorities. /v1/vault/rotation: the key that wraps all secrets."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path

from lifecycle import clock
from lifecycle.api.context import ActorOf, Context, ContextOf, require_platform
from lifecycle.api.paths import UNQUOTED
from lifecycle.api.shapes.authorities import (
    AccountAnswer,
    AccountChanged,
    AuthorityAnswer,
    AuthorityList,
    BreakerAnswer,
    BudgetAnswer,
    RotationAnswer,
)
from lifecycle.certs.authorities import Standing, Used, unavailable
from lifecycle.certs.authority_service import AccountState, ChangeAccount
from lifecycle.certs.verdicts import Directory
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Actor
from lifecycle.rotation import Rotation, StartRotation

router = APIRouter(prefix="/v1", tags=["certificate authorities"])

AuthorityName = Annotated[
    str, UNQUOTED, Path(max_length=60, description="Its name in the configuration.", examples=["letsencrypt"])
]
# A CA that hangs must leave time for all others in the same answer.
_DIRECTORY_WITHIN = 3.0
# A change that got no answer leaves time to take it back, and to look whose fault that is.
_SHARE, _WORKER_WITHIN = 0.8, 1.0


@router.get("/authorities", summary="List certificate authorities")
async def list_all(context: ContextOf, actor: ActorOf) -> AuthorityList:
    """Lists them in order of preference: whether each works, our account there, and how full its rate limits are."""
    standings = await context.authorities.standings()
    async with asyncio.TaskGroup() as group:
        shown = [group.create_task(_show(context, actor, one, standings)) for one in standings]
    return AuthorityList(items=tuple(task.result() for task in shown))


@router.get("/authorities/{name}", summary="Show a certificate authority")
async def show(name: AuthorityName, context: ContextOf, actor: ActorOf) -> AuthorityAnswer:
    """Shows whether it works, its profiles, our account there, and how full its rate limits are."""
    wanted = context.authorities.configured(name)
    standings = await context.authorities.standings()
    return await _show(context, actor, next(one for one in standings if one.authority == wanted), standings)


@router.post("/authorities/{name}/account/rollover", summary="Roll over an account's key")
async def roll_over(name: AuthorityName, context: ContextOf, actor: ActorOf) -> AccountChanged:
    """Gives our account another key; a deactivated one begins anew. Needs an administrator of the platform.

    When it got no answer, repeat it: a change that was begun is gone on with.
    """
    await require_platform(context, actor)
    return await _changed(context, name, context.client.roll_over_account, ChangeAccount(actor=actor))


@router.post("/authorities/{name}/account/deactivate", summary="Deactivate an account")
async def deactivate(name: AuthorityName, context: ContextOf, actor: ActorOf) -> AccountChanged:
    """Ends our account for ever. Needs the role administrator in the platform's workspace.

    Certificates stay valid. Nothing is ordered there until a rollover begins a new account.
    """
    await require_platform(context, actor)
    return await _changed(context, name, context.client.deactivate_account, ChangeAccount(actor=actor))


@router.post("/vault/rotation", status_code=202, summary="Rotate the wrapping key")
async def rotate(context: ContextOf, actor: ActorOf) -> RotationAnswer:
    """Begins to seal every stored secret anew under the first key of the ring. Needs an administrator of the platform.

    One that runs is left alone, and shown.
    """
    await require_platform(context, actor)
    return _rotation(await context.client.start_rotation(StartRotation(actor=actor)))


@router.get("/vault/rotation", summary="Show the rotation of the wrapping key")
async def rotation(context: ContextOf, actor: ActorOf) -> RotationAnswer:
    """Shows how far it is, or how the last one ended. Needs the role administrator in the platform's workspace.

    Once it is done, it says which keys of the key ring no stored secret needs any more.
    """
    await require_platform(context, actor)
    return _rotation(await context.client.rotation())


async def _changed(
    context: Context,
    name: str,
    change: Callable[[str, ChangeAccount], Awaitable[AccountState]],
    command: ChangeAccount,
) -> AccountChanged:
    """What became of a change of our account.

    Raises:
        LifecycleError: AUTHORITY_UNAVAILABLE also when the CA hangs: engine and worker are well, and wait for it.
    """
    context.authorities.configured(name)
    deadline = asyncio.get_running_loop().time() + context.settings.request_timeout.total_seconds() * _SHARE
    if isinstance(silent := await _directory(context, name), LifecycleError):
        raise silent
    try:
        async with asyncio.timeout_at(deadline):
            changed = await change(name, command)
    except TimeoutError as error:
        if await _worker_answers(context):
            raise unavailable(name, "no answer in time") from error
        raise LifecycleError(Code.ENGINE_UNAVAILABLE, problem="no answer in time", retry_after_seconds="2") from error
    return AccountChanged(**changed.model_dump())


async def _worker_answers(context: Context) -> bool:
    """Whether a worker answers through the engine, so that it is neither of them that hangs."""
    try:
        async with asyncio.timeout(_WORKER_WITHIN):
            await context.client.findings()
    except (LifecycleError, TimeoutError):
        return False
    return True


async def _show(context: Context, actor: Actor, standing: Standing, all_of_them: Sequence[Standing]) -> AuthorityAnswer:
    authority, now = standing.authority, clock.now()
    directory = await _directory(context, authority.name)
    used = await context.authorities.budgets(authority.name, workspace=actor.workspace)
    preferred = [one.authority.name for one in all_of_them if not one.authority.rehearsal_only]
    return AuthorityAnswer(
        name=authority.name,
        directory_url=authority.directory_url,
        order=None if authority.rehearsal_only else preferred.index(authority.name) + 1,
        rehearsal_only=authority.rehearsal_only,
        staging=authority.staging,
        directory_error=None if isinstance(directory, Directory) else str(directory),
        profiles=dict(directory.profiles) if isinstance(directory, Directory) else {},
        default_profile=authority.profile,
        renewal_info=isinstance(directory, Directory) and directory.renewal_info is not None,
        breaker=_breaker(standing, now),
        account=_account(standing),
        budgets=tuple(_budget(one) for one in used),
    )


async def _directory(context: Context, name: str) -> Directory | LifecycleError:
    """The directory, or why there is none now."""
    try:
        async with asyncio.timeout(_DIRECTORY_WITHIN):
            return await context.authorities.directory(name)
    except LifecycleError as error:
        return error
    except TimeoutError:
        return unavailable(name, "no answer in time")


def _breaker(standing: Standing, now: datetime) -> BreakerAnswer:
    breaker = standing.breaker
    return BreakerAnswer(
        state=breaker.gate(now),
        failures=breaker.failures,
        until=breaker.open_until if breaker.open_until and breaker.open_until > now else None,
        last_error=breaker.last_error,
    )


def _account(standing: Standing) -> AccountAnswer | None:
    row = standing.account
    if row is None:
        return None
    return AccountAnswer(
        url=row.url,
        status=row.status,
        contact=standing.authority.contact,
        created_at=row.created_at,
        rolled_over_at=row.rolled_over_at,
        rolling_over=row.sealed_next_key is not None,
    )


def _budget(used: Used) -> BudgetAnswer:
    return BudgetAnswer(
        limit=used.place.limit,
        subject=used.place.subject,
        capacity=None if used.figure is None else used.figure.capacity,
        left=used.left,
        period_seconds=None if used.figure is None else used.figure.period.total_seconds(),
        full_at=used.full_at,
        blocked_until=used.blocked_until,
    )


def _rotation(rotation: Rotation) -> RotationAnswer:
    fields = set(RotationAnswer.model_fields) - {"requested_by"}
    person = None if rotation.actor is None else rotation.actor.person
    return RotationAnswer(requested_by=person, **rotation.model_dump(include=fields))

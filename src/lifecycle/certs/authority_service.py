"""AuthorityService: our account at one certificate authority, another key for it, and its end.

Object key: name of the authority. It works, although it is an object: of two rollovers at once one would wait for the
key of the other. Nobody but who asks waits for it. No key is in its journal: keys are made, sealed and stored in the
database inside a step. What is half done stays there, and the next call, or the next order, goes on with it.
"""

from datetime import UTC, datetime, timedelta
from typing import Protocol

from pydantic import JsonValue
from restate import ObjectContext, VirtualObject

from lifecycle import policies, resources
from lifecycle.certs.authorities import unavailable
from lifecycle.certs.verdicts import Account, Failure, Unanswered
from lifecycle.errors import Code, LifecycleError
from lifecycle.ledger.entry import Entry
from lifecycle.ledger.service import record
from lifecycle.models import Actor, Durable, Role

authority_service = VirtualObject(
    "AuthorityService",
    description="Our account at a certificate authority: gives it another key, and ends it.",
    invocation_retry_policy=policies.CA.invocations(),
)

# A person waits for the answer; what got none is gone on with when it is asked for again.
_TRIES = 3
_PAUSE = timedelta(milliseconds=300)


class ChangeAccount(Durable):
    """Asks for something to be done with the account."""

    actor: Actor


class Prepared(Durable):
    """What became of the next key: it is there, unless there was a failure."""

    failure: Failure | None = None


class Changed(Durable):
    """What the CA made of it."""

    answer: Account | Failure


class AccountState(Durable):
    """The account as it is afterwards."""

    authority: str
    url: str
    status: str


class Step(Protocol):
    """A step that asks the CA for something."""

    async def __call__(self, ca: str) -> Changed:
        """What it answered."""


@authority_service.handler()
async def roll_over(ctx: ObjectContext, command: ChangeAccount) -> AccountState:
    """Give the account another key; where it was deactivated, begin a new one with it."""
    _require_administrator(command.actor)
    for _ in range(_TRIES):
        prepared = await ctx.run_typed("store-next-key", _prepare, policies.CA.options(Prepared), ca=ctx.key())
        if not isinstance(prepared.failure, Unanswered):
            break
        await ctx.sleep(_PAUSE)
    if prepared.failure is not None:
        raise _refusal(ctx.key(), prepared.failure)
    account = await _asked(ctx, "change-key", _change_key)
    return await _done(ctx, command.actor, "authority.rolled_over", account)


@authority_service.handler()
async def deactivate(ctx: ObjectContext, command: ChangeAccount) -> AccountState:
    """End the account for ever."""
    _require_administrator(command.actor)
    account = await _asked(ctx, "deactivate", _deactivate)
    return await _done(ctx, command.actor, "authority.deactivated", account)


async def _asked(ctx: ObjectContext, name: str, step: Step) -> Account:
    """The account after a step that asks the CA, which is tried again when no answer came."""
    for _ in range(_TRIES):
        changed = await ctx.run_typed(name, step, policies.CA.options(Changed), ca=ctx.key())
        if isinstance(changed.answer, Account):
            return changed.answer
        failure = changed.answer
        if not isinstance(failure, Unanswered):
            break
        await ctx.sleep(_PAUSE)
    raise _refusal(ctx.key(), failure)


async def _done(ctx: ObjectContext, actor: Actor, action: str, account: Account) -> AccountState:
    detail: dict[str, JsonValue] = {"authority": ctx.key(), "account": account.url}
    entry = Entry(
        id=f"{action}.{ctx.request().id}",
        sequence=0,
        workspace=actor.workspace,
        action=action,
        actor=actor,
        at=datetime.fromtimestamp(await ctx.time(), UTC),
        detail=detail,
    )
    ctx.service_send(record, arg=entry)
    return AccountState(authority=ctx.key(), url=account.url, status=account.status)


def _require_administrator(actor: Actor) -> None:
    if not actor.role.includes(Role.ADMINISTRATOR):
        raise LifecycleError(Code.ROLE_REQUIRED, required=Role.ADMINISTRATOR.value, role=actor.role.value)


def _refusal(ca: str, failure: Failure) -> LifecycleError:
    if isinstance(failure, Unanswered):
        return unavailable(ca, failure.reason)
    return LifecycleError(Code.AUTHORITY_REFUSED, authority=ca, problem=failure.problem.summary)


async def _prepare(ca: str) -> Prepared:
    return Prepared(failure=await resources.current().authorities.prepare_key(ca))


async def _change_key(ca: str) -> Changed:
    return Changed(answer=await resources.current().authorities.change_key(ca))


async def _deactivate(ca: str) -> Changed:
    return Changed(answer=await resources.current().authorities.deactivate(ca))

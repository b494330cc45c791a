"""KeyRotation: seals every stored secret anew under the first key of the key ring.

    start ──> advance ──> advance ──> … a batch each, column by column, until a whole pass finds nothing to do

Object key: `"vault"`. Only the wrapping of a secret changes, never the secret (`Vault.rewrap`). Each batch is one
idempotent step, and a value that was changed meanwhile stays as it is and is met again by the next pass. So the
rotation may be killed anywhere, and run twice.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from restate import ObjectContext, ObjectSharedContext, VirtualObject

from lifecycle import policies, resources, rotation_store
from lifecycle.errors import Code, LifecycleError
from lifecycle.ledger.entry import Entry
from lifecycle.ledger.service import record
from lifecycle.models import Actor, Durable, Role
from lifecycle.vault import VaultError

KEY = "vault"
STATE = "rotation"
_BATCH = 100
# Rows are added while it runs, by processes whose ring is as new; more passes than this mean that one is not.
_MOST_PASSES = 5
_MOST_NAMED = 20
_DEAD_AFTER = timedelta(minutes=1)

key_rotation = VirtualObject(
    "KeyRotation",
    description="Seals every stored secret anew under the first key of the key ring.",
    invocation_retry_policy=policies.DATABASE.invocations(),
)


class State(StrEnum):
    """Where a rotation stands."""

    NONE = "none"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Rotation(Durable):
    """The last rotation (state key `rotation`).

    Attributes:
        number: counts the rotations; a batch of an earlier one does nothing.
        key: name of the key that seals; the first of the ring.
        actor: who asked for it.
        advanced_at: when its last batch was done.
        column: name of the column that is being gone through.
        after: id of the row that was looked at last.
        passes: through all columns, with the present one.
        looked_at: values in this pass, and how many there were in the one before.
        rewrapped: values in all passes, and in this one.
        unreadable: values that no key of the ring opens, as `column id`; the first ones of this pass.
        needed: values by the name of the key under which they are sealed, as this pass found or left them.
        removable: keys of the ring that no value needs any more; empty until it is done.
        message: why it failed.
    """

    number: int = 0
    state: State = State.NONE
    key: str = ""
    actor: Actor | None = None
    started_at: datetime | None = None
    advanced_at: datetime | None = None
    finished_at: datetime | None = None
    column: str | None = None
    after: str = ""
    passes: int = 0
    looked_at: int = 0
    expected: int = 0
    rewrapped: int = 0
    rewrapped_in_pass: int = 0
    unreadable: tuple[str, ...] = ()
    needed: Mapping[str, int] = {}
    removable: tuple[str, ...] = ()
    message: str = ""


class StartRotation(Durable):
    """Asks for a rotation."""

    actor: Actor


class Batch(Durable):
    """Asks for the next batch of a rotation."""

    number: int


class Ring(Durable):
    """The names of the keys of a worker's ring, the one that seals first."""

    keys: tuple[str, ...]


class Worked(Durable):
    """What became of a batch.

    Attributes:
        ring: of the worker that did it.
        after: id of the last row; None when the column is through.
        lost: values that were changed meanwhile, and so were left alone.
    """

    ring: Ring
    after: str | None
    looked_at: int = 0
    rewrapped: int = 0
    lost: int = 0
    unreadable: tuple[str, ...] = ()
    needed: Mapping[str, int] = {}


@key_rotation.handler()
async def start(ctx: ObjectContext, command: StartRotation) -> Rotation:
    """Begin a rotation; one that runs is left alone and answered with."""
    if not command.actor.role.includes(Role.ADMINISTRATOR):
        role = command.actor.role.value
        raise LifecycleError(Code.ROLE_REQUIRED, required=Role.ADMINISTRATOR.value, role=role)
    before = await ctx.get(STATE, type_hint=Rotation) or Rotation()
    now = await _now(ctx)
    # No batch is at work here while this handler is. One that is asked for comes at once, unless somebody ended it.
    if before.state is State.RUNNING and before.advanced_at is not None and now - before.advanced_at < _DEAD_AFTER:
        return before
    ring = await ctx.run_typed("read-ring", _ring, policies.DATABASE.options(Ring))
    begun = Rotation(
        number=before.number + 1,
        state=State.RUNNING,
        key=ring.keys[0],
        actor=command.actor,
        started_at=now,
        advanced_at=now,
        column=rotation_store.COLUMNS[0].name,
        passes=1,
        expected=before.looked_at,
    )
    ctx.set(STATE, begun)
    _note(ctx, begun, "vault.rotation_started", now)
    ctx.object_send(advance, KEY, Batch(number=begun.number))
    return begun


@key_rotation.handler(ingress_private=True)
async def advance(ctx: ObjectContext, batch: Batch) -> None:
    """Carry out one batch, and ask for the next."""
    rotation = await ctx.get(STATE, type_hint=Rotation)
    if (
        rotation is None
        or rotation.column is None
        or rotation.number != batch.number
        or rotation.state is not State.RUNNING
    ):
        return
    worked = await ctx.run_typed(
        "rewrap", _rewrap, policies.DATABASE.options(Worked), column=rotation.column, after=rotation.after
    )
    now = await _now(ctx)
    after = _after(rotation, worked).model_copy(update={"advanced_at": now})
    if after.state is not State.RUNNING:
        after = after.model_copy(update={"finished_at": now})
        _note(ctx, after, f"vault.rotation_{after.state.value}", now)
    else:
        ctx.object_send(advance, KEY, batch)
    ctx.set(STATE, after)


@key_rotation.handler(kind="shared", journal_retention=timedelta(0))
async def progress(ctx: ObjectSharedContext) -> Rotation:
    """How far it is, or how the last one ended."""
    return await ctx.get(STATE, type_hint=Rotation) or Rotation()


def _after(rotation: Rotation, worked: Worked) -> Rotation:
    """The rotation after a batch."""
    if worked.ring.keys[0] != rotation.key:
        message = (
            f"A worker seals with {worked.ring.keys[0]} and not with {rotation.key}: "
            "restart all workers with the same key ring, and begin again."
        )
        return rotation.model_copy(update={"state": State.FAILED, "column": None, "message": message})
    needed = dict(rotation.needed)
    for name, count in worked.needed.items():
        needed[name] = needed.get(name, 0) + count
    counted = rotation.model_copy(
        update={
            "after": worked.after or "",
            "looked_at": rotation.looked_at + worked.looked_at,
            "rewrapped": rotation.rewrapped + worked.rewrapped,
            # What somebody else changed meanwhile is work for another pass, too.
            "rewrapped_in_pass": rotation.rewrapped_in_pass + worked.rewrapped + worked.lost,
            "unreadable": (*rotation.unreadable, *worked.unreadable)[:_MOST_NAMED],
            "needed": needed,
        }
    )
    if worked.after is not None:
        return counted
    names = [column.name for column in rotation_store.COLUMNS]
    # A column that a newer release has dropped ends the pass; the next one goes through those that there are.
    later = names[names.index(rotation.column) + 1 :] if rotation.column in names else []
    return counted.model_copy(update={"column": later[0]}) if later else _after_pass(counted, worked.ring)


def _after_pass(rotation: Rotation, ring: Ring) -> Rotation:
    """The rotation after it went through all columns: once more, unless there was nothing to do."""
    if rotation.rewrapped_in_pass == 0:
        removable = tuple(name for name in ring.keys[1:] if name not in rotation.needed)
        return rotation.model_copy(update={"state": State.DONE, "column": None, "removable": removable})
    if rotation.passes == _MOST_PASSES:
        message = "Values are still being sealed with an older key: restart API and workers, and begin again."
        return rotation.model_copy(update={"state": State.FAILED, "column": None, "message": message})
    return rotation.model_copy(
        update={
            "column": rotation_store.COLUMNS[0].name,
            "passes": rotation.passes + 1,
            "expected": rotation.looked_at,
            "looked_at": 0,
            "rewrapped_in_pass": 0,
            "unreadable": (),
            "needed": {},
        }
    )


async def _now(ctx: ObjectContext) -> datetime:
    return datetime.fromtimestamp(await ctx.time(), UTC)


def _note(ctx: ObjectContext, rotation: Rotation, action: str, at: datetime) -> None:
    if rotation.actor is None:
        return
    entry = Entry(
        id=f"{action}.{ctx.request().id}",
        sequence=0,
        workspace=rotation.actor.workspace,
        action=action,
        actor=rotation.actor,
        at=at,
        detail={"key": rotation.key, "rewrapped": rotation.rewrapped, "message": rotation.message},
    )
    ctx.service_send(record, arg=entry)


async def _ring() -> Ring:
    return Ring(keys=resources.current().vault.keys)


async def _rewrap(column: str, after: str) -> Worked:
    available = resources.current()
    vault, ring = available.vault, Ring(keys=available.vault.keys)
    found = next((one for one in rotation_store.COLUMNS if one.name == column), None)
    if found is None:
        return Worked(ring=ring, after=None)
    values = await rotation_store.page(available.db, found, after=after, limit=_BATCH)
    changes, unreadable, needed = [], [], dict[str, int]()
    for value in values:
        try:
            new = vault.rewrap(value.sealed, bound_to=found.bound_to(value.id))
        except VaultError:
            unreadable.append(f"{column} {value.id}")
            new = value.sealed
        name = vault.sealed_by(new)
        needed[name] = needed.get(name, 0) + 1
        if new != value.sealed:
            changes.append((value, new))
    rewrapped = await rotation_store.replace(available.db, found, changes) if changes else 0
    return Worked(
        ring=ring,
        after=values[-1].id if len(values) == _BATCH else None,
        looked_at=len(values),
        rewrapped=rewrapped,
        lost=len(changes) - rewrapped,
        unreadable=tuple(unreadable),
        needed=needed,
    )

"""The database layer: migrations, transactions, deadlocks, outages, and the plan of the one hot query."""

import asyncio
import uuid
from datetime import timedelta

import pytest

from lifecycle import clock, migrate
from lifecycle.db import Connection, Database, DatabaseDownError
from lifecycle.ledger import store
from lifecycle.ledger.entry import ActionRow, ActionState, Entry
from tests.support.workbench import Workbench


async def test_migrating_again_changes_nothing(bench: Workbench) -> None:
    """`lifecycle migrate` can be run by every deployment, at any time, by several at once."""
    both = await asyncio.gather(  # noqa: TID251  two processes at once is the point
        asyncio.to_thread(migrate.upgrade, bench.stack.database.url),
        asyncio.to_thread(migrate.upgrade, bench.stack.database.url),
    )

    assert set(both) == {(migrate.newest(), migrate.newest())}


async def test_a_failed_transaction_leaves_nothing(bench: Workbench) -> None:
    """Either all statements of a transaction happen, or none."""
    name = f"ws-{uuid.uuid1()}"

    async def work(connection: Connection) -> None:
        await connection.execute(
            "INSERT INTO workspaces (id, name, created_at) VALUES (%s, %s, %s)", name[:40], name, clock.now()
        )
        raise ValueError("changed my mind")

    with pytest.raises(ValueError, match="changed my mind"):
        await bench.resources.db.transaction(work)

    assert await bench.resources.db.one("SELECT 1 FROM workspaces WHERE name = %s", name) is None


async def test_two_transactions_that_deadlock_both_succeed(bench: Workbench) -> None:
    """A deadlock is nobody's fault; the one that lost is run again."""
    db = bench.resources.db
    names = [f"dl-{uuid.uuid1()}"[:40], f"dm-{uuid.uuid1()}"[:40]]
    for name in names:
        await db.execute("INSERT INTO workspaces (id, name, created_at) VALUES (%s, %s, %s)", name, name, clock.now())
    runs = 0
    met = asyncio.Barrier(2)

    async def cross(first: str, second: str) -> None:
        async def work(connection: Connection) -> None:
            nonlocal runs
            runs += 1
            await connection.execute("UPDATE workspaces SET created_at = %s WHERE id = %s", clock.now(), first)
            if runs <= 2:
                await met.wait()
            await connection.execute("UPDATE workspaces SET created_at = %s WHERE id = %s", clock.now(), second)

        await db.transaction(work)

    async with asyncio.TaskGroup() as group:
        group.create_task(cross(names[0], names[1]))
        group.create_task(cross(names[1], names[0]))

    assert runs == 3


async def test_a_database_that_is_not_there_is_said_to_be_down(bench: Workbench) -> None:
    """A connection that is refused, or hangs, becomes one kind of error within the deadline."""
    nobody = Database("mysql://lifecycle:x@127.0.0.1:1/lifecycle", size=1, deadline=timedelta(seconds=1))
    with pytest.raises(DatabaseDownError):
        await nobody.one("SELECT 1")
    with pytest.raises(DatabaseDownError, match="deadline"):
        await bench.resources.db.one("SELECT SLEEP(5)", deadline=timedelta(milliseconds=100))

    assert (await bench.resources.db.one("SELECT 1 AS one")) == {"one": 1}


async def test_an_entry_out_of_order_never_overwrites_a_newer_one(bench: Workbench) -> None:
    """Whatever order the entries arrive in, and however often, the list shows the newest."""
    subject = f"x-{uuid.uuid1()}"

    def entry(sequence: int, state: ActionState) -> Entry:
        row = ActionRow(
            kind="test",
            subject=subject,
            label=subject,
            state=state,
            due_at=clock.now(),
            generation=sequence,
            reason="",
            requested_by="",
        )
        return Entry(
            id=f"{subject}.{sequence}",
            sequence=sequence,
            workspace=bench.admin.workspace,
            action="test",
            at=clock.now(),
            pending_action=row,
        )

    for one in (entry(2, ActionState.CANCELLED), entry(1, ActionState.PENDING), entry(2, ActionState.CANCELLED)):
        await bench.resources.ledger.write(one)
    action = await store.find_action(bench.resources.db, workspace=bench.admin.workspace, action_id=f"test/{subject}")
    audit = await bench.resources.db.one("SELECT COUNT(*) AS n FROM audit_log WHERE id LIKE %s", f"{subject}%")

    assert action is not None
    assert (action.state, action.generation) == (ActionState.CANCELLED, 2)
    assert audit == {"n": 2}


async def test_one_bad_entry_does_not_fail_its_neighbours(bench: Workbench) -> None:
    """Entries share a commit, not a fate."""

    def entry(identifier: str) -> Entry:
        return Entry(id=identifier, sequence=1, workspace=bench.admin.workspace, action="test", at=clock.now())

    good = [f"good-{uuid.uuid1()}" for _ in range(3)]
    writes = [bench.resources.ledger.write(entry(one)) for one in (good[0], "x" * 400, *good[1:])]
    results = await asyncio.gather(*writes, return_exceptions=True)  # noqa: TID251  at once is the point

    assert [isinstance(one, Exception) for one in results] == [False, True, False, False]

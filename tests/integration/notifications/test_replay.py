"""What a webhook has missed, and what people do with one by hand; with a real engine and database."""

import asyncio
from datetime import timedelta
from functools import partial

import pytest
from aiohttp import web

from lifecycle import clock
from lifecycle.db import Connection, Database
from lifecycle.dev.stack import WORKSPACE
from lifecycle.ledger.entry import Entry
from lifecycle.notifications import attempts, replay_store, store
from lifecycle.notifications.attempts import Mark
from lifecycle.notifications.model import Channel, Outcome, State, Verdict
from lifecycle.notifications.replay_store import Missed
from lifecycle.notifications.rules import Patience
from tests.integration.notifications.conftest import Post, Shown
from tests.support.inside import workspace_named
from tests.support.mortal import quiet
from tests.support.waiting import eventually


async def test_what_came_while_a_webhook_was_disabled_is_sent_when_somebody_asks(post: Post) -> None:
    """Whoever pauses a webhook, or loses it to an outage, loses no event; each arrives once, under one id."""
    hook = await post.webhook("/paused", "project.created")
    await post.api.patch(f"/v1/webhooks/{hook['id']}", {"enabled": False})
    for name in ("paused-a", "paused-b"):
        await post.api.project(name)
    held = await eventually(lambda: _some(post, hook["id"], "held", count=2), within=20)
    refused = await post.api.post(f"/v1/webhooks/{hook['id']}/replay")
    await post.api.patch(f"/v1/webhooks/{hook['id']}", {"enabled": True})
    early = list(post.receiver.at("/paused"))
    asked = [await post.api.post(f"/v1/webhooks/{hook['id']}/replay") for _ in range(2)]
    await post.came("/paused", "project.created", count=2)
    for one in held:
        await post.until(one["id"], "delivered")
    await quiet(post.stack)
    again = await post.api.post(f"/v1/webhooks/{hook['id']}/replay")
    await quiet(post.stack)

    assert {one["last_error"] for one in held} == {"The webhook was disabled."}
    assert {one["attempts"] for one in held} == {0}
    assert (refused.status, refused.body["code"]) == (409, "webhook_disabled")
    assert early == []
    assert [one.status for one in asked] == [202, 202]
    assert (asked[0].body["deliveries"], again.body["deliveries"]) == (2, 0)
    assert sorted(one.id for one in post.receiver.at("/paused")) == sorted(one["id"] for one in held)


async def test_what_was_given_up_is_sent_again_from_a_moment_on(post: Post) -> None:
    """After an outage one call sends all that failed since then, and nothing that is older, a test, or on its way."""
    hook = await post.webhook("/outage", "project.created")
    post.receiver.answers["/outage"] = lambda: web.Response(status=410)
    await post.api.project("outage-a")
    (old,) = await eventually(lambda: _some(post, hook["id"], "failed", count=1), within=20)
    await post.api.patch(f"/v1/webhooks/{hook['id']}", {"enabled": True})
    since = clock.rfc3339(clock.now())
    await post.api.project("outage-b")
    new, _ = await eventually(lambda: _some(post, hook["id"], "failed", count=2), within=20)
    tried = await post.until(await post.test(hook["id"]), "failed")
    await post.api.patch(f"/v1/webhooks/{hook['id']}", {"enabled": True})
    del post.receiver.answers["/outage"]
    held = await post.api.post(f"/v1/webhooks/{hook['id']}/replay", {"since": since, "state": "held"})
    failed = await post.api.post(f"/v1/webhooks/{hook['id']}/replay", {"since": since, "state": "failed"})
    delivered = await post.until(new["id"], "delivered")
    await quiet(post.stack)
    wrong = await post.api.post(f"/v1/webhooks/{hook['id']}/replay", {"state": "delivered"})

    assert [held.body["deliveries"], failed.body["deliveries"]] == [0, 1]
    assert delivered["attempts"] == 2
    assert (await post.delivery(old["id"]))["state"] == "failed"
    assert (await post.delivery(tried["id"]))["state"] == "failed"
    assert [one["id"] for one in await post.deliveries(hook["id"], since=since)] == [tried["id"], new["id"]]
    assert [one["id"] for one in await post.deliveries(hook["id"], until=since)] == [old["id"]]
    assert wrong.status == 422


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", ["Outbox/replay", "Outbox/replay/revive-missed"])
async def test_a_worker_killed_while_it_replays_sends_everything_once(post: Post, point: str, when: str) -> None:
    """Wherever the worker dies, each message comes, and none of them twice."""
    path = f"/replayed-{point.count('/')}-{when}"
    hook = await post.webhook(path, "project.created")
    await post.api.patch(f"/v1/webhooks/{hook['id']}", {"enabled": False})
    await post.api.project(f"replayed-{point.count('/')}-{when}")
    (held,) = await eventually(lambda: _some(post, hook["id"], "held", count=1), within=20)
    await post.api.patch(f"/v1/webhooks/{hook['id']}", {"enabled": True})
    with post.points.death_at(point, when):
        await post.api.post(f"/v1/webhooks/{hook['id']}/replay")
        delivered = await post.until(held["id"], "delivered")
        await eventually(post.points.has_died, within=20)  # the handler may end behind what it has begun
    await quiet(post.stack)

    assert delivered["attempts"] == 1
    assert [one.id for one in post.receiver.at(path)] == [held["id"]]


async def test_many_are_begun_again_in_batches_and_each_once(post: Post) -> None:
    """However much was missed, no transaction is large; repeating a batch changes nothing."""
    workspace, now = await workspace_named(post.stack, WORKSPACE), clock.now()
    db = Database(post.stack.database.url, size=1, deadline=timedelta(seconds=10))
    missed = Missed("whk_many", (State.HELD,), now - timedelta(hours=1), now + timedelta(seconds=1))
    due = now + timedelta(minutes=3)

    async def batch(after: int) -> tuple[list[tuple[str, int]], int | None]:
        begun, last = await db.transaction(
            lambda connection: replay_store.revive_missed(connection, missed, due=due, after=after, limit=4)
        )
        return [(one.delivery, one.generation) for one in begun], last

    try:
        for n in range(6):
            entry = Entry(id=f"many.{n}", sequence=n, workspace=workspace, action="a", at=now)
            row = store.new(entry, Channel.WEBHOOK, "whk_many", body="{}", now=now, held=True)
            await db.transaction(partial(store.insert, row=row))
        count = await replay_store.count_missed(db, missed)
        first, last = await batch(0)
        repeated = await batch(0)
        second, end = await batch(last or 0)
        rows = await db.all("SELECT * FROM deliveries WHERE target = 'whk_many'")
    finally:
        await db.execute("DELETE FROM deliveries WHERE target = 'whk_many'")
        await db.close()

    assert count == 6
    assert (len(first), len(second), end) == (4, 2, None)
    assert repeated == (first, last)
    assert {generation for _, generation in (*first, *second)} == {2}
    assert len({delivery for delivery, _ in (*first, *second)}) == 6
    # A batch that comes late is not taken for lost, and what waits is not told as held.
    assert {(one["next_attempt_at"], one["since"], one["last_error"]) for one in rows} == {(due, missed.until, "")}


async def test_a_worker_killed_between_two_batches_sends_all_the_same(post: Post) -> None:
    """However much was missed, all of it comes, and nothing is begun twice."""
    hook = await post.webhook("/batches", "project.created")
    db = Database(post.stack.database.url, size=1, deadline=timedelta(seconds=20))
    now, workspace = clock.now() - timedelta(seconds=1), await workspace_named(post.stack, WORKSPACE)
    entries = [Entry(id=f"batch.{n}", sequence=n, workspace=workspace, action="a", at=now) for n in range(203)]
    held = [store.new(one, Channel.WEBHOOK, hook["id"], body=_OTHER, now=now, held=True) for one in entries]

    async def write(connection: Connection) -> None:
        for one in held:
            await store.insert(connection, one)

    async def delivered() -> list[int]:
        rows = await db.all(
            "SELECT attempts FROM deliveries WHERE target = %s AND state = 'delivered' AND generation = 3", hook["id"]
        )
        assert len(rows) == len(held), len(rows)
        return [row["attempts"] for row in rows]

    try:
        await db.transaction(write)
        asked = await post.api.post(f"/v1/webhooks/{hook['id']}/replay")
        await eventually(lambda: post.receiver.at("/batches"), within=10)
        with post.points.death_at("Outbox/replay/revive-missed", "after"):
            await eventually(post.points.has_died, within=30)
        attempts = await eventually(delivered, within=60)
    finally:
        await db.close()

    assert asked.body["deliveries"] == len(held)
    assert set(attempts) == {1}
    assert {one.id for one in post.receiver.at("/batches")} == {one.id for one in held}


@pytest.mark.parametrize("enabled", [True, False])
async def test_nothing_is_held_by_a_webhook_that_was_enabled_meanwhile(post: Post, enabled: bool) -> None:
    """What was seen while it was disabled counts only if it still is: nobody has to ask for what comes afterwards."""
    hook = await post.webhook(f"/meanwhile-{enabled}", "project.created")
    await post.api.patch(f"/v1/webhooks/{hook['id']}", {"enabled": False})
    db = Database(post.stack.database.url, size=1, deadline=timedelta(seconds=10))
    now, workspace = clock.now(), await workspace_named(post.stack, WORKSPACE)
    patience = Patience(*[timedelta(seconds=1)] * 3)
    seen, written = [
        Entry(id=f"meanwhile.{enabled}.{n}", sequence=n, workspace=workspace, action="project.created", at=now)
        for n in range(2)
    ]
    waiting = store.new(seen, Channel.WEBHOOK, hook["id"], body=_OTHER, now=now)

    async def write(connection: Connection) -> None:
        await connection.all("SELECT id FROM webhooks")  # from here on an ordinary read shows it as it is now
        await post.api.patch(f"/v1/webhooks/{hook['id']}", {"enabled": enabled})
        await store.enqueue(connection, [written], mail=False, now=now)

    try:
        await db.transaction(lambda connection: store.insert(connection, waiting))
        await db.transaction(write)
        verdict = Verdict(outcome=Outcome.ENDED, at=now, disabled=True)
        noted = await attempts.note(db, Mark(waiting.id, 1, 0, 0.5), verdict, patience, mail=False)
        rows = await db.all("SELECT state, next_attempt_at FROM deliveries WHERE target = %s", hook["id"])
    finally:
        await db.execute("DELETE FROM deliveries WHERE target = %s", hook["id"])
        await db.close()

    assert [row["state"] for row in rows] == ["pending" if enabled else "held"] * 2
    assert (noted.again_at is not None) == enabled
    assert {row["next_attempt_at"] is not None for row in rows} == {enabled}


async def test_what_is_sent_again_begins_with_short_pauses(post: Post) -> None:
    """After days of failures a resend does not wait for hours when it fails once more."""
    hook = await post.webhook("/again", "webhook.test")
    post.receiver.answers["/again"] = lambda: web.Response(status=500)
    delivery = await post.test(hook["id"])
    db = Database(post.stack.database.url, size=1, deadline=timedelta(seconds=10))
    try:
        await eventually(lambda: _tried(post, delivery), within=10)
        await db.execute("UPDATE deliveries SET failures = 20, attempts = 20 WHERE id = %s", delivery)
        before = len(post.receiver.at("/again"))
        await post.api.post(f"/v1/deliveries/{delivery}/resend")
        await post.came("/again", "webhook.test", count=before + 3, within=5)
    finally:
        await db.close()

    assert (await post.delivery(delivery))["attempts"] > 20


async def test_a_disabled_webhook_can_be_tried_once(post: Post) -> None:
    """Whoever has mended a receiver sees that it works before it gets everything; a failure is not tried again."""
    hook = await post.webhook("/tried", "*")
    await post.api.patch(f"/v1/webhooks/{hook['id']}", {"enabled": False})
    post.receiver.answers["/tried"] = lambda: web.Response(status=500)
    failed = await post.until(await post.test(hook["id"]), "failed")
    del post.receiver.answers["/tried"]
    resent = await post.api.post(f"/v1/deliveries/{failed['id']}/resend")
    delivered = await post.until(failed["id"], "delivered")
    shown = await post.shown(hook["id"])

    assert (failed["attempts"], failed["last_error"]) == (1, "It answered 500.")
    assert resent.status == 202
    assert delivered["attempts"] == 2
    assert (shown["state"], shown["failing_since"]) == ("disabled", None)


async def test_a_second_rotation_waits_until_the_first_is_over(post: Post) -> None:
    """A receiver that still has the former secret is not cut off by a slip; by force it is."""
    hook = await post.webhook("/twice")
    first = await post.api.post(f"/v1/webhooks/{hook['id']}/rotate")
    second = await post.api.post(f"/v1/webhooks/{hook['id']}/rotate")
    await post.until(await post.test(hook["id"]), "delivered")
    forced = await post.api.post(f"/v1/webhooks/{hook['id']}/rotate", {"force": True})
    await post.until(await post.test(hook["id"]), "delivered")
    before, after = post.receiver.at("/twice", "webhook.test")

    assert (second.status, second.body["code"]) == (409, "webhook_secret_changing")
    assert first.body["former_until"].startswith(second.body["until"].removesuffix("Z"))
    assert before.verified(hook["secret"])
    assert after.verified(first.body["secret"])
    assert after.verified(forced.body["secret"])
    assert len(after.headers["webhook-signature"].split()) == 2


async def test_another_url_begins_with_a_clean_slate(post: Post) -> None:
    """What failed at the former place does not disable the new one."""
    hook = await post.webhook("/moved", "webhook.test")
    post.receiver.answers["/moved"] = lambda: web.Response(status=500)
    delivery = await post.test(hook["id"])
    await eventually(lambda: _tried(post, delivery), within=10)
    failing = await post.shown(hook["id"])
    await post.api.patch(f"/v1/webhooks/{hook['id']}", {"url": post.receiver.url("/new")})
    await post.until(delivery, "delivered")

    assert failing["failing_since"] is not None
    assert (await post.shown(hook["id"]))["failing_since"] is None


async def test_a_secret_that_cannot_be_opened_is_not_held_against_the_webhook(post: Post) -> None:
    """The key ring is ours: such messages are tried again, and the webhook stays enabled."""
    hook = await post.webhook("/sealed", "webhook.test")
    db = Database(post.stack.database.url, size=1, deadline=timedelta(seconds=10))
    try:
        await db.execute("UPDATE webhooks SET sealed_secret = 'x' WHERE id = %s", hook["id"])
        failed = await post.until(await post.test(hook["id"]), "failed")
    finally:
        await db.close()
    shown = await post.shown(hook["id"])

    assert "Its secret cannot be opened" in failed["last_error"]
    assert (shown["state"], shown["failing_since"]) == ("enabled", None)


async def test_what_is_done_to_webhooks_is_told_to_others_by_host_only(post: Post) -> None:
    """Nobody adds a webhook unseen, and the path of its URL, which is a secret with chat services, stays with it."""
    witness = await post.webhook("/watch", "webhook.*")
    hook = await post.webhook("/services/SECRET", "*")
    (told,) = await post.came("/watch", "webhook.created")
    log = await post.api.get("/v1/audit?action=webhook.created")

    assert told.verified(witness["secret"])["data"]["detail"]["webhook"] == hook["id"]
    assert b"SECRET" not in told.body
    assert "SECRET" not in str(log.body)
    assert not post.receiver.at("/services/SECRET", "webhook.created")


async def test_a_target_that_fails_is_left_alone_by_others_for_a_moment(post: Post) -> None:
    """Many that wait for a broken receiver do not all knock; once it works, they arrive."""
    hook = await post.webhook("/resting", "webhook.test")
    post.receiver.answers["/resting"] = lambda: web.Response(status=500)
    first = await post.test(hook["id"])
    db = Database(post.stack.database.url, size=1, deadline=timedelta(seconds=10))
    try:
        await eventually(lambda: _tried(post, first), within=10)
        rest = clock.now() + timedelta(seconds=3)
        del post.receiver.answers["/resting"]
        await db.execute("UPDATE webhooks SET resting_until = %s WHERE id = %s", rest, hook["id"])
        entry = Entry(
            id="resting.1", sequence=1, workspace=await workspace_named(post.stack, WORKSPACE), action="a", at=rest
        )
        row = store.new(entry, Channel.WEBHOOK, hook["id"], body=_OTHER, now=clock.now() - _LONG)
        await db.transaction(lambda connection: store.insert(connection, row))
        await asyncio.wait_for(post.until(row.id, "delivered"), 20)
    finally:
        await db.close()
    tries = (await post.delivery(row.id))["tries"]

    assert [one["outcome"] for one in tries] == ["delivered"]


_LONG = timedelta(minutes=10)
_OTHER = '{"type": "other"}'


async def _some(post: Post, target: str, state: str, *, count: int) -> list[Shown]:
    found = await post.deliveries(target, state=state)
    return found if len(found) >= count else []


async def _tried(post: Post, delivery: str) -> bool:
    return bool((await post.delivery(delivery))["attempts"])

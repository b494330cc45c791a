"""Webhooks, with a real engine, database and receiver."""

import asyncio
import re
import secrets
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from standardwebhooks.webhooks import WebhookVerificationError

from lifecycle import clock
from lifecycle.db import Database
from lifecycle.dev.stack import PERSON, WORKSPACE
from lifecycle.ledger.entry import Entry
from lifecycle.models import Role
from lifecycle.notifications import store
from lifecycle.notifications.model import Channel, Outcome
from lifecycle.notifications.webhooks import Webhooks
from tests.integration.notifications.conftest import Post
from tests.support.api import Api
from tests.support.inside import key_of, workspace_named
from tests.support.mortal import quiet
from tests.support.waiting import eventually

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


async def test_what_happens_is_posted_and_signed_as_standard_webhooks_says(post: Post) -> None:
    """Each event comes once to a webhook that wants it, and the library of Standard Webhooks verifies it."""
    hook = await post.webhook("/signed", "deletion.*")
    project = await post.api.project("signed")
    scheduled = await post.api.schedule(project, "signed", "1h")
    await post.came("/signed", "deletion.scheduled")
    await post.api.delete(f"/v1/projects/{project}/deletion")
    await post.came("/signed", "deletion.cancelled")
    first, second = post.receiver.at("/signed")

    assert scheduled.status == 202
    assert first.verified(hook["secret"])["type"] == "deletion.scheduled"
    assert second.verified(hook["secret"])["type"] == "deletion.cancelled"
    assert first.id != second.id
    assert first.event["data"]["project"] == project
    assert first.event["data"]["pending_action"]["label"] == "signed"
    assert first.event["data"]["detail"]["reason"] == "test"
    with pytest.raises(WebhookVerificationError):
        first._replace(body=first.body + b" ").verified(hook["secret"])


async def test_a_webhook_that_answers_500_is_tried_again_until_it_takes_the_message(post: Post) -> None:
    """Trouble at the receiver delays a message and loses none; every attempt is listed."""
    hook = await post.webhook("/flaky")
    answers = iter([web.Response(status=500, text="<b>out of order</b>"), web.Response(status=503)])
    post.receiver.answers["/flaky"] = lambda: next(answers, web.Response(status=200))
    delivery = await post.test(hook["id"])
    delivered = await post.until(delivery, "delivered")
    came = post.receiver.at("/flaky")

    assert [one["outcome"] for one in delivered["tries"]] == ["failed", "failed", "delivered"]
    assert [one["status"] for one in delivered["tries"]] == [500, 503, 200]
    assert delivered["tries"][0]["detail"] == "It answered 500. <b>out of order</b>"
    assert {one.id for one in came} == {delivery}
    assert len({one.body for one in came}) == 1
    assert (await post.shown(hook["id"]))["failing_since"] is None


async def test_a_webhook_that_fails_for_long_is_disabled_and_people_are_told(post: Post) -> None:
    """After days of failures a webhook gets nothing more, people hear of it, and it can come back."""
    hook = await post.webhook("/broken", "project.created")
    witness = await post.webhook("/witness", "webhook.disabled")
    post.receiver.answers["/broken"] = lambda: web.Response(status=500)
    await post.api.project("broken")
    delivery = (await eventually(lambda: post.deliveries(hook["id"]), within=20))[0]["id"]
    failed = await post.until(delivery, "failed")
    (told,) = await post.came("/witness", "webhook.disabled")
    await eventually(lambda: post.mail.to(PERSON, "webhook.disabled"), within=10)
    disabled = await post.shown(hook["id"])
    refused = await post.api.post(f"/v1/deliveries/{delivery}/resend")
    del post.receiver.answers["/broken"]
    await post.api.patch(f"/v1/webhooks/{hook['id']}", {"enabled": True})
    resent = await post.api.post(f"/v1/deliveries/{delivery}/resend")
    delivered = await post.until(delivery, "delivered")

    assert failed["last_error"].startswith("Given up after")
    assert failed["attempts"] == len(failed["tries"]) >= 3
    assert disabled["state"] == "disabled"
    assert "It has failed since" in disabled["reason"]
    detail = told.verified(witness["secret"])["data"]["detail"]
    assert (detail["webhook"], detail["url"]) == (hook["id"], hook["url"].removesuffix("/broken"))
    assert (refused.status, refused.body["code"]) == (409, "webhook_disabled")
    assert resent.status == 202
    assert delivered["attempts"] == failed["attempts"] + 1
    assert {one.id for one in post.receiver.at("/broken")} == {delivery}


async def test_a_webhook_that_says_it_is_gone_is_disabled_at_once(post: Post) -> None:
    """410 ends it, as Standard Webhooks says."""
    hook = await post.webhook("/gone")
    post.receiver.answers["/gone"] = lambda: web.Response(status=410)
    failed = await post.until(await post.test(hook["id"]), "failed")

    assert [one["outcome"] for one in failed["tries"]] == ["gone"]
    assert (await post.shown(hook["id"]))["state"] == "disabled"


async def test_redirects_are_not_followed(post: Post) -> None:
    """A receiver cannot send us on to somewhere else."""
    hook = await post.webhook("/redirecting")
    post.receiver.answers["/redirecting"] = lambda: web.Response(
        status=307, headers={"Location": post.receiver.url("/elsewhere")}
    )
    failed = await post.until(await post.test(hook["id"]), "failed")

    assert "redirects are not followed" in failed["tries"][0]["detail"]
    assert not post.receiver.at("/elsewhere")


async def test_a_webhook_that_never_answers_holds_nobody_up(post: Post) -> None:
    """However many messages wait for a slow receiver, few are under way at once, and others get theirs in no time."""
    slow, quick = await post.webhook("/slow", "webhook.test"), await post.webhook("/quick", "webhook.test")
    post.receiver.silent.add("/slow")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(post.test(slow["id"])) for _ in range(20)]
    many = [task.result() for task in tasks]
    began = clock.now()
    await post.until(await post.test(quick["id"]), "delivered", within=5)
    took = clock.now() - began
    await eventually(lambda: post.receiver.waiting >= 1, within=5)
    post.receiver.silent.discard("/slow")
    for one in many:
        await post.until(one, "delivered", within=30)

    assert took < timedelta(seconds=3)
    assert post.receiver.most_waiting <= 8
    assert {one.id for one in post.receiver.at("/slow")} == set(many)


async def test_a_new_secret_signs_beside_the_former_one(post: Post) -> None:
    """A receiver may change its secret whenever it likes within a day."""
    hook = await post.webhook("/rotated")
    rotated = await post.api.post(f"/v1/webhooks/{hook['id']}/rotate")
    await post.until(await post.test(hook["id"]), "delivered")
    (came,) = post.receiver.at("/rotated")

    assert rotated.body["secret"] != hook["secret"]
    assert came.verified(hook["secret"])["type"] == "webhook.test"
    assert came.verified(rotated.body["secret"])["type"] == "webhook.test"
    assert "secret" not in await post.shown(hook["id"])


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://[fe80::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://user:password@hooks.example.com/",
        "ftp://hooks.example.com/",
        "https://0/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "http://8.8.8.8/",
        "https://127.1/",
        "nothing",
        "https://hooks.example.com:99999/",
    ],
)
async def test_a_url_that_leads_inside_is_refused(post: Post, url: str) -> None:
    """Nobody reaches through us what only we can reach; only the networks of the setting are let through."""
    answer = await post.api.post("/v1/webhooks", {"url": url})

    assert (answer.status, answer.body["code"]) == (422, "webhook_url_refused")


async def test_a_name_is_looked_at_when_it_is_connected_to() -> None:
    """A name that leads to a private address is refused however it came there, even after it was taken in."""
    webhooks = Webhooks((), timeout=timedelta(seconds=5))
    urls = (
        "https://localhost:1/",
        "https://127.1:1/",
        "https://2130706433/",
        "http://a.b/",
        "https://nowhere.invalid/",
    )
    said = [await webhooks.post(url, {}, b"{}", owner="ws") for url in urls]
    await webhooks.close()

    assert [one.outcome for one in said] == [Outcome.FAILED] * 5
    assert re.search(r"localhost leads to (127\.0\.0\.1|::1), which is not public", said[0].detail)
    assert [one.detail for one in said[1:]] == [
        *["Nothing is sent there: its host is neither a name nor an address in the usual form."] * 2,
        "Nothing is sent there: it does not begin with https://.",
        "Its name has no address.",
    ]


async def test_another_workspace_sees_no_webhook_and_no_delivery(post: Post) -> None:
    """What a workspace is told is its own matter; and viewers see nothing of it."""
    hook = await post.webhook("/own")
    delivery = await post.test(hook["id"])
    token = await key_of(post.stack, workspace="strangers", person="eve@example.com", role=Role.ADMINISTRATOR)
    viewer = await key_of(post.stack, workspace=WORKSPACE, person="vic@example.com", role=Role.VIEWER)
    async with Api(post.api.url, token) as stranger, Api(post.api.url, viewer) as looker:
        answers = [
            await stranger.get(f"/v1/webhooks/{hook['id']}"),
            await stranger.delete(f"/v1/webhooks/{hook['id']}"),
            await stranger.post(f"/v1/webhooks/{hook['id']}/test"),
            await stranger.get(f"/v1/deliveries/{delivery}"),
            await stranger.post(f"/v1/deliveries/{delivery}/resend"),
        ]
        listed = [await stranger.get("/v1/webhooks"), await stranger.get("/v1/deliveries")]
        refused = [await looker.get("/v1/webhooks"), await looker.get("/v1/deliveries")]

    assert [one.status for one in answers] == [404] * 5
    assert [one.body["items"] for one in listed] == [[], []]
    assert [one.status for one in refused] == [403, 403]


async def test_what_the_engine_has_lost_is_delivered_all_the_same(post: Post) -> None:
    """A delivery of which only the database knows is found by the next sweep of the reconciler."""
    hook = await post.webhook("/lost")
    entry = Entry(
        id="lost.1", sequence=1, workspace=await workspace_named(post.stack, WORKSPACE), action="a", at=LONG_AGO
    )
    row = store.new(entry, Channel.WEBHOOK, hook["id"], body='{"type": "lost"}', now=LONG_AGO)
    db = Database(post.stack.database.url, size=1, deadline=timedelta(seconds=10))
    try:
        await db.transaction(lambda connection: store.insert(connection, row))
    finally:
        await db.close()
    await post.came("/lost", "lost")

    assert (await post.until(row.id, "delivered"))["attempts"] == 1


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "point", ["Ledger/record", "Notifier/deliver", "Notifier/deliver/attempt", "Notifier/deliver/note"]
)
async def test_a_worker_killed_in_between_neither_loses_nor_doubles_an_event(post: Post, point: str, when: str) -> None:
    """Each event arrives under one delivery id, wherever the worker dies; only dying behind the post repeats it."""
    name = f"k{secrets.token_hex(4)}"
    hook = await post.webhook(f"/{name}", "project.created")
    with post.points.death_at(point, when):
        await post.api.project(name)
        await post.came(f"/{name}", "project.created")
        (delivery,) = await eventually(lambda: post.deliveries(hook["id"], state="delivered"), within=20)
        await eventually(post.points.has_died, within=20)  # the handler may end behind what it has written
    await quiet(post.stack)
    came = post.receiver.at(f"/{name}")

    assert {one.id for one in came} == {delivery["id"]}
    assert len({one.body for one in came}) == 1
    assert len(came) == (2 if (point, when) == ("Notifier/deliver/attempt", "after") else 1)
    assert all(one.verified(hook["secret"]) for one in came)
    assert len(await post.deliveries(hook["id"])) == 1

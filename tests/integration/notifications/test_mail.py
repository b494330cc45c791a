"""Mail, with a real engine, database and mail server: reminders, the link that cancels, and what goes wrong."""

import re
import secrets
from collections.abc import AsyncIterator
from email.message import EmailMessage

import pytest

from lifecycle.dev.stack import PERSON
from tests.integration.notifications.conftest import Post, Shown
from tests.support.sinks import text_of
from tests.support.waiting import eventually

EVIL = "<img src=x onerror=alert(1)> \"&' {{ 7*7 }}"
SHOWN_IN_HTML = "&lt;img src=x onerror=alert(1)&gt; &#34;&amp;&#39; {{ 7*7 }}"


@pytest.fixture
async def slug(post: Post) -> AsyncIterator[str]:
    """The slug of a project of its own."""
    yield f"m-{secrets.token_hex(4)}"
    post.mail.refusals.clear()


async def test_a_deletion_is_told_by_mail_as_text_and_html_and_names_stay_text(post: Post, slug: str) -> None:
    """Administrators get one mail about it; HTML in names and reasons is shown, and never taken for HTML."""
    project = (await post.api.post("/v1/projects", {"slug": slug, "name": EVIL})).body["id"]
    body = {"grace": "1h", "reason": EVIL, "confirm": slug}
    await post.api.post(f"/v1/projects/{project}/deletion", body)
    (mail,) = await eventually(lambda: _about(post, PERSON, "deletion.scheduled", slug), within=20)
    (delivery,) = await post.deliveries(PERSON, project=project)
    await post.until(delivery["id"], "delivered")
    html, plain = text_of(mail, "html"), text_of(mail, "plain")

    assert mail["From"] == "Lifecycle <lifecycle@lifecycle.example>"
    assert mail["Message-ID"] == f"<{delivery['id']}@lifecycle.example>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Subject"].strip() == f"[Lifecycle] {EVIL} will be deleted"
    assert html.count(SHOWN_IN_HTML) == 4  # title, heading, project, reason
    assert "<img" not in html
    assert plain.count(EVIL) == 3  # sentence, project, reason
    assert len(post.mail.to(PERSON, "deletion.scheduled")) == len(
        {one["Message-ID"] for one in post.mail.to(PERSON, "deletion.scheduled")}
    )


async def test_the_link_in_a_reminder_cancels_that_deletion_and_then_says_what_happened(post: Post, slug: str) -> None:
    """One click and one button stop a deletion; the link can do nothing else, and is over once it was used."""
    project, url = await _reminded(post, slug)
    async with post.api.with_key(None) as anybody:
        opened = await anybody.get(url)
        pressed = await anybody.post(url)
        again = await anybody.get(url)
        await post.api.schedule(project, slug, "2h")
        outdated, refused = await anybody.get(url), await anybody.post(url)
    await eventually(lambda: _about(post, PERSON, "deletion.cancelled", slug), within=20)

    assert (opened.status, pressed.status) == (200, 200)
    assert "Cancel this deletion?" in opened.body
    assert again.status == 410
    assert "was cancelled at" in again.body
    assert outdated.status == 410
    assert "moved, or cancelled and scheduled again" in outdated.body
    assert refused.status == 412
    assert (await post.api.deletion(project))["phase"] == "scheduled"


async def test_an_address_gets_what_was_set_for_it_and_no_more(post: Post, slug: str) -> None:
    """Whoever is set for certificates hears nothing of deletions; whoever is set for nothing, nothing at all."""
    chosen, silent = f"{slug}@example.org", f"quiet-{slug}@example.org"
    await _put(post, chosen, "project.created")
    await _put(post, silent)
    project = await post.api.project(slug)
    await post.api.schedule(project, slug, "1h")
    await eventually(lambda: post.mail.to(chosen), within=20)
    await eventually(lambda: _about(post, PERSON, "deletion.scheduled", slug), within=20)
    listed = await post.api.get("/v1/recipients")

    assert [one["X-Lifecycle-Event"] for one in post.mail.to(chosen)] == ["project.created"]
    assert not post.mail.to(silent)
    assert {"address": PERSON, "is_default": True} in [
        {"address": one["address"], "is_default": one["is_default"]} for one in listed.body["items"]
    ]
    for address in (chosen, silent):
        assert (await post.api.delete(f"/v1/recipients/{address}")).status == 204
    assert (await post.api.delete(f"/v1/recipients/{silent}")).status == 404


async def test_an_address_that_is_refused_for_good_is_not_tried_again(post: Post, slug: str) -> None:
    """No such mailbox: one attempt. Try later: more of them."""
    gone, full = f"gone-{slug}@example.org", f"full-{slug}@example.org"
    post.mail.refusals = {gone: "550 no such mailbox", full: "452 mailbox full"}
    await _put(post, gone, "project.created")
    await _put(post, full, "project.created")
    await post.api.project(slug)
    (first,) = await eventually(lambda: post.deliveries(gone, state="failed"), within=20)
    (second,) = await eventually(lambda: _tried(post, full), within=20)
    del post.mail.refusals[full]
    delivered = await post.until(second["id"], "delivered")
    for address in (gone, full):
        await post.api.delete(f"/v1/recipients/{address}")

    assert first["attempts"] == 1
    assert "550 no such mailbox" in first["last_error"]
    assert delivered["tries"][0]["status"] == 452
    assert len(post.mail.to(full)) == 1


async def test_whoever_was_removed_gets_no_mail_that_still_waits(post: Post, slug: str) -> None:
    """A mail that could not be sent yet is not sent to an address that is taken out meanwhile."""
    address = f"left-{slug}@example.org"
    post.mail.refusals = {address: "452 mailbox full"}
    await _put(post, address, "project.created")
    await post.api.project(slug)
    (waiting,) = await eventually(lambda: _tried(post, address), within=20)
    await post.api.delete(f"/v1/recipients/{address}")
    del post.mail.refusals[address]
    ended = await post.until(waiting["id"], "failed")

    assert ended["last_error"] == "Nobody wants mail about this at the address any more."
    assert not post.mail.to(address)


@pytest.mark.parametrize(
    "address", ["ada", "ada@", "a%20b@example.org", "ada@example.org%0aBcc:%20eve@example.org", "@x.y"]
)
async def test_what_is_no_address_is_refused(post: Post, address: str) -> None:
    """Nothing that could add a header or a recipient is taken."""
    answer = await post.api.put(f"/v1/recipients/{address}", {"events": ["*"]})

    assert (answer.status, answer.body["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", ["Ledger/record", "Notifier/deliver", "Notifier/deliver/note"])
async def test_a_worker_killed_in_between_sends_each_mail_once(post: Post, point: str, when: str, slug: str) -> None:
    """Wherever the worker dies but right behind the sending, the mail comes once, under one Message-ID."""
    address = f"{slug}@example.org"
    await _put(post, address, "project.created")
    with post.points.death_at(point, when):
        await post.api.project(slug)
        (delivery,) = await eventually(lambda: post.deliveries(address, state="delivered"), within=20)
        await eventually(post.points.has_died, within=20)  # the handler may end behind what it has written
    await post.api.delete(f"/v1/recipients/{address}")

    assert [one["Message-ID"] for one in post.mail.to(address)] == [f"<{delivery['id']}@lifecycle.example>"]


async def _reminded(post: Post, slug: str) -> tuple[str, str]:
    """A project whose deletion people were just reminded of, and the link in the mail."""
    project = await post.api.project(slug)
    await post.api.schedule(project, slug, "3602s")
    (mail,) = await eventually(lambda: _about(post, PERSON, "deletion.reminded", slug), within=30)
    found = re.search(r"http\S+/cancel/\S+", text_of(mail, "plain"))
    assert found is not None
    assert f'href="{found[0]}"' in text_of(mail, "html")
    return project, found[0].removeprefix(post.api.url)


async def _put(post: Post, address: str, *events: str) -> None:
    answer = await post.api.put(f"/v1/recipients/{address}", {"events": list(events)})
    assert answer.status == 200, answer


async def _tried(post: Post, address: str) -> list[Shown]:
    return [one for one in await post.deliveries(address) if one["attempts"]]


def _about(post: Post, address: str, event: str, slug: str) -> list[EmailMessage]:
    return [one for one in post.mail.to(address, event) if slug in text_of(one, "plain")]

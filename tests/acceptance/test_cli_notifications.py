"""Webhooks, deliveries, mail recipients and calendar links, as they are typed."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from lifecycle.dev.stack import Stack
from tests.support import sinks
from tests.support.api import Api
from tests.support.shell import Shell
from tests.support.sinks import Receiver
from tests.support.waiting import eventually


@pytest.fixture
def shell(stack: Stack) -> Shell:
    """A shell."""
    return Shell(stack)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Where webhooks arrive."""
    async with sinks.receiver() as running:
        yield running


async def test_a_webhook_from_its_making_to_its_removal(shell: Shell, receiver: Receiver, slug: str) -> None:
    """I add one, test it, see what was sent, send it again, let it rest, and take it away."""
    made = shell.json("webhook", "add", receiver.url(f"/{slug}"), "--event", "deletion.*")
    webhook = made["id"]
    tested = await asyncio.to_thread(shell.json, "webhook", "test", webhook)
    first = await eventually(lambda: receiver.posted[0] if receiver.posted else None, within=20)
    listed = shell.well("delivery", "list", "--target", webhook)
    await asyncio.to_thread(shell.well, "delivery", "resend", tested["id"])
    again = await eventually(lambda: receiver.posted[1] if len(receiver.posted) > 1 else None, within=20)
    shown = await eventually(lambda: _with_two_tries(shell, tested["id"]), within=20)
    rotated = shell.json("webhook", "rotate", webhook)
    refused = shell.run("webhook", "rotate", webhook)
    forced = shell.json("webhook", "rotate", webhook, "--force")
    replayed = await asyncio.to_thread(shell.well, "webhook", "replay", webhook, "--since", "2026-01-01T00:00:00Z")
    unheld = await asyncio.to_thread(shell.well, "webhook", "replay", webhook, "--state", "held")
    later = shell.well("delivery", "list", "--target", webhook, "--since", "2999-01-01T00:00:00Z")
    disabled = shell.well("webhook", "disable", webhook)
    unsent = shell.run("webhook", "replay", webhook)
    listing = shell.well("webhook", "list")
    removed = shell.well("webhook", "remove", webhook)
    gone = shell.run("webhook", "show", webhook)

    assert first.verified(made["secret"])["type"] == "webhook.test"
    assert (first.id, again.id) == (tested["id"], tested["id"])
    assert tested["id"] in listed
    assert shown.count("delivered") >= 2
    assert len({made["secret"], rotated["secret"], forced["secret"]}) == 3
    assert (refused.returncode, "--force" in refused.stderr) == (2, True)
    assert replayed.startswith("Nothing was missed since 2026-01-01T00:00:00")
    assert (unheld.startswith("Nothing that was written since "), unheld.endswith(" is held.\n")) == (True, True)
    assert later == "No deliveries.\n"
    assert (unsent.returncode, "webhook enable" in unsent.stderr) == (2, True)
    assert "disabled" in disabled
    assert f"/{slug}" in listing
    assert removed == f"Removed: {webhook}\n"
    assert (gone.returncode, "error:" in gone.stderr, "hint:" in gone.stderr) == (2, True, True)


async def test_a_webhook_to_an_address_that_is_none_is_refused(shell: Shell) -> None:
    """I am told what is wrong with it, before anything is kept."""
    refused = shell.run("webhook", "add", "ftp://example.com/")

    assert refused.returncode == 2
    assert "does not begin with https://" in refused.stderr


async def test_who_gets_mail_is_listed_and_changed(shell: Shell, slug: str) -> None:
    """I set what an address gets, see it, and take it back."""
    address = f"{slug}@example.com"
    said = shell.well("recipient", "set", address, "--event", "deletion.reminded")
    listed = shell.run("recipient", "list")
    forgotten = shell.well("recipient", "remove", address)

    assert said == f"{address} gets: deletion.reminded\n"
    assert address in listed.stdout
    assert "LIFECYCLE_SMTP_URL" in listed.stderr
    assert forgotten == f"Forgotten: {address}\n"
    assert address not in shell.well("recipient", "list")


async def test_a_calendar_link_opens_until_it_is_revoked(shell: Shell, api: Api) -> None:
    """The address that I get shows what is pending, and nothing after I revoked it."""
    made = shell.json("calendar", "create")
    path = made["url"].removeprefix(api.url)
    opened = await api.get(path)
    listed = shell.well("calendar", "list")
    shell.well("calendar", "revoke", made["id"])
    after = await api.get(path)

    assert opened.body.startswith("BEGIN:VCALENDAR")
    assert made["id"] in listed
    assert made["url"] not in listed
    assert after.status == 404


def _with_two_tries(shell: Shell, delivery: str) -> str | None:
    shown = shell.well("delivery", "show", delivery)
    return shown if shown.count("204") >= 2 else None

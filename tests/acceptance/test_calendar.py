"""The calendar feed, as a calendar program subscribes to it."""

import secrets
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import icalendar
import pytest

from lifecycle import ids
from lifecycle.dev.stack import Stack
from lifecycle.ledger.entry import ActionRow, ActionState, Entry
from lifecycle.models import Role
from tests.support.api import Answer, Api
from tests.support.inside import key_of, record, workspace_named
from tests.support.shell import Shell
from tests.support.waiting import eventually


class Subscription:
    """A calendar program with one link; it sends no API key."""

    def __init__(self, program: Api, path: str) -> None:
        self._program = program
        self._path = path

    async def read(self, **headers: str) -> Answer:
        """Ask for the feed."""
        return await self._program.get(self._path, headers=headers)

    async def event(self, key: str) -> Any:
        """The event of an action, by the key in its id."""
        answer = await self.read()
        assert answer.status == 200, answer
        calendar = icalendar.Calendar.from_ical(answer.body)
        found: list[Any] = [
            one for one in calendar.walk("VEVENT") if str(one["X-LIFECYCLE-ACTION"]).endswith(f"/{key}")
        ]
        assert len(found) <= 1
        return found[0] if found else None

    async def until(self, key: str, fits: Callable[[Any], bool]) -> Any:
        """The event, as soon as it is as wanted: the list follows the decision at once, but later."""

        async def look() -> Any:
            event = await self.event(key)
            return event if event is not None and fits(event) else None

        return await eventually(look, within=10)


@pytest.fixture
async def program(stack: Stack) -> AsyncIterator[Api]:
    """Somebody without an API key."""
    async with Api(stack.api_url, None) as found:
        yield found


async def subscribe(api: Api, program: Api) -> Subscription:
    """Make a link and subscribe to it."""
    made = await api.post("/v1/calendar-links")
    assert made.status == 201
    parts = urlsplit(made.body["url"])
    return Subscription(program, f"{parts.path}?{parts.query}")


async def test_an_event_follows_its_action(api: Api, program: Api, slug: str) -> None:
    """Scheduled, moved, cancelled, scheduled again: always the one event, and the calendar shows the newest of it."""
    feed = await subscribe(api, program)
    project = await api.project(slug)
    deletion = f"/v1/projects/{project}/deletion"
    due = (datetime.now(UTC) + timedelta(days=4)).replace(microsecond=0)  # noqa: TID251  a person's watch
    await api.post(deletion, {"reason": "replaced", "confirm": slug})

    scheduled = await feed.until(project, lambda event: event["STATUS"] == "CONFIRMED")
    await api.patch(deletion, {"due_at": due.isoformat()})
    moved = await feed.until(project, lambda event: event["SEQUENCE"] > scheduled["SEQUENCE"])
    await api.delete(deletion)
    cancelled = await feed.until(project, lambda event: event["STATUS"] == "CANCELLED")
    await api.post(deletion, {"reason": "replaced after all", "confirm": slug})
    again = await feed.until(project, lambda event: event["STATUS"] == "CONFIRMED")

    assert scheduled["SUMMARY"] == f"Project {slug} is deleted"
    assert moved["DTSTART"].dt == due
    assert moved["LAST-MODIFIED"].dt >= scheduled["LAST-MODIFIED"].dt
    assert cancelled["SUMMARY"] == f"Cancelled: Project {slug} is deleted"
    assert "replaced after all" in again["DESCRIPTION"]
    assert len({str(event["UID"]) for event in (scheduled, moved, cancelled, again)}) == 1
    sequences = [event["SEQUENCE"] for event in (scheduled, moved, cancelled, again)]
    assert sequences == sorted(set(sequences))


async def test_a_feed_that_has_not_changed_is_not_sent_again(api: Api, program: Api, slug: str) -> None:
    """Programs that look often cost little, and no cache on the way keeps what a link shows."""
    feed = await subscribe(api, program)
    project = await api.project(slug)
    await api.post(f"/v1/projects/{project}/deletion", {"reason": "old", "confirm": slug})
    event = await feed.until(project, lambda _: True)

    async def same() -> tuple[Answer, Answer] | None:
        first = await feed.read()
        second = await feed.read(**{"If-None-Match": f'"else", W/{first.headers["ETag"]}'})
        return (first, second) if second.status == 304 else None  # other tests change things meanwhile

    first, second = await eventually(same, within=10)
    await api.delete(f"/v1/projects/{project}/deletion")
    await feed.until(project, lambda event: event["STATUS"] == "CANCELLED")
    third = await feed.read(**{"If-None-Match": first.headers["ETag"]})

    assert event["DTSTAMP"].dt == event["LAST-MODIFIED"].dt
    assert first.headers["Content-Type"] == "text/calendar; charset=utf-8"
    assert first.headers["Cache-Control"] == "private, no-cache"
    assert first.headers["Last-Modified"].endswith("GMT")
    assert second.body == ""
    assert third.status == 200


async def test_a_link_opens_only_the_feed_and_ends_when_it_is_revoked(stack: Stack, api: Api, program: Api) -> None:
    """Whoever finds a link can see what is going to happen, until it is revoked, and can change nothing."""
    made = (await api.post("/v1/calendar-links")).body
    token = made["url"].partition("token=")[2]
    path = f"/v1/actions.ics?token={token}"
    before = await program.get(path)
    async with Api(stack.api_url, token) as thief:
        used = await thief.get("/v1/actions")
    await api.delete(f"/v1/calendar-links/{made['id']}")
    after = await program.get(path)
    listed = (await api.get("/v1/calendar-links")).body["items"]

    assert before.status == 200
    assert used.body["code"] == "key_invalid"
    assert (after.status, after.body["code"]) == (404, "calendar_link_invalid")
    assert next(one for one in listed if one["id"] == made["id"])["revoked_at"] is not None
    assert token not in str(listed)


@pytest.mark.parametrize("token", ["", "x", "lcl_", "lcl_01kahv3q5jc1s6v0n8w2k4m7xz_" + "a" * 43, "%00%ff", "a" * 300])
async def test_a_made_up_link_opens_nothing(program: Api, token: str) -> None:
    """Guessing tells nothing, not even which ids exist."""
    answer = await program.get(f"/v1/actions.ics?token={token}")

    assert answer.body["code"] in ("calendar_link_invalid", "invalid_request")


async def test_a_link_shows_one_workspace_and_ends_with_the_last_key_of_its_person(stack: Stack, program: Api) -> None:
    """Who leaves sees nothing any more, and nobody sees what belongs to others."""
    name = f"calendar-{secrets.token_hex(6)}"
    ada = await key_of(stack, workspace=name, person="ada@example.com", role=Role.ADMINISTRATOR)
    bob = await key_of(stack, workspace=name, person="bob@example.com", role=Role.VIEWER)
    workspace = await workspace_named(stack, name)
    await record(stack, pending(workspace))
    async with Api(stack.api_url, ada) as administrator, Api(stack.api_url, bob) as viewer:
        of_bob = await subscribe(viewer, program)
        of_ada = await subscribe(administrator, program)
        seen = icalendar.Calendar.from_ical((await of_bob.read()).body)
        own = (await viewer.get("/v1/calendar-links")).body["items"]
        everybodys = (await administrator.get("/v1/calendar-links")).body["items"]
        not_his = await viewer.delete(f"/v1/calendar-links/{everybodys[0]['id']}")
        keys = (await administrator.get("/v1/api-keys")).body["items"]
        bobs = next(one["id"] for one in keys if one["person"] == "bob@example.com")
        await administrator.delete(f"/v1/api-keys/{bobs}")
        left = await of_bob.read()
        stayed = await of_ada.read()

    assert seen["X-WR-CALNAME"] == f"Lifecycle: {name}"
    assert len(seen.walk("VEVENT")) == 1
    assert [one["person"] for one in own] == ["bob@example.com"]
    assert [one["person"] for one in everybodys] == ["ada@example.com", "bob@example.com"]
    assert not_his.body["code"] == "calendar_link_not_found"
    assert (left.status, stayed.status) == (404, 200)


async def test_what_ended_disappears_after_some_days(stack: Stack, program: Api) -> None:
    """A calendar stays readable: what was cancelled two weeks ago is gone, what is pending is never."""
    name = f"calendar-{secrets.token_hex(6)}"
    workspace = await workspace_named(stack, name)
    key = await key_of(stack, workspace=name, person="ada@example.com", role=Role.VIEWER)
    for days, state in ((20, ActionState.CANCELLED), (10, ActionState.CANCELLED), (20, ActionState.BLOCKED)):
        await record(stack, pending(workspace, ago=timedelta(days=days), state=state))
    async with Api(stack.api_url, key) as api:
        calendar = icalendar.Calendar.from_ical((await (await subscribe(api, program)).read()).body)

    assert sorted(str(event["SUMMARY"]) for event in calendar.walk("VEVENT")) == [
        "Blocked: Project old is deleted",
        "Cancelled: Project old is deleted",
    ]


async def test_what_was_just_cancelled_is_shown_however_much_else_happened(stack: Stack, program: Api) -> None:
    """In a busy workspace, and after months of being blocked: a calendar must not keep what will not happen."""
    name = f"calendar-{secrets.token_hex(6)}"
    workspace = await workspace_named(stack, name)
    key = await key_of(stack, workspace=name, person="ada@example.com", role=Role.VIEWER)
    busy = [pending(workspace, ago=timedelta(days=1), state=ActionState.DONE) for _ in range(1000)]
    cancelled = pending(workspace, due=timedelta(days=7), state=ActionState.CANCELLED, label="just-now")
    blocked = pending(workspace, due=timedelta(days=-90), state=ActionState.CANCELLED, label="blocked-for-long")
    await record(stack, *busy, cancelled, blocked)
    async with Api(stack.api_url, key) as api:
        calendar = icalendar.Calendar.from_ical((await (await subscribe(api, program)).read()).body)
    events = {str(event["SUMMARY"]): str(event["STATUS"]) for event in calendar.walk("VEVENT")}

    assert events["Cancelled: Project just-now is deleted"] == "CANCELLED"
    assert events["Cancelled: Project blocked-for-long is deleted"] == "CANCELLED"
    assert len(calendar.walk("VEVENT")) == 1000


async def test_a_person_has_a_bounded_number_of_links(stack: Stack) -> None:
    """Whoever makes links in a loop is refused, with what to do; revoking one makes room; others are not concerned."""
    name = f"calendar-{secrets.token_hex(6)}"
    ada = await key_of(stack, workspace=name, person="ada@example.com", role=Role.VIEWER)
    bob = await key_of(stack, workspace=name, person="bob@example.com", role=Role.VIEWER)
    async with Api(stack.api_url, ada) as api, Api(stack.api_url, bob) as other:
        made = [await api.post("/v1/calendar-links") for _ in range(20)]
        refused = await api.post("/v1/calendar-links")
        others = await other.post("/v1/calendar-links")
        await api.delete(f"/v1/calendar-links/{made[0].body['id']}")
        again = await api.post("/v1/calendar-links")

    assert {one.status for one in made} == {201}
    assert (refused.status, refused.body["code"]) == (409, "too_many_calendar_links")
    assert "Revoke one" in refused.body["hint"]
    assert (others.status, again.status) == (201, 201)


async def test_whoever_makes_and_revokes_links_all_day_fills_no_table(stack: Stack) -> None:
    """The list keeps the last fifty that were revoked; what came of the others is in the audit log."""
    key = await key_of(stack, workspace=f"calendar-{secrets.token_hex(6)}", person="ada@example.com", role=Role.VIEWER)
    async with Api(stack.api_url, key) as api:
        made = []
        for _ in range(55):
            made.append((await api.post("/v1/calendar-links")).body["id"])
            await api.delete(f"/v1/calendar-links/{made[-1]}")
        listed = [one["id"] for one in (await api.get("/v1/calendar-links")).body["items"]]

    assert listed == made[: -len(listed) - 1 : -1]
    assert len(listed) == 51


def pending(
    workspace: str,
    *,
    ago: timedelta = timedelta(0),
    due: timedelta = timedelta(0),
    state: ActionState = ActionState.PENDING,
    label: str = "old",
) -> Entry:
    """An action of a workspace, which changed some time ago, and was due then, or so much later."""
    project = ids.new("prj")
    at = datetime.now(UTC) - ago  # noqa: TID251  a person's watch
    row = ActionRow(
        kind="project-deletion",
        subject=project,
        label=label,
        state=state,
        due_at=at + due,
        generation=1,
        reason="",
        requested_by="ada@example.com",
    )
    return Entry(
        id=f"{project}.1", sequence=1, workspace=workspace, project=project, action="test", at=at, pending_action=row
    )


async def test_the_command_line_makes_shows_and_revokes_links(stack: Stack, program: Api) -> None:
    """One command prints the address to subscribe to, and nothing else, so that it can be passed on."""
    shell = Shell(stack)
    made = shell.run("calendar", "create")
    link = made.stderr.split()[1].rstrip(",")
    path = made.stdout.strip().removeprefix(stack.api_url)
    opened = await program.get(path)
    listed = shell.run("calendar", "list").stdout
    shell.run("calendar", "revoke", link)
    closed = await program.get(path)
    unknown = shell.run("calendar", "revoke", "cal_nothing")

    assert path.startswith("/v1/actions.ics?token=lcl_")
    assert (opened.status, closed.status) == (200, 404)
    assert link in listed
    assert (unknown.returncode, "hint: 'lifecycle calendar list'" in unknown.stderr) == (2, True)

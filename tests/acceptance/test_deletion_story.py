"""What an administrator does, over HTTP only."""

from datetime import UTC, datetime, timedelta
from typing import Any

from lifecycle.access import links
from lifecycle.dev.stack import Stack
from lifecycle.receipts import signing
from lifecycle.vault import Vault
from tests.support.api import Answer, Api
from tests.support.inside import workspace_of
from tests.support.waiting import eventually


async def test_schedule_list_cancel(api: Api, slug: str) -> None:
    """A deletion three days ahead is listed with its due time, and gone from the list after a cancel."""
    project = await api.project(slug)
    before = datetime.now(UTC)  # noqa: TID251  the test is a person with a watch
    scheduled = await api.schedule(project, slug, "72h")
    listed = await eventually(lambda: _action(api, project), within=5)
    cancelled = await api.delete(f"/v1/projects/{project}/deletion")
    again = await api.delete(f"/v1/projects/{project}/deletion")

    assert scheduled.status == 202
    assert scheduled.headers["ETag"] == '"1"'
    due = datetime.fromisoformat(scheduled.body["due_at"])
    assert timedelta(hours=72) <= due - before < timedelta(hours=72, seconds=10)
    assert scheduled.body["impact"]["rows"] == 3
    assert [datetime.fromisoformat(one["at"]) for one in scheduled.body["reminders"]] == [
        due - timedelta(hours=24),
        due - timedelta(hours=1),
    ]
    assert listed["label"] == slug
    assert listed["state"] == "pending"
    assert listed["due_at"] == scheduled.body["due_at"]
    assert cancelled.status == 200
    assert cancelled.body["outcome"] == "cancelled"
    assert again.body == cancelled.body
    await eventually(lambda: _is_closed(api, project), within=5)


async def test_one_is_carried_out_to_a_receipt(api: Api, slug: str) -> None:
    """What was scheduled happens at its time and leaves a receipt that anybody can verify."""
    project = await api.project(slug)
    scheduled = await api.schedule(project, slug, "1s")
    tombstone = await eventually(lambda: _tombstone(api, project), within=20)
    async with api.with_key(None) as stranger:
        keys = await stranger.get("/.well-known/jwks.json")
    stated = signing.verify(tombstone["receipt"], keys.body)
    gone = await api.get(f"/v1/projects/{project}")
    deletion = await eventually(lambda: _deleted(api, project), within=5)

    assert stated["project"] == project
    assert stated["reason"] == "test"
    assert stated["started_at"] >= scheduled.body["due_at"][:23]
    assert gone.status == 404
    assert deletion["started_at"] >= scheduled.body["due_at"]
    assert (await api.delete(f"/v1/projects/{project}/deletion")).body["code"] == "deletion_started"


async def test_the_actions_verbs_do_the_same(api: Api, slug: str) -> None:
    """A pending action can be shown, moved and cancelled by its id or by its label, on one exact generation."""
    project = await api.project(slug)
    await api.schedule(project, slug, "72h")
    path = f"/v1/actions/project-deletion/{slug}"
    shown = await eventually(lambda: _ok(api, path), within=5)
    moved = await api.patch(path, {"grace": "48h"}, headers={"If-Match": shown.headers["ETag"]})
    stale = await api.delete(path, headers={"If-Match": shown.headers["ETag"]})
    run = await api.post(f"{path}/run")
    cancelled = await api.delete(path, headers={"If-Match": '"2"'})

    assert moved.body["generation"] == 2
    assert stale.status == 412
    assert run.body["code"] == "second_administrator_required"
    assert cancelled.body["generation"] == 2


async def test_bulk_cancel_says_what_became_of_each(api: Api, slug: str) -> None:
    """Many are cancelled in one request, with an outcome for each."""
    projects = [await api.project(f"{slug}-{number}") for number in range(3)]
    for number, project in enumerate(projects[:2]):
        await api.schedule(project, f"{slug}-{number}", "72h")
    ids = [f"project-deletion/{project}" for project in projects]
    answer = await api.post("/v1/actions:cancel", {"ids": [*ids, "unknown/thing", ids[0]]})
    outcomes = {one["id"]: one.get("code") or one["outcome"] for one in answer.body["items"]}

    assert outcomes == {
        ids[0]: "cancelled",
        ids[1]: "cancelled",
        ids[2]: "deletion_not_scheduled",
        "unknown/thing": "action_not_found",
    }


async def test_the_list_pages_through_everything_soonest_first(api: Api, slug: str) -> None:
    """Pages never repeat or skip an action, and are in order of due time."""
    projects = [await api.project(f"{slug}-{number}") for number in range(5)]
    for number, project in enumerate(projects):
        await api.schedule(project, f"{slug}-{number}", f"{100 - number}h")
    await eventually(lambda: _action(api, projects[-1]), within=5)
    seen: list[str] = []
    cursor = ""
    while True:
        page = await api.get(f"/v1/actions?limit=2&kind=project-deletion{cursor}")
        seen += [one["project"] for one in page.body["items"]]
        if page.body["next_cursor"] is None:
            break
        cursor = f"&cursor={page.body['next_cursor']}"

    assert len(seen) == len(set(seen))
    assert [one for one in seen if one in projects] == projects[::-1]


async def test_a_protected_project_is_not_deleted(api: Api, slug: str) -> None:
    """Protection refuses the schedule until an administrator lifts it."""
    project = await api.project(slug)
    await api.patch(f"/v1/projects/{slug}", {"protected": True})
    refused = await api.schedule(project, slug, "72h")
    await api.patch(f"/v1/projects/{slug}", {"protected": False})
    accepted = await api.schedule(project, slug, "72h")

    assert refused.body["code"] == "project_protected"
    assert accepted.status == 202


async def test_a_cancel_link_works_once_and_for_one_generation(api: Api, stack: Stack, slug: str) -> None:
    """Opening the link changes nothing, its button cancels, and a used or outdated link says what happened."""
    project = await api.project(slug)
    await api.schedule(project, slug, "72h")
    workspace = await workspace_of(stack, project)
    vault = Vault.parse((stack.root / "key-ring").read_text())
    address = links.url(vault, "", links.CancelLink(workspace, project, 1))
    await api.patch(f"/v1/projects/{project}", {"name": "Shop & Co"})
    await eventually(lambda: _is_named(api, project, "Shop & Co"), within=10)
    stranger = api.with_key(None)
    opened = await stranger.get(address)
    still = await api.deletion(project)
    pressed = await stranger.post(address)
    await api.schedule(project, slug, "72h")
    outdated, reopened = await stranger.post(address), await stranger.get(address)
    forged = await stranger.post(address[:-8] + "AAAAAAAA")
    await stranger.close()

    assert opened.status == 200
    assert still["phase"] == "scheduled"
    assert pressed.status == 200
    named = f"Shop &amp; Co ({slug}, {project})"
    assert f"Project {named} will be deleted at" in opened.body
    assert f"Project {named} stays" in pressed.body
    assert (outdated.status, reopened.status) == (412, 410)
    assert "Generation" not in outdated.body
    for page in (outdated, reopened):
        assert f"cancelled and scheduled again. Project {named} will now be deleted at" in page.body
    assert forged.status == 404
    assert (await api.deletion(project))["phase"] == "scheduled"


async def test_the_same_idempotency_key_gives_the_same_answer(api: Api, slug: str) -> None:
    """A client that repeats a request because the answer was lost changes nothing."""
    headers = {"Idempotency-Key": slug}
    first = await api.post("/v1/projects", {"slug": slug}, headers=headers)
    second = await api.post("/v1/projects", {"slug": slug}, headers=headers)
    body = {"grace": "72h", "reason": "x", "confirm": slug}
    path = f"/v1/projects/{first.body['id']}/deletion"
    scheduled = await api.post(path, body, headers=headers)
    repeated = await api.post(path, body, headers=headers)

    assert first.body == second.body
    assert (scheduled.status, repeated.status) == (202, 202)
    assert scheduled.body == repeated.body


async def _ok(api: Api, path: str) -> Answer | None:
    answer = await api.get(path)
    return answer if answer.status == 200 else None


async def _is_named(api: Api, project: str, name: str) -> bool:
    return bool((await api.get(f"/v1/projects/{project}")).body["name"] == name)


async def _action(api: Api, project: str) -> dict[str, Any] | None:
    answer = await api.get(f"/v1/actions?project={project}")
    return answer.body["items"][0] if answer.body["items"] else None


async def _is_closed(api: Api, project: str) -> bool:
    return await _action(api, project) is None


async def _tombstone(api: Api, project: str) -> dict[str, Any] | None:
    answer = await api.get(f"/v1/tombstones/{project}")
    return answer.body if answer.status == 200 else None


async def _deleted(api: Api, project: str) -> dict[str, Any] | None:
    deletion = await api.deletion(project)
    return deletion if deletion["phase"] == "deleted" else None


async def test_metrics_say_what_is_pending_and_what_is_wrong(api: Api, slug: str) -> None:
    """Monitoring sees pending actions by kind and state, findings, and whether all parts answer."""
    project = await api.project(slug)
    await api.schedule(project, slug, "72h")

    async def measured() -> dict[str, float]:
        text = (await api.get("/metrics")).body
        samples = {
            line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line[0] != "#"
        }
        return samples if samples.get('lifecycle_actions{kind="project-deletion",state="pending"}', 0) >= 1 else {}

    samples = await eventually(measured, within=10)

    assert samples['lifecycle_up{part="database"}'] == 1
    assert samples['lifecycle_up{part="worker"}'] == 1
    assert samples["lifecycle_reconciler_swept_timestamp_seconds"] > 0

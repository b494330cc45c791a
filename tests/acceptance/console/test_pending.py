"""The timeline of what is pending."""

import json
import re
from datetime import timedelta

import pytest
from playwright.async_api import Browser, Page, expect

from lifecycle import clock, ids
from lifecycle.db import Database
from lifecycle.dev.stack import WORKSPACE, Stack
from lifecycle.ledger.entry import ActionRow, ActionState, Entry
from lifecycle.models import Role
from tests.support import console
from tests.support.api import Api
from tests.support.inside import key_of, record, workspace_of
from tests.support.issuing import issued, show
from tests.support.waiting import eventually

NASTY = '<script>document.title="taken"</script><b>&'
MANY = 10_000
MOST_SHOWN = 5 * 40


async def test_i_see_what_is_due_and_cancel_it(visitor: Page, api: Api, slug: str) -> None:
    """One look says what, when, who and why; cancelling asks first, says what it does, and is final."""
    project = await api.project(slug)
    await api.schedule(project, slug, "3d")
    await visitor.goto(f"/?project={slug}")
    row = visitor.get_by_role("listitem").filter(has_text=slug)
    await expect(row).to_contain_text(re.compile(r"in 2d 23h|in 3d"))
    await expect(row).to_contain_text("Project deletion")
    await row.get_by_role("link", name=f"Cancel: {slug}").click()
    await expect(visitor.get_by_text("The project stays, with everything that it has")).to_be_visible()
    before = await api.get(f"/v1/projects/{project}/deletion")
    await visitor.get_by_role("button", name="Cancel it").click()
    await expect(visitor.get_by_text("It is cancelled, and will not happen.")).to_be_visible()
    after = await api.get(f"/v1/projects/{project}/deletion")

    assert (before.body["phase"], after.body["phase"]) == ("scheduled", "none")


async def test_moving_acts_on_what_i_saw(visitor: Page, api: Api, slug: str) -> None:
    """Somebody moved it while my page was open: mine is refused, and says why; then it moves as I say."""
    project = await api.project(slug)
    await api.schedule(project, slug, "3d")
    await eventually(lambda: _shows_generation(visitor, project, 1), within=10)
    await api.patch(f"/v1/projects/{project}/deletion", {"grace": "5d"})
    await visitor.get_by_label("From now").fill("4d")
    await visitor.get_by_role("button", name="Move it").click()
    await expect(visitor.get_by_role("alert")).to_contain_text("generation")
    await eventually(lambda: _shows_generation(visitor, project, 2), within=10)
    await visitor.get_by_label("From now").fill("4d")
    await visitor.get_by_role("button", name="Move it").click()
    await expect(visitor.get_by_text("It has another due time now.")).to_be_visible()
    deletion = (await api.get(f"/v1/projects/{project}/deletion")).body

    assert deletion["generation"] == 3


@pytest.mark.parametrize("verb", ["anything", "RUN", "cancelled"])
async def test_a_misspelt_address_does_nothing(
    browser: Browser, stack: Stack, workspace: Api, slug: str, verb: str
) -> None:
    """A form or a link whose last word is unknown is not found, and above all does not carry the action out."""
    domain = f"{slug}.example.com"
    await issued(workspace, domain)
    async with console.opened(browser, stack.api_url, workspace.key) as page:
        statuses = [
            await console.statuses(page, f"/actions/certificate-renewal/{domain}/{verb}", generation="1"),
            await console.statuses(page, f"/certificates/{domain}/{verb}"),
            await console.statuses(page, f"/deployments/dep_never/{verb}"),
        ]
        await page.goto("/deployments/dep_never/restart")
        await expect(page.get_by_role("alert")).to_contain_text("There is nothing at /deployments/dep_never/restart")
    versions = (await show(workspace, domain))["versions"]

    assert statuses == [(404, 404)] * 3
    assert len(versions) == 1


async def test_i_see_of_which_project_it_is(visitor: Page, stack: Stack, api: Api, slug: str) -> None:
    """“production #1” says nothing in a workspace of many projects: the project is named, and one click away."""
    deployment = await _stopping(stack, api, slug)
    await visitor.goto(f"/?project={slug}")
    row = visitor.get_by_role("listitem").filter(has_text="production #1 (main)")
    await expect(row).to_contain_text(f"Stop of a deployment of {slug}")
    await visitor.goto(f"/actions/standby-stop/{deployment}/cancel")
    await visitor.get_by_role("link", name=slug, exact=True).click()

    await expect(visitor).to_have_url(re.compile(f"/projects/{slug}$"))


async def test_deleting_now_is_offered_to_whoever_may_and_says_how_soon(
    browser: Browser, stack: Stack, visitor: Page, api: Api, slug: str
) -> None:
    """Not to who asked for it, nor while it is blocked; to another administrator in the words of the deletion."""
    project = await api.project(slug)
    await api.schedule(project, slug, "3d")
    await eventually(lambda: _has_row(visitor, f"/?project={slug}"), within=10)
    offered = visitor.get_by_role("link", name=f"Delete it now…: {slug}")
    await expect(visitor.get_by_role("link", name=f"Move: {slug}")).to_be_visible()
    await expect(offered).to_have_count(0)
    key = await key_of(stack, workspace=WORKSPACE, person="grace@example.com", role=Role.ADMINISTRATOR)
    async with console.opened(browser, stack.api_url, key) as page:
        await page.goto(f"/?project={slug}")
        await page.get_by_role("link", name=f"Delete it now…: {slug}").click()
        await expect(page.get_by_role("button", name=re.compile("Delete it in"))).to_be_visible()
        await page.goto(f"/actions/project-deletion/{project}/run")
        await expect(page).to_have_url(re.compile(f"/projects/{project}/deletion/expedite$"))
        ran = await console.statuses(page, f"/actions/project-deletion/{project}/run", generation="1")
        await api.put(f"/v1/projects/{project}/holds/legal", {"reason": "case 17"})
        await page.goto(f"/?project={slug}")
        await expect(page.get_by_role("listitem").filter(has_text=slug)).to_contain_text("Blocked")
        await expect(page.get_by_role("link", name=f"Delete it now…: {slug}")).to_have_count(0)

    assert ran == (303, 303)
    assert (await api.deletion(project))["expedited_by"] is None


@pytest.mark.parametrize(("role", "verbs"), [(Role.VIEWER, []), (Role.OPERATOR, ["Cancel"])])
async def test_only_what_my_role_may_do_is_offered(
    browser: Browser, stack: Stack, workspace: Api, slug: str, role: Role, verbs: list[str]
) -> None:
    """A viewer cancels nothing, an operator moves no deletion: neither finds a link to it, nor a form behind one."""
    project = await workspace.project(slug)
    await workspace.schedule(project, slug, "3d")
    await _stopping(stack, workspace, f"{slug}-b")
    key = await key_of(stack, workspace=slug, person="victor@example.com", role=role)
    async with console.opened(browser, stack.api_url, key) as page:
        await eventually(lambda: _has_row(page, "/"), within=10)
        deletion = page.locator("li.project-deletion .acts a")
        stop = page.locator("li.standby-stop .acts a")
        await expect(deletion).to_have_text(verbs)
        await expect(stop).to_have_text(["Cancel", "Move", "Run now"] if verbs else [])
        for verb, what in (("move", "This"), ("run", "Bringing it forward")):
            await page.goto(f"/actions/project-deletion/{project}/{verb}")
            await expect(page.get_by_text(f"{what} takes the role administrator")).to_be_visible()
            await expect(page.locator("main form")).to_have_count(0)


async def test_my_filters_stay_after_an_action(visitor: Page, stack: Stack, api: Api, slug: str) -> None:
    """I go through what is due of one project: after a cancel, or after thinking better of it, I am where I was."""
    deployment = await _stopping(stack, api, slug)
    await visitor.goto(f"/?kind=standby-stop&project={slug}&period=week")
    await visitor.get_by_role("link", name="Cancel: production #1 (main)").click()
    await visitor.get_by_role("link", name="Leave it as it is").click()
    await expect(visitor).to_have_url(re.compile(f"/\\?kind=standby-stop&project={slug}&period=week$"))
    await visitor.goto(f"/actions/standby-stop/{deployment}/cancel?from=//evil.example/%3Fx&from=kind%3Da%26next%3Db")

    await expect(visitor.get_by_role("link", name="Leave it as it is")).to_have_attribute("href", "/?kind=a")


async def test_what_was_done_is_said_to_me_while_it_is_so(visitor: Page, api: Api, slug: str) -> None:
    """The address that I pass on says nothing that is no longer so, whatever somebody writes behind it."""
    project = await api.project(slug)
    await api.schedule(project, slug, "3d")
    await visitor.goto(f"/projects/{slug}/deletion")
    await visitor.get_by_role("button", name="Undo: keep this project").click()
    said = visitor.get_by_text("The deletion is cancelled. The project stays.")
    await expect(said).to_be_visible()
    address = visitor.url
    await api.schedule(project, slug, "3d")
    await visitor.goto(address)
    await expect(said).to_have_count(0)
    await visitor.goto(f"/projects/{slug}?done=cancelled")
    await expect(visitor.get_by_role("region", name="Deletion")).to_be_visible()

    await expect(said).to_have_count(0)
    assert "done" not in address


async def test_what_is_late_is_not_said_to_have_happened(visitor: Page, stack: Stack, api: Api, slug: str) -> None:
    """A stop that was due ten minutes ago, and has not begun, “was due”; it can still be cancelled."""
    deployment = await _stopping(stack, api, slug, due_in=timedelta(minutes=-10))
    await visitor.goto(f"/?project={slug}")
    row = visitor.get_by_role("listitem").filter(has_text="production #1 (main)")
    await expect(row).to_contain_text(re.compile("was due 10m( [0-9]+s)? ago begins at any moment"))
    await visitor.goto(f"/actions/standby-stop/{deployment}/cancel")

    await expect(visitor.get_by_text("was due")).to_be_visible()


async def test_the_page_follows_what_happens(visitor: Page, api: Api, slug: str) -> None:
    """What somebody else schedules appears by itself, its countdown ticks, and it goes when it is cancelled."""
    project = await api.project(slug)
    await visitor.goto(f"/?project={slug}")
    await expect(visitor.get_by_text("Nothing like this is pending.")).to_be_visible()
    await api.schedule(project, slug, "50m")
    row = visitor.get_by_role("listitem").filter(has_text=slug)
    await expect(row).to_be_visible()
    when = row.locator("time")
    first = await when.inner_text()
    await expect(when).not_to_have_text(first)
    await api.delete(f"/v1/projects/{project}/deletion")
    await expect(row).to_have_count(0)


async def test_markup_in_names_and_reasons_is_text(visitor: Page, api: Api, slug: str) -> None:
    """Whatever people write is shown as they wrote it, and does nothing."""
    project = await api.project(slug)
    await api.post(f"/v1/projects/{project}/deletion", {"grace": "3d", "reason": NASTY, "confirm": slug})
    await visitor.goto(f"/?project={slug}")
    await expect(visitor.get_by_text(NASTY)).to_be_visible()

    assert await visitor.title() == "Pending · Lifecycle"


async def test_everybody_can_read_it(browser: Browser, stack: Stack, api: Api, slug: str) -> None:
    """In light and dark, on a desk and on a phone: nothing that axe calls serious, and nothing beside the screen."""
    project = await api.project(slug)
    await api.schedule(project, slug, "3d")
    for width in (console.WIDE, console.NARROW):
        for scheme in console.SCHEMES:
            async with console.opened(browser, stack.api_url, api.key, width=width, scheme=scheme) as page:
                for path in ("/", f"/?project={slug}", f"/actions/project-deletion/{project}/cancel"):
                    await page.goto(path)
                    assert await console.barriers(page) == []
                    assert await console.overflow(page) <= 0, (path, width)


async def test_ten_thousand_actions_are_one_light_page(
    browser: Browser, stack: Stack, workspace: Api, slug: str
) -> None:
    """However much is pending, the page is small, and leads to the rest; benchmarks/timeline.py says how fast."""
    db = Database(stack.database.url, size=1, deadline=timedelta(seconds=30))
    try:
        row = await db.one("SELECT id FROM workspaces WHERE name = %s", slug)
        assert row is not None
        await _fill(db, row["id"], slug)
        async with console.opened(browser, stack.api_url, workspace.key) as page:
            answer = await page.goto("/")
            assert answer is not None
            body = await answer.body()
            shown = await page.get_by_role("listitem").count()
            await expect(page.get_by_role("navigation", name="Parts of the timeline")).to_contain_text("Later")
            await page.get_by_role("link", name=re.compile("All [0-9,]+ of these")).last.click()
            await page.get_by_role("link", name="More").click()
            await expect(page.get_by_role("listitem").first).to_be_visible()
    finally:
        await db.execute("DELETE FROM pending_actions WHERE id LIKE %s", f"project-deletion/many_{slug}%")
        await db.close()

    assert 0 < shown <= MOST_SHOWN
    assert len(body) < 200_000


async def _fill(db: Database, workspace: str, slug: str) -> None:
    """Many deletions, due from now on, a few minutes apart."""
    now = clock.now()
    rows = [{"n": number, "due": (now + timedelta(minutes=number * 3)).strftime("%F %T.%f")} for number in range(MANY)]
    await db.execute(
        "INSERT INTO pending_actions (id, kind, subject, label, project_id, workspace_id, state, is_open, due_at, "
        "generation, sequence, reason, requested_by, updated_at) SELECT CONCAT('project-deletion/many_', %s, '_', n), "
        "'project-deletion', CONCAT('many_', n), CONCAT('project-', n), NULL, %s, 'pending', 1, due, 1, 1, "
        "'the customer has left us, and asked for everything to go', 'ada@example.com', %s "
        "FROM JSON_TABLE(%s, '$[*]' COLUMNS (n INT PATH '$.n', due DATETIME(6) PATH '$.due')) AS many",
        slug,
        workspace,
        now,
        json.dumps(rows),
    )


async def _shows_generation(page: Page, project: str, generation: int) -> bool:
    await page.goto(f"/actions/project-deletion/{project}/move")
    return await page.locator(f"input[name=generation][value='{generation}']").count() == 1


async def _has_row(page: Page, path: str) -> bool:
    await page.goto(path)
    return await page.locator("li.project-deletion").count() == 1


async def _stopping(stack: Stack, api: Api, slug: str, *, due_in: timedelta = timedelta(days=2)) -> str:
    """A new project with a deployment that is to be stopped; its id."""
    project, deployment, now = await api.project(slug), ids.new("dep"), clock.now()
    row = ActionRow(
        kind="standby-stop",
        subject=deployment,
        label="production #1 (main)",
        state=ActionState.PENDING,
        due_at=now + due_in,
        generation=1,
        reason="replaced",
        requested_by="ada@example.com",
    )
    entry = Entry(
        id=f"{deployment}.1",
        sequence=1,
        workspace=await workspace_of(stack, project),
        project=project,
        action="standby.scheduled",
        at=now,
        pending_action=row,
    )
    await record(stack, entry)
    return deployment

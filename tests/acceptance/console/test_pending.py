"""The timeline of what is pending."""

import json
import re
from datetime import timedelta

from playwright.async_api import Browser, Page, expect

from lifecycle import clock
from lifecycle.db import Database
from lifecycle.dev.stack import Stack
from tests.support import console
from tests.support.api import Api
from tests.support.waiting import eventually

NASTY = '<script>document.title="taken"</script><b>&'
MANY = 10_000


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
    await visitor.wait_for_url(re.compile(r"/\?done="))
    deletion = (await api.get(f"/v1/projects/{project}/deletion")).body

    assert deletion["generation"] == 3


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
        size = len((await workspace.get("/v1/actions?limit=1")).body["items"])
        async with console.opened(browser, stack.api_url, workspace.key) as page:
            answer = await page.goto("/")
            assert answer is not None
            body = await answer.body()
            await expect(page.get_by_role("navigation", name="Parts of the timeline")).to_contain_text("Later")
            await page.get_by_role("link", name=re.compile("All [0-9,]+ of these")).last.click()
            await page.get_by_role("link", name="More").click()
            await expect(page.get_by_role("listitem").first).to_be_visible()
    finally:
        await db.execute("DELETE FROM pending_actions WHERE id LIKE %s", f"project-deletion/many_{slug}%")
        await db.close()

    assert size == 1
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

"""The pages of projects and of their deployments."""

import json
import re
from datetime import timedelta

import pytest
from playwright.async_api import Browser, Page, expect

from lifecycle import clock
from lifecycle.db import Database
from lifecycle.dev.stack import Stack
from lifecycle.models import Role
from tests.support import console
from tests.support.api import Api
from tests.support.console import SCHEMES, Scheme
from tests.support.inside import key_of
from tests.support.shop import Shop
from tests.support.waiting import eventually

MANY = 10_000
BROUGHT = 250
MOST_BYTES = 100_000
NASTY = '<script>document.title="taken"</script><b>&'


async def test_the_administrator_who_was_told_undoes_it_at_once(visitor: Page, api: Api, shop: Shop) -> None:
    """“Somebody scheduled our project for deletion”: one look says when, why and who; one button keeps it."""
    await shop.deploy("one")
    await api.schedule(shop.id, shop.slug, "3d", reason="replaced by shop2")
    await visitor.goto(f"/projects/{shop.slug}")
    banner = visitor.get_by_role("region", name="Deletion")
    await expect(banner).to_contain_text(re.compile(r"This project is deleted in (2d 23h|3d)"))
    await expect(banner).to_contain_text("replaced by shop2")
    await expect(banner).to_contain_text("admin@example.com")
    await banner.get_by_role("button", name="Undo: keep this project").click()
    await expect(visitor.get_by_role("status").filter(has_text="The deletion is cancelled")).to_be_visible()
    await expect(visitor.get_by_role("region", name="Deletion")).to_have_count(0)
    await shop.serves("one")

    assert (await api.deletion(shop.id))["phase"] == "none"


async def test_on_call_rolls_back_from_the_page_of_the_project(visitor: Page, shop: Shop) -> None:
    """At three in the morning: the way back is on the first page, lists the domains that move, and moves them."""
    first = await shop.deploy("one")
    await shop.deploy("two")
    await shop.serves("two")
    await visitor.goto(f"/projects/{shop.slug}")
    await visitor.get_by_role("link", name="Roll back to the one before").click()
    await expect(visitor).to_have_url(re.compile(f"/deployments/{first}/rollback"))
    moving = visitor.get_by_role("table", name="Domains that are affected")
    await expect(moving.get_by_role("row").filter(has_text=shop.host)).to_contain_text("shows this deployment")
    await visitor.get_by_role("button", name="Roll back to this").click()
    await expect(visitor.get_by_role("heading", level=1)).to_contain_text("Live")
    await expect(visitor.get_by_role("heading", level=1)).to_contain_text("Pinned")
    await shop.serves("one")


async def test_i_make_a_project_and_find_it_again(visitor: Page, slug: str) -> None:
    """The form makes it, what is refused is said beside what was typed, and a slug leads straight to it."""
    await visitor.goto("/projects")
    await _make(visitor, slug)
    await expect(visitor.get_by_role("heading", level=1)).to_contain_text(NASTY)
    await expect(visitor.get_by_text("Nothing was deployed yet.")).to_be_visible()
    await visitor.goto("/projects")
    await _make(visitor, slug)
    await expect(visitor.get_by_role("alert")).to_contain_text("in use")
    await expect(visitor.get_by_label("Slug")).to_have_value(slug)
    await visitor.goto(f"/projects?find={slug}")
    await expect(visitor).to_have_url(re.compile(f"/projects/{slug}$"))
    await visitor.goto("/projects?find=never-was")
    await expect(visitor.get_by_role("status").filter(has_text="never-was")).to_be_visible()


async def test_the_list_says_what_is_due_next(browser: Browser, stack: Stack, workspace: Api, slug: str) -> None:
    """A platform lead sees in the list of projects which of them something happens to, and when."""
    project = await workspace.project(slug)
    await workspace.project(f"{slug}-calm")
    await workspace.schedule(project, slug, "3d")
    async with console.opened(browser, stack.api_url, workspace.key) as page:
        await page.goto("/projects")
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name=slug, exact=True))
        calm = page.get_by_role("row").filter(has_text=f"{slug}-calm")
        await expect(row).to_contain_text(re.compile(r"in (2d 23h|3d) Project deletion"))
        await expect(row).to_contain_text("Scheduled")
        await expect(calm).to_contain_text("nothing")


async def test_a_rollout_shows_itself_as_it_goes(visitor: Page, shop: Shop) -> None:
    """Steps appear with their durations, the log grows, and the page says when it is ready, without a reload."""
    deployment = await shop.begin("one")
    await visitor.goto(f"/deployments/{deployment}")
    heading = visitor.get_by_role("heading", level=1)
    await expect(heading).to_contain_text("Ready")
    await expect(heading).to_contain_text("Live")
    steps = visitor.get_by_role("table", name=re.compile("Steps of the rollout"))
    await expect(steps.get_by_role("row").filter(has_text="Finalize")).to_contain_text(re.compile(r"\d+ m?s"))
    await expect(visitor.get_by_text(shop.host)).to_be_visible()


async def test_a_rollout_that_failed_says_why(visitor: Page, shop: Shop) -> None:
    """The failing step, what was printed, as text, and what can be done instead."""
    command = ["python3", "-c", f"import sys; print({NASTY!r}); sys.exit(3)"]
    answer = await shop.ask("x", command=command)
    await shop.until(answer.body["id"], "failed")
    await visitor.goto(f"/deployments/{answer.body['id']}")
    await expect(visitor.get_by_role("alert")).to_contain_text("ended with code 3")
    await expect(visitor.get_by_role("alert")).to_contain_text(NASTY)
    row = visitor.get_by_role("row").filter(has_text="Wait until ready")
    await expect(row).to_contain_text("ended with code 3")
    await expect(row.locator("rect.bad")).to_have_count(1)
    await visitor.get_by_text("What cannot be done now, and why").click()
    await expect(visitor.get_by_text("Roll back to this")).to_be_visible()

    assert (await visitor.title()).startswith("Production of")


async def test_what_is_refused_says_why_and_what_to_do(visitor: Page, shop: Shop) -> None:
    """The confirmation of what cannot be done has no button, but the reason and the way out."""
    live = await shop.deploy("one")
    await visitor.goto(f"/deployments/{live}/stop")
    await expect(visitor.get_by_role("alert")).to_contain_text("is live and cannot be stopped")
    await expect(visitor.get_by_role("button", name="Stop")).to_have_count(0)


async def test_i_stop_a_deployment_and_wake_it_again(visitor: Page, shop: Shop) -> None:
    """The confirmation lists the names that go silent; waking is followed until it runs."""
    first = await shop.deploy("one")
    await shop.deploy("two")
    heading = visitor.get_by_role("heading", level=1)
    await visitor.goto(f"/deployments/{first}")
    await visitor.get_by_role("link", name="Stop", exact=True).click()
    own = (await shop.show(first))["domains"]
    affected = visitor.get_by_role("table", name="Domains that are affected")
    await expect(affected.get_by_role("row").filter(has_text=own[0])).to_contain_text("until it is woken")
    await visitor.get_by_role("button", name="Stop", exact=True).click()
    await expect(heading).to_contain_text("Stopped")
    await visitor.get_by_role("link", name="Wake").click()
    await visitor.get_by_role("button", name="Wake").click()
    await expect(heading).to_contain_text("Ready")
    await shop.serves("one", host=own[0])


async def test_i_give_a_rollout_up(visitor: Page, shop: Shop) -> None:
    """A rollout that gets nowhere is cancelled from its page, which then says by whom."""
    answer = await shop.ask("x", command=["python3", "-c", "import time; time.sleep(600)"])
    await shop.until_step(answer.body["id"], "wait-until-ready")
    await visitor.goto(f"/deployments/{answer.body['id']}")
    await visitor.get_by_role("link", name="Cancel the rollout").click()
    await visitor.get_by_role("button", name="Cancel the rollout").click()
    await expect(visitor.get_by_role("heading", level=1)).to_contain_text("Cancelled")
    await expect(visitor.get_by_text("Cancelled by admin@example.com.")).to_be_visible()


async def test_what_was_replaced_is_kept_by_a_button(visitor: Page, api: Api, shop: Shop) -> None:
    """Its page says when it is stopped; “Keep it running” ends exactly that countdown."""
    first = await shop.deploy("one")
    await shop.deploy("two")

    async def counted() -> bool:
        await visitor.goto(f"/deployments/{first}")
        return await visitor.get_by_text("It was replaced, and is stopped in").is_visible()

    await eventually(counted, within=15)
    await visitor.get_by_role("link", name="Keep it running").click()
    await visitor.get_by_role("button", name="Keep it running").click()
    await expect(visitor.get_by_role("status").filter(has_text="goes on running")).to_be_visible()
    action = (await api.get(f"/v1/actions/standby-stop/{first}")).body

    assert action["state"] == "cancelled"


async def test_i_add_and_remove_a_domain(visitor: Page, api: Api, shop: Shop) -> None:
    """Added by its name, shown with its state, removed after a look at what visitors get then."""
    domain = f"www.{shop.slug}.example.com"
    await visitor.goto(f"/projects/{shop.slug}")
    await visitor.get_by_label("Domain", exact=True).fill(domain)
    await visitor.get_by_role("button", name="Add the domain").click()
    card = visitor.get_by_role("article").filter(has_text=domain)
    await expect(card).to_contain_text("Verified")
    await card.get_by_role("link", name=f"Remove {domain}").click()
    await expect(visitor.get_by_text("are no longer served by this project")).to_be_visible()
    await visitor.get_by_role("button", name="Remove it").click()
    await expect(visitor.get_by_text("The domain is removed.")).to_be_visible()
    listed = (await api.get(f"/v1/projects/{shop.id}/domains")).body["items"]

    assert domain not in [one["domain"] for one in listed]


async def test_ten_thousand_host_names_are_light_pages(browser: Browser, stack: Stack, api: Api, shop: Shop) -> None:
    """Each deployment brings names along, for years: pages show what people know, the newest, and lead to the rest."""
    deployment = await shop.deploy("one")
    db = Database(stack.database.url, size=1, deadline=timedelta(seconds=30))
    try:
        await _route(db, shop.id, deployment)
        async with console.opened(browser, stack.api_url, api.key) as page:
            sizes = {}
            for path in (
                f"/projects/{shop.slug}",
                f"/projects/{shop.slug}/deletion",
                f"/deployments/{deployment}",
                f"/deployments/{deployment}/promote",
            ):
                answer = await page.goto(path)
                assert answer is not None
                sizes[path] = len(await answer.body())
            await page.goto(f"/projects/{shop.slug}")
            await expect(page.get_by_role("region", name="Routes")).to_contain_text(shop.host)
            await page.get_by_role("link", name=re.compile("All 10,0[0-9]+ host names")).click()
            seen = await page.get_by_role("row").count() - 1
            first = await page.get_by_role("rowheader").first.inner_text()
            await page.get_by_role("link", name="More").click()
            later = await page.get_by_role("rowheader").first.inner_text()
    finally:
        await db.execute("DELETE FROM routes WHERE hostname LIKE %s", f"many-%{shop.id.removeprefix('prj_')}%")
        await db.close()

    assert max(sizes.values()) < MOST_BYTES, sizes
    assert seen == 200
    assert first < later


async def test_hundreds_of_domains_of_our_own_are_told_apart(
    browser: Browser, stack: Stack, api: Api, shop: Shop
) -> None:
    """What is shown of each is so, and what is not shown is said to be there: on the page, and before a switch."""
    first = await shop.deploy("one")
    deployment = await shop.deploy("two")
    db = Database(stack.database.url, size=1, deadline=timedelta(seconds=30))
    try:
        await _bring(db, shop.id, deployment)
        async with console.opened(browser, stack.api_url, api.key) as page:
            await page.goto(f"/projects/{shop.slug}")
            domains = page.get_by_role("region", name="Domains of your own")
            await expect(domains.get_by_role("article")).to_have_count(100)
            await expect(domains).to_contain_text("And 150 more")
            await expect(page.get_by_role("region", name="Routes")).not_to_contain_text("none is live there")
            await page.goto(f"/deployments/{first}/rollback")
            await expect(page.get_by_text("And 150 host names more.")).to_be_visible()
            await page.goto(f"/deployments/{deployment}")
            await expect(page.get_by_role("region", name="Where it serves")).to_contain_text("host names more.")
    finally:
        for table in ("routes", "domains"):
            await db.execute(f"DELETE FROM {table} WHERE project_id = %s AND kind = 'custom'", shop.id)
        await db.close()


async def test_a_viewer_is_offered_nothing_that_is_refused(
    browser: Browser, stack: Stack, workspace: Api, slug: str
) -> None:
    """Everything is shown, no button is, and the page says which role it takes."""
    project = await workspace.project(slug)
    await workspace.schedule(project, slug, "3d")
    key = await key_of(stack, workspace=slug, person="victor@example.com", role=Role.VIEWER)
    async with console.opened(browser, stack.api_url, key) as page:
        for path in ("/projects", f"/projects/{slug}", f"/projects/{slug}/deletion"):
            await page.goto(path)
            await expect(
                page.get_by_role("main").get_by_role("button", name=re.compile("^(?!Go there)"))
            ).to_have_count(0)
            offered = page.get_by_role("main").get_by_role(
                "link", name=re.compile("^(Cancel|Move|Run|Delete it|Release)")
            )
            await expect(offered).to_have_count(0)
        await expect(page.get_by_text("takes the role administrator")).to_be_visible()


async def test_another_workspace_sees_none_of_it(browser: Browser, stack: Stack, workspace: Api, shop: Shop) -> None:
    """Projects, deletions and deployments of others are as if they were not there."""
    deployment = await shop.deploy("one")
    async with console.opened(browser, stack.api_url, workspace.key) as page:
        for path in (f"projects/{shop.id}", f"projects/{shop.id}/deletion", f"deployments/{deployment}"):
            answer = await page.goto(f"/{path}")
            assert answer is not None
            assert answer.status == 404
            await expect(page.get_by_role("alert")).to_be_visible()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", [console.WIDE, console.NARROW])
async def test_everybody_can_use_these_pages(
    browser: Browser, stack: Stack, api: Api, shop: Shop, width: int, scheme: Scheme
) -> None:
    """Nothing serious for a screen reader, and nothing wider than the screen, in light and dark."""
    first = await shop.deploy("one", branch="feat/" + "long-name-" * 8)
    second = await shop.deploy("two")
    await api.post(f"/v1/projects/{shop.id}/domains", {"domain": f"www.{shop.slug}.example.com"})
    await api.put(f"/v1/projects/{shop.id}/holds/legal", {"reason": "W" * 300})
    async with console.opened(browser, stack.api_url, api.key, width=width, scheme=scheme) as page:
        paths = ["/projects", f"/projects/{shop.slug}", f"/projects/{shop.slug}/deletion", f"/deployments/{first}"]
        paths += [f"/deployments/{first}/rollback", f"/deployments/{second}/stop"]
        await _check(page, *paths)
        await api.schedule(shop.id, shop.slug, "3d")
        await _check(page, f"/projects/{shop.slug}", f"/projects/{shop.slug}/deletion")


async def _route(db: Database, project: str, deployment: str) -> None:
    """Names of ten thousand commits; a hundred of them show one deployment."""
    rows = [{"n": number} for number in range(MANY)]
    await db.execute(
        "INSERT INTO routes (hostname, project_id, environment, kind, sticky, deployment_id, created_at) "
        "SELECT CONCAT('many-', n, '-', %s, '.example'), %s, 'production', 'commit', CONCAT('dep_', n), "
        "IF(n < 100, %s, NULL), %s - INTERVAL n MINUTE FROM JSON_TABLE(%s, '$[*]' COLUMNS (n INT PATH '$.n')) AS many",
        project.removeprefix("prj_"),
        project,
        deployment,
        clock.now(),
        json.dumps(rows),
    )


async def _bring(db: Database, project: str, deployment: str) -> None:
    """Domains that were brought along and verified, and show a deployment."""
    names = json.dumps([f"own-{number:03}.{project.removeprefix('prj_')}.example" for number in range(BROUGHT)])
    now = clock.now()
    await db.execute(
        "INSERT INTO domains (id, project_id, hostname, kind, status, token, created_at) SELECT CONCAT('dom_', "
        "LEFT(SHA2(name, 256), 30)), %s, name, 'custom', 'verified', 'token', %s FROM JSON_TABLE(%s, '$[*]' COLUMNS "
        "(name VARCHAR(253) PATH '$')) AS many",
        project,
        now,
        names,
    )
    await db.execute(
        "INSERT INTO routes (hostname, project_id, environment, kind, sticky, deployment_id, created_at) "
        "SELECT name, %s, 'production', 'custom', 'production', %s, %s FROM JSON_TABLE(%s, '$[*]' COLUMNS "
        "(name VARCHAR(253) PATH '$')) AS many",
        project,
        deployment,
        now,
        names,
    )


async def _make(page: Page, slug: str) -> None:
    await page.get_by_label("Slug").fill(slug)
    await page.get_by_label("Name").fill(NASTY)
    await page.get_by_role("button", name="Make it").click()


async def _check(page: Page, *paths: str) -> None:
    for path in paths:
        await page.goto(path)
        assert await console.barriers(page) == [], path
        assert await console.overflow(page) == 0, path

"""Pages that follow what happens: they show it, they say when they do not, and they take nothing out of one's hands."""

import re

from playwright.async_api import Browser, Locator, Page, Route, expect

from lifecycle.dev.stack import Stack
from tests.support import console
from tests.support.api import Api
from tests.support.waiting import eventually

# A list rests for up to five seconds between two looks.
PATIENCE = 15_000
_BROWSERS_CONNECTIONS = 6
_HIDE = """hidden => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
_JUMPS_WITHOUT = "document.body.style.minHeight = '4000px'; window.scrollTo(0, 300)"


async def test_what_i_typed_stays_when_it_is_refused(visitor: Page, api: Api, slug: str) -> None:
    """The page that says what is wrong keeps my text, whatever happens elsewhere meanwhile."""
    await api.project(slug)
    await visitor.goto("/projects")
    await visitor.get_by_label("Slug").fill(slug)
    await visitor.get_by_label("Name").fill("The new shop")
    await visitor.get_by_role("button", name="Make it").click()
    await expect(visitor.get_by_role("alert")).to_contain_text("in use")
    witness = await visitor.context.new_page()
    await witness.goto(f"/?project={slug}")
    await api.schedule(slug, slug, "3d")
    await expect(witness.get_by_role("listitem").filter(has_text=slug)).to_be_visible(timeout=PATIENCE)

    await expect(visitor.locator("main[data-live]")).to_have_count(0)
    await expect(visitor.get_by_label("Name")).to_have_value("The new shop")


async def test_a_refused_move_can_be_opened_again(visitor: Page, api: Api, slug: str) -> None:
    """What a form was sent to is no page; opening that address leads to the page with the form."""
    project = await api.project(slug)
    await api.schedule(project, slug, "3d")
    await visitor.goto(f"/projects/{slug}/deletion")
    token = await visitor.locator("input[name=form_token]").first.get_attribute("value")
    form = f'<form method="post" action="/projects/{slug}/deletion/move" id="own">'
    fields = f'<input name="form_token" value="{token}"><input name="by" value="grace"><input name="value" value="x">'
    await visitor.evaluate("html => document.body.insertAdjacentHTML('beforeend', html)", f"{form}{fields}</form>")
    async with visitor.expect_navigation():
        await visitor.evaluate("document.getElementById('own').submit()")
    await expect(visitor.get_by_role("alert").first).to_be_visible()
    await expect(visitor.locator("main[data-live]")).to_have_count(0)
    answer = await visitor.goto(f"/projects/{slug}/deletion/move")

    assert answer is not None
    assert answer.status == 200
    assert visitor.url.endswith(f"/projects/{slug}/deletion")


async def test_after_a_failure_the_page_follows_again(visitor: Page, api: Api, slug: str) -> None:
    """A server that answers badly for a moment leaves no page behind that looks alive and is not."""
    project = await api.project(slug)
    failed: list[str] = []

    async def fail_once(route: Route) -> None:
        if failed:
            await route.continue_()
            return
        failed.append(route.request.url)
        await api.schedule(project, slug, "3d")  # it happens while nobody listens
        await route.fulfill(status=503, body="")

    await visitor.route("**/events", fail_once)
    await visitor.goto(f"/?project={slug}")
    row = visitor.get_by_role("listitem").filter(has_text=slug)
    await expect(row).to_be_visible(timeout=PATIENCE)
    await api.delete(f"/v1/projects/{project}/deletion")

    await expect(row).to_have_count(0, timeout=PATIENCE)
    assert failed


async def test_a_page_that_does_not_follow_says_so(visitor: Page, api: Api, slug: str) -> None:
    """Without a connection I read of when it is what I see; when there is one again, the page is right and silent."""
    project = await api.project(slug)
    await visitor.route("**/events", lambda route: route.abort())
    await visitor.goto(f"/?project={slug}")
    said = visitor.locator("#said")
    await expect(said).to_be_empty()
    await expect(said).to_have_text(re.compile(r"Not live: what is shown is of \d\d:\d\d UTC"), timeout=PATIENCE)
    await expect(said).to_be_in_viewport()
    assert await console.barriers(visitor) == []
    await visitor.unroute("**/events")
    await api.schedule(project, slug, "3d")
    await expect(said).to_be_empty(timeout=60_000)

    await expect(visitor.get_by_role("listitem").filter(has_text=slug)).to_be_visible()


async def test_many_pages_are_open_at_once(visitor: Page, api: Api, slug: str) -> None:
    """A browser has six connections to a server; pages that nobody sees take none, and catch up when they are seen."""
    project = await api.project(slug)
    pages = [await visitor.context.new_page() for _ in range(_BROWSERS_CONNECTIONS)]
    for one in pages:
        await one.goto(f"/?project={slug}", wait_until="load")
        await one.evaluate(_HIDE, True)
    answer = await visitor.goto(f"/?project={slug}")
    await api.schedule(project, slug, "3d")
    await expect(visitor.get_by_role("listitem").filter(has_text=slug)).to_be_visible(timeout=PATIENCE)
    row = pages[0].get_by_role("listitem").filter(has_text=slug)
    before = await row.count()
    await pages[0].evaluate(_HIDE, False)
    await expect(row).to_be_visible(timeout=PATIENCE)

    assert answer is not None
    assert before == 0


async def test_a_refresh_takes_nothing_out_of_my_hands(visitor: Page, api: Api, slug: str) -> None:
    """What did not change is not touched: the focus stays, nothing is read out again, the page does not jump."""
    first, second = [await api.project(f"{slug}-{name}") for name in ("a", "b")]
    await api.schedule(first, f"{slug}-a", "3d")
    rows = visitor.get_by_role("listitem").filter(has_text=slug)
    await eventually(lambda: _shows(visitor, "/?kind=project-deletion", rows.first), within=10)
    await visitor.evaluate(_JUMPS_WITHOUT)
    await visitor.get_by_role("heading", level=1).evaluate("one => { one.isOld = true }")
    link = visitor.get_by_role("link", name=f"Move: {slug}-a")
    await link.evaluate("one => { one.isOld = true; one.focus({ preventScroll: true }) }")
    top = await visitor.evaluate("window.scrollY")
    await api.schedule(second, f"{slug}-b", "2d")  # comes before the other
    await expect(rows).to_have_count(2, timeout=PATIENCE)

    await expect(link).to_be_focused()
    assert await link.evaluate("one => one.isOld")
    assert await visitor.get_by_role("heading", level=1).evaluate("one => one.isOld")
    assert await visitor.evaluate("window.scrollY") == top


async def test_a_page_waits_while_i_am_in_a_field(visitor: Page, api: Api, slug: str) -> None:
    """As long as I am in a field nothing moves under me, and the page says of when it is; then it catches up."""
    project = await api.project(slug)
    await visitor.goto(f"/?project={slug}")
    await visitor.get_by_placeholder("slug or id").focus()
    await api.schedule(project, slug, "3d")
    row = visitor.get_by_role("listitem").filter(has_text=slug)
    await expect(visitor.locator("#said")).to_contain_text("Not live", timeout=PATIENCE)
    before = await row.count()
    await visitor.get_by_placeholder("slug or id").blur()

    assert before == 0
    await expect(row).to_be_visible(timeout=PATIENCE)
    await expect(visitor.locator("#said")).to_be_empty()


async def test_the_page_of_a_project_is_disturbed_by_no_other(visitor: Page, api: Api, slug: str) -> None:
    """What happens in other projects costs a page about one of them nothing."""
    mine, theirs = [await api.project(f"{slug}-{name}") for name in ("mine", "theirs")]
    witness = await visitor.context.new_page()
    await witness.goto(f"/?project={slug}-theirs")
    await visitor.goto(f"/projects/{slug}-mine")
    asked: list[str] = []
    visitor.on("request", lambda request: asked.append(request.url))
    await api.schedule(theirs, f"{slug}-theirs", "3d")
    await expect(witness.get_by_role("listitem").filter(has_text=slug)).to_be_visible(timeout=PATIENCE)
    before = asked.count(visitor.url)
    await api.schedule(mine, f"{slug}-mine", "3d")
    await expect(visitor.get_by_role("region", name="Deletion", exact=True)).to_be_visible(timeout=PATIENCE)

    assert before == 0
    assert asked.count(visitor.url) > 0


async def test_times_are_mine_and_say_whose_they_are(browser: Browser, stack: Stack, api: Api, slug: str) -> None:
    """Fields take UTC, so a time in my own zone names it."""
    await api.project(slug)
    async with console.opened(browser, stack.api_url, api.key, zone="Europe/Berlin") as page:
        await page.goto(f"/audit?project={slug}")
        times = page.get_by_role("listitem").locator("time")

        await expect(times.first).to_have_text(re.compile(r"\d\d:\d\d:\d\d CES?T$"))


async def _shows(page: Page, path: str, what: Locator) -> bool:
    await page.goto(path)
    return await what.count() > 0

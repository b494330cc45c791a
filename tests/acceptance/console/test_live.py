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
_HIDDEN_AT_FIRST = "Object.defineProperty(document, 'hidden', { value: true, configurable: true })"
_COUNT_WHAT_IS_PUT_IN = """() => {
    window.putIn = 0;
    const count = (seen) => [...seen.addedNodes].filter((one) => one.nodeType === Node.ELEMENT_NODE).length;
    const observer = new MutationObserver((all) => { for (const one of all) window.putIn += count(one); });
    observer.observe(document.getElementById("main"), { childList: true, subtree: true });
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


async def test_a_tab_that_was_opened_in_the_background_is_right_when_i_look(visitor: Page, api: Api, slug: str) -> None:
    """I open a page beside the one that I read, and what happened until I turn to it is on it."""
    project = await api.project(slug)
    page = await visitor.context.new_page()
    await page.add_init_script(_HIDDEN_AT_FIRST)
    await page.goto(f"/?project={slug}")
    await api.schedule(project, slug, "3d")
    await visitor.goto(f"/?project={slug}")
    row = page.get_by_role("listitem").filter(has_text=slug)
    before = await row.count()
    await page.evaluate(_HIDE, False)

    await expect(row).to_be_visible(timeout=PATIENCE)
    assert before == 0


async def test_what_happens_while_the_page_is_on_its_way_is_on_it(visitor: Page, api: Api, slug: str) -> None:
    """Between the making of a page and its first connection something is scheduled: I see it all the same."""
    project = await api.project(slug)
    witness = await visitor.context.new_page()
    await witness.goto(f"/?project={slug}")
    asked: list[str] = []

    async def after_a_change(route: Route) -> None:
        if not asked:
            await api.schedule(project, slug, "3d")
            # From then on it is no news any more.
            await expect(witness.get_by_role("listitem").filter(has_text=slug)).to_be_visible(timeout=PATIENCE)
        asked.append(route.request.url)
        await route.continue_()

    await visitor.route("**/events", after_a_change)
    await visitor.goto(f"/?project={slug}")

    await expect(visitor.get_by_role("listitem").filter(has_text=slug)).to_be_visible(timeout=PATIENCE)


async def test_while_nothing_answers_the_page_says_so(visitor: Page, api: Api, slug: str) -> None:
    """The connection stands, but the server does not get round to my page: I read of when it is what I see."""
    project = await api.project(slug)
    await visitor.goto(f"/projects/{slug}")
    said = visitor.locator("#said")
    await visitor.route(f"**/projects/{slug}", lambda _: None)
    await api.schedule(project, slug, "3d")
    await expect(said).to_contain_text("Not live", timeout=PATIENCE)
    await visitor.unroute(f"**/projects/{slug}")

    await expect(visitor.get_by_role("region", name="Deletion", exact=True)).to_be_visible(timeout=60_000)
    await expect(said).to_be_empty()


async def test_something_above_goes_and_the_rest_stays_where_it_is(visitor: Page) -> None:
    """The page loses a line: focus, what I scrolled to and what was read out are not touched."""
    loads: list[str] = []

    async def with_a_tail(route: Route) -> None:
        answer = await route.fetch()
        line = "" if loads else "<p>It goes.</p>\n"
        tail = f'<div id="tail" style="height: 4em; overflow: auto"><pre>{"line<br>" * 99}</pre></div>\n</main>'
        loads.append(route.request.url)
        text = (await answer.text()).replace("<h1>", f'{line}<p role="alert">Look.</p>\n<h1>')
        headers = {**answer.headers, "content-security-policy": ""}
        await route.fulfill(response=answer, headers=headers, body=text.replace("</main>", tail))

    await visitor.route("**/projects", with_a_tail)
    await visitor.route("**/events", lambda route: route.abort())
    await visitor.goto("/projects")
    tail, link = visitor.locator("#tail"), visitor.get_by_role("link", name="Deleted projects")
    await tail.evaluate("one => { one.scrollTop = 200 }")
    await link.evaluate("one => { one.isOld = true; one.focus({ preventScroll: true }) }")
    await visitor.evaluate(_COUNT_WHAT_IS_PUT_IN)
    await expect(visitor.get_by_text("It goes.")).to_have_count(0, timeout=60_000)

    await expect(link).to_be_focused()
    assert await link.evaluate("one => one.isOld")
    assert await tail.evaluate("one => one.scrollTop") == 200
    assert await visitor.evaluate("window.putIn") == 0


async def test_a_button_never_turns_into_its_opposite(visitor: Page, api: Api, slug: str) -> None:
    """Somebody else protects the project while I am about to: my button goes, and is not the one that lifts it."""
    project = await api.project(slug)
    await visitor.goto(f"/projects/{slug}")
    mine = await visitor.get_by_role("button", name="Protect it against deletion").element_handle()
    await api.patch(f"/v1/projects/{project}", {"protected": True})
    await expect(visitor.get_by_role("button", name="Lift the protection")).to_be_visible(timeout=PATIENCE)

    assert not await mine.evaluate("one => one.isConnected")
    assert await mine.inner_text() == "Protect it against deletion"


async def test_what_is_over_is_now_until_the_page_is_new(visitor: Page, api: Api, slug: str) -> None:
    """While the page cannot look again, what is due does not count up as if it had happened."""
    project = await api.project(slug)
    await api.schedule(project, slug, "3d")
    await visitor.goto(f"/projects/{slug}")
    banner = visitor.get_by_role("region", name="Deletion", exact=True)
    await visitor.route("**/*", lambda route: route.abort())
    await banner.locator("time").first.evaluate("one => { one.dateTime = new Date(Date.now() - 9000).toISOString() }")

    await expect(banner).to_contain_text("This project is deleted now")


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


async def test_the_page_of_a_project_is_disturbed_by_no_other(
    browser: Browser, stack: Stack, workspace: Api, slug: str
) -> None:
    """What happens in other projects costs a page about one of them nothing."""
    mine, theirs = [await workspace.project(f"{slug}-{name}") for name in ("mine", "theirs")]
    async with console.opened(browser, stack.api_url, workspace.key) as visitor:
        witness = await visitor.context.new_page()
        await witness.goto(f"/?project={slug}-theirs")
        row = witness.get_by_role("listitem").filter(has_text=slug)
        await workspace.schedule(theirs, f"{slug}-theirs", "3d")
        await expect(row).to_be_visible(timeout=PATIENCE)  # so all that was before is told
        async with visitor.expect_request(lambda one: one.url.endswith("-mine") and one.resource_type == "fetch"):
            await visitor.goto(f"/projects/{slug}-mine")
        asked: list[str] = []
        visitor.on("request", lambda request: asked.append(request.url))
        await workspace.delete(f"/v1/projects/{theirs}/deletion")
        await expect(row).to_have_count(0, timeout=PATIENCE)
        before = asked.count(visitor.url)
        await workspace.schedule(mine, f"{slug}-mine", "3d")
        await expect(visitor.get_by_role("region", name="Deletion", exact=True)).to_be_visible(timeout=PATIENCE)
        after = asked.count(visitor.url)

    assert before == 0
    assert after > 0


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

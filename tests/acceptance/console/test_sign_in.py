"""Signing in, being refused, and what forms of other sites achieve."""

import re
from urllib.parse import urlencode

from playwright.async_api import Browser, Page, expect

from lifecycle.api.limits import MAX_BODY_BYTES
from lifecycle.dev.stack import Stack
from lifecycle.models import Role
from tests.support import console
from tests.support.api import Api
from tests.support.inside import key_of


async def test_who_is_not_signed_in_is_led_back_afterwards(browser: Browser, stack: Stack, api: Api) -> None:
    """A link in a mail leads to signing in, and from there to what it was for."""
    async with console.opened(browser, stack.api_url, None) as page:
        await page.goto("/?kind=project-deletion")
        await page.get_by_label("API key").fill(api.key or "")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Pending")

        assert page.url == f"{stack.api_url}/?kind=project-deletion"


async def test_a_wrong_key_is_refused_with_what_to_do(browser: Browser, stack: Stack) -> None:
    """I am told that the key is not known and whom to ask; the next attempt is possible at once."""
    async with console.opened(browser, stack.api_url, None) as page:
        await page.goto("/sign-in")
        await page.get_by_label("API key").fill("lck_nothing")
        await page.get_by_role("button", name="Sign in").click()

        await expect(page.get_by_role("alert")).to_contain_text("unknown or revoked")
        await expect(page.get_by_label("API key")).to_be_visible()
        assert await console.barriers(page) == []


async def test_the_session_is_out_of_reach_of_scripts_and_ends_with_signing_out(visitor: Page) -> None:
    """No script can read the cookie, it is not the key, and after signing out there is none."""
    [cookie] = await visitor.context.cookies()
    await visitor.get_by_role("button", name="Sign out").click()
    await expect(visitor.get_by_label("API key")).to_be_visible()
    after = await visitor.context.cookies()

    assert (cookie.get("httpOnly"), cookie.get("sameSite")) == (True, "Lax")
    assert "lck_" not in cookie.get("value", "")
    assert after == []


async def test_a_copy_of_the_cookie_opens_nothing_after_signing_out(visitor: Page, api: Api) -> None:
    """Who took my cookie while I was signed in has nothing from it once I signed out; other sessions go on."""
    [cookie] = await visitor.context.cookies()
    headers = {"Cookie": f"{cookie.get('name')}={cookie.get('value')}"}
    async with Api(api.url, None) as thief:
        before = await thief.get("/projects", headers=headers)
        await visitor.get_by_role("button", name="Sign out").click()
        await expect(visitor.get_by_label("API key")).to_be_visible()
        after = await thief.get("/projects", headers=headers)

    assert "Sign out" in before.body
    assert "Sign out" not in after.body


async def test_a_form_of_an_ended_session_is_not_lost_silently(visitor: Page, api: Api, slug: str) -> None:
    """I send something, and my session is over: I read that it was not done, and come back to where I sent it from."""
    await visitor.goto("/projects")
    await visitor.get_by_label("Slug").fill(slug)
    await visitor.context.clear_cookies()
    await visitor.get_by_role("button", name="Make it").click()
    await expect(visitor.get_by_role("alert")).to_contain_text("what you sent was not carried out")
    assert await console.barriers(visitor) == []
    await visitor.get_by_label("API key").fill(api.key or "")
    await visitor.get_by_role("button", name="Sign in").click()
    await expect(visitor.get_by_role("heading", level=1)).to_have_text("Projects")

    assert (await api.get(f"/v1/projects/{slug}")).status == 404


async def test_an_ended_session_takes_no_other_cookie_with_it(
    browser: Browser, stack: Stack, workspace: Api, slug: str
) -> None:
    """Cookies of neighbours on this host are not ours to clear."""
    token = await key_of(stack, workspace=slug, person="bob@example.com", role=Role.OPERATOR)
    async with console.opened(browser, stack.api_url, token) as page:
        await page.context.add_cookies([{"name": "neighbour", "value": "1", "url": stack.api_url}])
        keys = (await workspace.get("/v1/api-keys")).body["items"]
        await workspace.delete(f"/v1/api-keys/{next(one['id'] for one in keys if one['person'] == 'bob@example.com')}")
        await page.goto("/")
        await expect(page.get_by_label("API key")).to_be_visible()

        assert [one.get("name") for one in await page.context.cookies()] == ["neighbour"]


async def test_a_wrong_turn_leads_back(visitor: Page, api: Api, slug: str) -> None:
    """An address that is none, and one for forms only: a page with the menu, or the page above; programs get JSON."""
    await api.project(slug)
    for path, status in (("/nowhere", 404), ("/projects/nobody", 404), ("/static/none.css", 404)):
        answer = await visitor.goto(path)
        assert answer is not None
        assert (answer.status, await visitor.get_by_role("heading", level=1).inner_text()) == (
            status,
            "That did not work",
        )
        await expect(visitor.get_by_role("navigation", name="Pages")).to_be_visible()
        assert "Nothing was changed" not in await visitor.content()
    await visitor.goto(f"/projects/{slug}/settings")
    assert visitor.url.endswith(f"/projects/{slug}")
    await visitor.goto("/sign-out")
    await expect(visitor.get_by_role("heading", level=1)).to_have_text("Pending")
    as_program = [await api.get("/nowhere"), await api.post("/health"), await api.get("/errors/slug_taken")]

    assert [one.body["code"] for one in as_program] == ["not_found", "method_not_allowed", "slug_taken"]


async def test_an_error_code_is_explained_to_people(visitor: Page) -> None:
    """Behind "what this means" I find sentences, not braces of a program, and the way back."""
    await visitor.goto("/projects/nobody")
    await visitor.get_by_role("link", name="what this means").click()
    await expect(visitor.get_by_role("heading", level=1)).to_contain_text("project_not_found")
    await expect(visitor.get_by_text("There is no such project in this workspace.")).to_be_visible()
    assert await console.barriers(visitor) == []
    await visitor.get_by_role("link", name="Back to where you were").click()

    assert visitor.url.endswith("/projects/nobody")


async def test_a_refused_form_says_that_nothing_was_changed(visitor: Page, api: Api, slug: str) -> None:
    """After a form that was refused I know how things are, and one click from where I was; also if it is too large."""
    await api.project(slug)
    await visitor.goto(f"/projects/{slug}")
    outdated = "one => { one.elements.form_token.value = 'old'; one.submit(); }"
    async with visitor.expect_navigation():
        await visitor.locator("form[action$='/settings']").first.evaluate(outdated)
    await expect(visitor.get_by_role("alert")).to_contain_text("Nothing was changed.")
    await expect(visitor.get_by_role("navigation", name="Pages")).to_be_visible()
    assert await console.barriers(visitor) == []
    await visitor.get_by_role("link", name="Back to where you were").click()
    await expect(visitor).to_have_url(re.compile(f"/projects/{slug}$"))
    large = await api.post("/projects", raw=b"x" * (MAX_BODY_BYTES + 1), headers={"Accept": "text/html"})

    assert large.status == 413
    assert "Nothing was changed." in large.body


async def test_on_a_phone_the_whole_menu_is_there(browser: Browser, stack: Stack, api: Api, slug: str) -> None:
    """No entry is beside the screen, and I see which page I am on; the same for the parts of a long page."""
    await api.project(slug)
    async with console.opened(browser, stack.api_url, api.key, width=console.NARROW) as page:
        for path, name in (("/health", "Pages"), (f"/projects/{slug}", "On this page")):
            await page.goto(path)
            for link in await page.get_by_role("navigation", name=name).get_by_role("link").all():
                await expect(link).to_be_in_viewport(ratio=1)


async def test_a_revoked_key_ends_its_sessions(browser: Browser, stack: Stack, workspace: Api, slug: str) -> None:
    """Whoever is let go has no console from then on."""
    token = await key_of(stack, workspace=slug, person="bob@example.com", role=Role.OPERATOR)
    async with console.opened(browser, stack.api_url, token) as page:
        keys = (await workspace.get("/v1/api-keys")).body["items"]
        key = next(one["id"] for one in keys if one["person"] == "bob@example.com")
        await workspace.delete(f"/v1/api-keys/{key}")
        await page.goto("/")

        await expect(page.get_by_label("API key")).to_be_visible()


async def test_a_form_of_another_page_changes_nothing(visitor: Page, api: Api, slug: str) -> None:
    """Without the token of my session, or from another site, a form is refused, and what it wanted does not happen."""
    project = await api.project(slug)
    await api.schedule(project, slug, "3d")
    [cookie] = await visitor.context.cookies()
    token = await visitor.locator("input[name=form_token]").first.get_attribute("value")
    path = f"/actions/project-deletion/{project}/cancel"
    headers = {
        "Cookie": f"{cookie.get('name')}={cookie.get('value')}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    async with Api(api.url, None) as browserless:
        without = await browserless.post(path, raw=b"generation=1", headers=headers)
        wrong = await browserless.post(path, raw=b"form_token=guessed", headers=headers)
        right = urlencode({"form_token": token or ""}).encode()
        foreign = await browserless.post(path, raw=right, headers={**headers, "Origin": "https://evil.example"})
    deletion = await api.get(f"/v1/projects/{project}/deletion")

    assert [one.status for one in (without, wrong, foreign)] == [403, 403, 403]
    assert "not one of your present session" in without.body
    assert deletion.body["phase"] == "scheduled"


async def test_pages_are_shielded(api: Api) -> None:
    """No page may be framed, run scripts of others, or be kept by a proxy; nobody is led to another site."""
    page = await api.get("/sign-in?" + urlencode({"next": "//evil.example/"}))

    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["Cache-Control"] == "no-store"
    assert re.search(r'name="next" value="/"', page.body)

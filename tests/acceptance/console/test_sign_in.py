"""Signing in, being refused, and what forms of other sites achieve."""

import re
from urllib.parse import urlencode

from playwright.async_api import Browser, Page, expect

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

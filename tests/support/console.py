"""A real browser at the console, for tests."""

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib import resources
from typing import Literal

from playwright.async_api import Browser, Page, async_playwright

WIDE, NARROW = 1280, 390
_HEIGHT = 860
_AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Debian's Chromium, without a screen."""
    program = shutil.which("chromium")
    if program is None:
        raise RuntimeError("there is no chromium: 'scripts/setup --tests' installs it")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def opened(
    browser: Browser,
    url: str,
    key: str | None,
    *,
    width: int = WIDE,
    scheme: Scheme = "light",
    zone: str = "UTC",
) -> AsyncIterator[Page]:
    """A page of a visitor of the console, who is signed in when there is a key; errors of the page fail the test."""
    context = await browser.new_context(
        base_url=url,
        viewport={"width": width, "height": _HEIGHT},
        color_scheme=scheme,
        locale="en-GB",
        timezone_id=zone,
    )
    context.set_default_timeout(15_000)
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    # What the policy of the page forbids is told to the console of the browser only.
    context.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else None)
    try:
        page = await context.new_page()
        if key is not None:
            await page.goto("/sign-in")
            await page.get_by_label("API key").fill(key)
            await page.get_by_role("button", name="Sign in").click()
            await page.wait_for_url(url + "/")
        yield page
    finally:
        await context.close()
    assert not errors, errors


async def barriers(page: Page) -> Sequence[str]:
    """What axe finds serious or critical on a page: rule and place."""
    await page.evaluate(_AXE)
    found = await page.evaluate("axe.run({resultTypes: ['violations']})")
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in found["violations"]
        if one["impact"] in {"serious", "critical"}
        for node in one["nodes"]
    ]


async def overflow(page: Page) -> int:
    """By how many pixels the page is wider than the screen."""
    width: int = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return width


async def statuses(page: Page, path: str, **fields: str) -> tuple[int, int]:
    """What a page and its form answer, without following where they lead: as a link, and as a form that is sent."""
    token = await page.locator("input[name=form_token]").first.get_attribute("value")
    asked = await page.request.get(path, max_redirects=0)
    sent = await page.request.post(path, form={**fields, "form_token": token or ""}, max_redirects=0)
    return asked.status, sent.status

"""The health page while something hangs."""

import time

from playwright.async_api import Browser, expect

from lifecycle.dev.stack import Stack
from tests.support import console
from tests.support.freezing import frozen

# Five seconds for what hangs, one to ask who looks, and room for a busy machine.
MOST_SECONDS = 15


async def test_a_part_that_hangs_is_named_and_hides_no_other(browser: Browser, own: Stack) -> None:
    """The engine stands still: the page is there all the same, soon, and says so beside all that works."""
    key = (own.root / "api-key").read_text().strip()
    async with console.opened(browser, own.api_url, key) as page:
        async with frozen(own.engine.child):
            begun = time.perf_counter()
            await page.goto("/health")
            took = time.perf_counter() - begun
            bad = page.locator(".checks .bad strong")
            await expect(bad.filter(has_text="Engine")).to_be_visible()
            await expect(page.locator(".checks .ok strong", has_text="Database")).to_be_visible()
            await expect(page.get_by_role("status").first).to_contain_text("attention")
        async with frozen(own.database.child):
            again = time.perf_counter()
            await page.goto("/health")
            took_again = time.perf_counter() - again
            await expect(bad.filter(has_text="Database")).to_be_visible()
            await expect(page.locator(".checks .ok strong", has_text="Engine")).to_be_visible()

    assert took < MOST_SECONDS
    assert took_again < MOST_SECONDS

"""Three people who need an answer in one look: an administrator, somebody on call, a platform lead."""

import re
from functools import partial
from http import HTTPStatus

from playwright.async_api import Page, expect

from lifecycle.dev.stack import Stack
from tests.support.api import Api
from tests.support.shop import Shop
from tests.support.waiting import eventually


async def test_somebody_scheduled_our_project_for_deletion(visitor: Page, stack: Stack, api: Api, slug: str) -> None:
    """The administrator opens the project: when, who and why stand first, undo beside it, and visitors are back."""
    shop = await Shop.opened(stack, api, slug)
    await shop.deploy("v1")
    body = {"grace": "3d", "reason": "replaced by shop2", "confirm": slug}
    assert (await api.post(f"/v1/projects/{shop.id}/deletion", body)).status == 202
    await eventually(partial(_is_suspended, shop), within=15)
    await visitor.goto(f"/projects/{slug}")
    banner = visitor.get_by_role("region", name="Deletion")
    await expect(banner).to_contain_text(re.compile("This project is deleted in (3d|2d 23h)"))
    await expect(banner).to_contain_text("admin@example.com says: “replaced by shop2”")
    await banner.get_by_role("link", name="What would go, and when").click()
    await expect(visitor.get_by_role("region", name="What is removed")).to_contain_text("deployment")
    await expect(visitor.get_by_role("region", name="Reminders")).to_be_visible()
    await visitor.get_by_role("button", name="Undo: keep this project").click()
    await expect(visitor.get_by_role("status").first).to_contain_text("stays")
    await shop.serves("v1")
    await visitor.goto(f"/projects/{slug}")

    await expect(visitor.get_by_role("heading", level=1)).to_contain_text("Active")
    await expect(visitor.get_by_role("region", name="Deletion")).to_have_count(0)


async def test_at_three_in_the_morning_i_roll_back(visitor: Page, stack: Stack, api: Api, slug: str) -> None:
    """The new release is bad: from the project it is two clicks, and the second says which domains change."""
    shop = await Shop.opened(stack, api, slug)
    first, second = await shop.deploy("good"), await shop.deploy("bad")
    await shop.serves("bad")
    await visitor.goto(f"/projects/{slug}")
    await visitor.get_by_role("link", name="Roll back to the one before").click()
    affected = visitor.get_by_role("table", name="Domains that are affected")
    await expect(affected).to_contain_text(shop.host)
    await expect(affected).to_contain_text(second)
    await visitor.get_by_role("button", name="Roll back").click()
    await shop.serves("good")
    await expect(visitor.get_by_role("heading", level=1)).to_contain_text("Live")
    await expect(visitor.get_by_role("heading", level=1)).to_contain_text("Pinned")
    await visitor.goto(f"/deployments/{second}")
    await expect(visitor.get_by_role("heading", level=1)).not_to_contain_text("Live")

    assert (await shop.show(first))["live"]


async def test_what_happens_next_week(visitor: Page, api: Api, slug: str) -> None:
    """The platform lead sees what is due within a week, by how soon, and can send the address to somebody."""
    graces = {"tomorrow": "30h", "friday": "5d", "in-a-month": "28d"}
    for name, grace in graces.items():
        project = await api.project(f"{slug}-{name}")
        assert (await api.schedule(project, f"{slug}-{name}", grace)).status == 202
    await eventually(partial(_lists, visitor, slug, 3), within=10)
    week = visitor.get_by_role("region", name="Within a week")
    later = visitor.get_by_role("region", name="Later")
    await expect(week.get_by_role("listitem").filter(has_text=slug)).to_have_count(2)
    await expect(later.get_by_role("listitem").filter(has_text=slug)).to_have_count(1)
    await visitor.get_by_role("link", name=re.compile("Within a week")).click()
    rows = visitor.get_by_role("listitem").filter(has_text=slug)

    await expect(rows).to_have_text([re.compile("tomorrow"), re.compile("friday")])
    assert "period=week" in visitor.url


async def _is_suspended(shop: Shop) -> bool:
    return (await shop.visit()).status == HTTPStatus.GONE


async def _lists(page: Page, slug: str, count: int) -> bool:
    await page.goto("/?kind=project-deletion")
    return await page.get_by_role("listitem").filter(has_text=slug).count() == count

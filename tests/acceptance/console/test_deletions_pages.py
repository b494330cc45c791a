"""The page of a deletion: scheduled, moved, held, followed to its receipt."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

from playwright.async_api import Browser, Page, expect

from lifecycle.db import Connection, Database
from lifecycle.dev.stack import WORKSPACE, Stack
from lifecycle.models import Role
from tests.support import console
from tests.support.api import Api
from tests.support.inside import key_of
from tests.support.shell import Shell
from tests.support.shop import Shop
from tests.support.waiting import eventually

NASTY = '<script>document.title="taken"</script><b>&'
# Resolves when the page is listening; `heard`, when it heard of a change and had time to act upon it.
_LISTEN = """() => new Promise((listening) => {
  const events = new EventSource("/events");
  events.addEventListener("clock", listening);
  window.heard = new Promise((done) => events.addEventListener("change", () => setTimeout(done, 2500)));
})"""


async def test_a_deletion_is_scheduled_after_its_impact_was_seen(visitor: Page, api: Api, shop: Shop) -> None:
    """What goes is counted first; a slug mistyped keeps all that was typed; then it is as it was asked for."""
    await shop.deploy("one")
    await visitor.goto(f"/projects/{shop.slug}/deletion")
    impact = visitor.get_by_role("list", name="What is removed")
    await expect(impact).to_contain_text(re.compile(r"1\s*deployment"))
    await visitor.get_by_label("Why, for the audit log and the receipt").fill(NASTY)
    await visitor.get_by_label("Time until then").fill("2d")
    await visitor.get_by_label("are served as ever").check()
    await visitor.get_by_label("The slug again").fill("shopp")
    await visitor.get_by_role("button", name="Schedule the deletion").click()
    await expect(visitor.get_by_role("alert")).to_be_visible()
    await expect(visitor.get_by_label("Why, for the audit log and the receipt")).to_have_value(NASTY)
    await visitor.get_by_label("The slug again").fill(shop.slug)
    await visitor.get_by_role("button", name="Schedule the deletion").click()
    await expect(visitor.get_by_text("The deletion is scheduled.")).to_be_visible()
    await expect(visitor.get_by_text(NASTY)).to_be_visible()
    deletion = await api.deletion(shop.id)

    assert (deletion["grace_seconds"], deletion["traffic"], deletion["reason"]) == (172800, "serve", NASTY)


async def test_what_i_type_stays_while_the_page_follows(visitor: Page, api: Api, shop: Shop) -> None:
    """Something happens to the project while I fill in the form: nothing of mine is lost, whatever has the focus."""
    await visitor.goto(f"/projects/{shop.slug}/deletion")
    await visitor.get_by_label("Why, for the audit log and the receipt").fill("half a sent")
    await visitor.get_by_label("are served as ever").check()
    await visitor.evaluate(_LISTEN)
    await api.put(f"/v1/projects/{shop.id}/holds/legal", {"reason": "case 17"})
    await visitor.evaluate("window.heard")
    await expect(visitor.get_by_label("Why, for the audit log and the receipt")).to_have_value("half a sent")
    await expect(visitor.get_by_role("row").filter(has_text="case 17")).to_have_count(0)
    await visitor.get_by_label("Why, for the audit log and the receipt").fill("")
    await visitor.get_by_label("get a page that says when it goes").check()
    await visitor.get_by_role("heading", level=1).click()
    await expect(visitor.get_by_role("row").filter(has_text="case 17")).to_be_visible()


async def test_a_hold_blocks_and_is_released(visitor: Page, api: Api, shop: Shop) -> None:
    """Placed with a reason, shown with who placed it, released after a look at what that does."""
    await visitor.goto(f"/projects/{shop.slug}")
    await visitor.get_by_text("Place a hold").click()
    await visitor.get_by_label("Name", exact=True).first.fill("legal")
    await visitor.get_by_label("Why").fill(NASTY)
    await visitor.get_by_role("button", name="Place it").click()
    row = visitor.get_by_role("row").filter(has_text="legal")
    await expect(row).to_contain_text(NASTY)
    await expect(row).to_contain_text("admin@example.com")
    await row.get_by_role("link", name="Release the hold legal").click()
    await visitor.get_by_role("button", name="Release it").click()
    await expect(visitor.get_by_text("The hold is released.")).to_be_visible()

    assert (await api.deletion(shop.id))["holds"] == []


async def test_a_deletion_is_moved_and_not_expedited_by_its_own_author(visitor: Page, api: Api, shop: Shop) -> None:
    """A moment is taken in UTC; deleting now is for a second administrator, and the page says so."""
    await api.schedule(shop.id, shop.slug, "3d")
    await visitor.goto(f"/projects/{shop.slug}/deletion")
    await visitor.get_by_text("Move it", exact=True).first.click()
    await visitor.get_by_label("at (UTC)").check()
    await visitor.get_by_label("Date and time in UTC").fill("2000-01-01T00:00:00")
    await visitor.get_by_role("button", name="Move it").click()
    await expect(visitor.get_by_role("alert")).to_be_visible()
    await visitor.get_by_label("in", exact=True).check()
    await visitor.get_by_label("Time until then").fill("5d")
    await visitor.get_by_role("button", name="Move it").click()
    await expect(visitor.get_by_text("The deletion is moved.")).to_be_visible()
    await visitor.get_by_role("link", name="Delete it now…").click()
    await expect(visitor.get_by_text("It takes another administrator")).to_be_visible()

    assert (await api.deletion(shop.id))["grace_seconds"] == 432000


async def test_a_second_administrator_brings_it_forward(browser: Browser, stack: Stack, api: Api, shop: Shop) -> None:
    """The page says how little time is left then; who asked first and who answers for it now are both shown."""
    await api.schedule(shop.id, shop.slug, "3d")
    key = await key_of(stack, workspace=WORKSPACE, person="grace@example.com", role=Role.ADMINISTRATOR)
    async with console.opened(browser, stack.api_url, key) as page:
        await page.goto(f"/projects/{shop.slug}/deletion")
        await page.get_by_role("link", name="Delete it now…").click()
        await expect(page.get_by_text("nothing brings the project back")).to_be_visible()
        await page.get_by_role("button", name=re.compile("Delete it in")).click()
        await expect(page.get_by_role("main")).to_contain_text("grace@example.com")
    deletion = await api.deletion(shop.id)

    assert (deletion["requested_by"], deletion["expedited_by"]) == ("admin@example.com", "grace@example.com")


async def test_a_purge_is_followed_to_its_receipt(
    visitor: Page, stack: Stack, api: Api, shop: Shop, tmp_path: Path
) -> None:
    """Step by step while it runs; then the receipt line by line, valid, and verified by the command that is given."""
    await shop.deploy("one")
    async with _held_up(stack, shop.id):
        await api.schedule(shop.id, shop.slug, "1s", reason=NASTY)
        await visitor.goto(f"/projects/{shop.slug}/deletion")
        await expect(visitor.get_by_text("can no longer be cancelled")).to_be_visible()
        await expect(visitor.locator("li[aria-current=step]")).to_contain_text("Look at what is there")
    await expect(visitor.get_by_text("Valid.")).to_be_visible()
    await expect(visitor.get_by_role("heading", level=1)).to_contain_text("Deleted")
    await expect(visitor.get_by_text(NASTY)).to_be_visible()
    removed = visitor.get_by_role("table", name="What was removed")
    await expect(removed.get_by_role("row").filter(has_text="Deployments")).to_contain_text("1")
    async with visitor.expect_download() as download:
        await visitor.get_by_role("link", name="Download the receipt").click()
    saved = tmp_path / (await download.value).suggested_filename
    await (await download.value).save_as(saved)
    program, *arguments = (await visitor.get_by_role("region", name="Command").inner_text()).split()
    told = [str(saved) if one == saved.name else one for one in arguments]

    assert program == "lifecycle"
    assert "The receipt is genuine." in await asyncio.to_thread(Shell(stack).well, *told)


async def test_of_a_deleted_project_the_page_says_what_remains(visitor: Page, api: Api, shop: Shop) -> None:
    """By id and by slug, on the page of the project too; a project that never was is not found."""
    await api.schedule(shop.id, shop.slug, "1s")

    async def gone() -> bool:
        return (await api.get(f"/v1/tombstones/{shop.id}")).status == 200

    await eventually(gone, within=20)
    for path in (f"/projects/{shop.slug}", f"/projects/{shop.id}", f"/projects/{shop.slug}/deletion"):
        await visitor.goto(path)
        await expect(visitor.get_by_text("Valid.")).to_be_visible()
    answer = await visitor.goto("/projects/never-was/deletion")

    assert answer is not None
    assert answer.status == 404


async def test_i_find_what_was_deleted_without_knowing_its_name(
    browser: Browser, stack: Stack, workspace: Api, slug: str
) -> None:
    """“What did we delete last month?”: a list, the latest first, each with its receipt; and only ours."""
    for name in (slug, f"{slug}-b"):
        project = await workspace.project(name)
        await workspace.schedule(project, name, "1s")
        await eventually(partial(_is_gone, workspace, project), within=20)
    async with console.opened(browser, stack.api_url, workspace.key) as page:
        await page.goto("/projects")
        await page.get_by_role("link", name="Deleted projects").click()
        await expect(page.get_by_role("rowheader")).to_have_text([re.compile(f"^{slug}-b "), re.compile(f"^{slug} ")])
        assert await console.barriers(page) == []
        await page.get_by_role("link", name=f"Receipt of {slug}", exact=True).click()
        await expect(page.get_by_text("Valid.")).to_be_visible()


async def test_a_receipt_that_was_changed_is_shown_as_invalid(
    visitor: Page, stack: Stack, api: Api, shop: Shop
) -> None:
    """Somebody changed the stored receipt: the page says so, and repeats nothing of what it claims."""
    await api.schedule(shop.id, shop.slug, "1s", reason="the true reason")

    async def tombstone() -> str:
        answer = await api.get(f"/v1/tombstones/{shop.id}")
        assert answer.status == 200
        return str(answer.body["receipt"])

    header, _, signature = (await eventually(tombstone, within=20)).split(".")
    await _rewrite(stack, shop.id, f"{header}.eyJyZWFzb24iOiJsaWVzIn0.{signature}")
    await visitor.goto(f"/projects/{shop.id}/deletion")
    await expect(visitor.get_by_text("Not valid.")).to_be_visible()
    await expect(visitor.get_by_role("table", name="What was removed")).to_have_count(0)


async def _is_gone(api: Api, project: str) -> bool:
    return (await api.get(f"/v1/tombstones/{project}")).status == 200


@asynccontextmanager
async def _held_up(stack: Stack, project: str) -> AsyncIterator[None]:
    """For the time of the block nobody else may change the row of a project, so a purge waits for it."""
    db = Database(stack.database.url, size=1, deadline=timedelta(seconds=60))
    locked, over = asyncio.Event(), asyncio.Event()

    async def hold(connection: Connection) -> None:
        await connection.one("SELECT id FROM projects WHERE id = %s FOR UPDATE", project)
        locked.set()
        await over.wait()

    async with asyncio.TaskGroup() as group:
        holding = group.create_task(db.transaction(hold))
        await locked.wait()
        try:
            yield
        finally:
            over.set()
            await holding
            await db.close()


async def _rewrite(stack: Stack, project: str, receipt: str) -> None:
    db = Database(stack.database.url, size=1, deadline=timedelta(seconds=10))
    try:
        await db.execute("UPDATE tombstones SET receipt = %s WHERE project_id = %s", receipt, project)
    finally:
        await db.close()

"""Certificates, audit, keys and webhooks, health: what people find there, and what they can do."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from urllib.parse import quote

import pytest
from playwright.async_api import Browser, Page, expect

from lifecycle import clock
from lifecycle.db import Database
from lifecycle.dev.stack import Stack
from lifecycle.models import Role
from tests.support import console
from tests.support.api import Api
from tests.support.inside import key_of, workspace_named
from tests.support.issuing import issued, show
from tests.support.sinks import Receiver, receiver

NASTY = '<script>document.title="taken"</script><b>&'
MANY = 2_500
MOST_BYTES = 150_000


@pytest.fixture
async def page(browser: Browser, stack: Stack, workspace: Api) -> AsyncIterator[Page]:
    """A page of the administrator of a workspace that nobody else uses."""
    async with console.opened(browser, stack.api_url, workspace.key) as opened:
        yield opened


@pytest.fixture
async def viewer(browser: Browser, stack: Stack, slug: str) -> AsyncIterator[Page]:
    """A page of somebody in the same workspace who may only look."""
    token = await key_of(stack, workspace=slug, person="vera@example.com", role=Role.VIEWER)
    async with console.opened(browser, stack.api_url, token) as opened:
        yield opened


@pytest.fixture
async def sink() -> AsyncIterator[Receiver]:
    """A receiver of webhooks."""
    async with receiver() as running:
        yield running


async def test_a_certificate_is_ordered_renewed_and_revoked(page: Page, workspace: Api, slug: str) -> None:
    """From the order to the end: each step says what it does, asks, and is seen on the page of the certificate."""
    domain = f"www.{slug}.example.com"
    await page.goto("/certificates")
    await expect(page.get_by_text("There are no certificates yet.")).to_be_visible()
    await page.get_by_role("button", name="Filter").click()
    await expect(page.get_by_text("There are no certificates yet.")).to_be_visible()
    await page.get_by_label("Domain").fill(domain)
    await page.get_by_label("Further names").fill(f"{slug}.example.com")
    await page.get_by_role("button", name="Order it").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text(f"{domain} Active")
    await page.get_by_role("link", name="Renew now").click()
    await expect(page.get_by_text("Visitors get the present one until the new one is there")).to_be_visible()
    await page.get_by_role("button", name="Renew it now").click()
    versions = page.get_by_role("table").last
    await expect(versions.get_by_role("row").nth(1)).to_contain_text("in use")
    await expect(versions.get_by_role("row").nth(2)).to_contain_text("replaced")
    await page.get_by_role("link", name="Revoke").click()
    await expect(page.get_by_text("This cannot be undone.")).to_be_visible()
    await page.get_by_label("Another one has taken its place").check()
    await page.get_by_role("button", name="Revoke it for ever").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Revoked")
    found = await show(workspace, domain)
    entries = (await workspace.get(f"/v1/audit?domain={domain}&action=certificate.*")).body["items"]

    assert found["status"] == "revoked"
    assert [one["number"] for one in found["versions"]] == [2, 1]
    assert {one["actor"] for one in entries} == {"ada@example.com", "lifecycle"}


async def test_numbers_are_of_the_project_that_i_chose(page: Page, workspace: Api, slug: str) -> None:
    """Above the list of one project stands how many it has, and not how many everybody has."""
    await workspace.project(slug)
    await issued(workspace, f"{slug}.example.com", project=slug)
    await issued(workspace, f"other-{slug}.example.com")
    active = page.get_by_role("navigation", name="Certificates by state").get_by_role("link", name=re.compile("Active"))
    await page.goto("/certificates")
    await expect(active).to_have_text("2 Active")
    await page.goto(f"/certificates?project={slug}")
    await expect(active).to_have_text("1 Active")
    await active.click()

    await expect(page.locator(".lives li")).to_have_count(1)


async def test_a_refused_order_says_what_to_do(page: Page) -> None:
    """What no CA would certify is refused at once, in words."""
    await page.goto("/certificates")
    await page.get_by_label("Domain").fill("*.example.com")
    await page.get_by_role("button", name="Order it").click()

    await expect(page.get_by_role("alert")).to_be_visible()
    await expect(page.get_by_text("dns-01").first).to_be_visible()


async def test_records_for_a_person_to_set_are_shown(page: Page, workspace: Api, slug: str) -> None:
    """Name and value are there to copy, and whoever has set them says so, or gives it up."""
    domain = f"*.{slug}.example.com"
    await page.goto("/certificates")
    await page.get_by_label("Domain").fill(domain)
    await page.get_by_label("Control is proved by").select_option(label="a DNS record that somebody sets by hand")
    await page.get_by_role("button", name="Order it").click()
    records = page.get_by_role("table").first
    await expect(records).to_contain_text(f"_acme-challenge.{slug}.example.com")
    [record] = (await show(workspace, quote(domain, safe="")))["records"]
    await expect(records).to_contain_text(record["value"])
    await page.get_by_role("button", name="They are set: look now").click()
    await expect(page.get_by_text("The records are being looked for.")).to_be_visible()
    await page.get_by_role("link", name="Give this issuance up").click()
    await page.get_by_role("button", name="Give it up").click()

    await expect(page.get_by_role("heading", level=1)).to_contain_text("Failed")


async def test_the_next_renewal_says_when_and_why_and_can_be_cancelled(page: Page, workspace: Api, slug: str) -> None:
    """I see the moment and its reason, and what cancelling does; afterwards the page says that nobody renews it."""
    domain = f"{slug}.example.com"
    await issued(workspace, domain)
    await page.goto(f"/certificates/{domain}")
    await expect(page.locator("dt:text-is('Why then') + dd")).not_to_be_empty()
    await page.get_by_role("link", name="Cancel the renewal").click()
    await page.get_by_role("button", name="Cancel it").click()
    await expect(page.get_by_text("It is cancelled, and will not happen.")).to_be_visible()
    await page.goto(f"/certificates/{domain}")

    await expect(page.locator("dt:text-is('Next renewal') + dd")).to_contain_text("somebody cancelled it")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Not renewed")


async def test_thousands_of_certificates_are_light_pages(page: Page, stack: Stack, workspace: Api, slug: str) -> None:
    """Soonest first over all pages, nothing twice, nothing left out, and no page is heavy."""
    db = Database(stack.database.url, size=1, deadline=timedelta(seconds=30))
    try:
        await _fill(db, await workspace_named(stack, slug), slug)
        answer = await page.goto("/certificates")
        assert answer is not None
        size = len(await answer.body())
        shown = await page.locator(".lives li").count()
        ends = await page.locator(".lives .when time").evaluate_all("all => all.map(one => one.dateTime)")
        await page.get_by_role("link", name="More, that expire later").click()
        later = await page.locator(".lives .when time").first.get_attribute("datetime")
        listed = await _all(workspace, "/v1/certificates?sort=expiry&limit=400")
    finally:
        await db.execute("DELETE FROM certificates WHERE issuance_id LIKE %s", f"iss_{slug}%")
        await db.execute("DELETE FROM certificate_domains WHERE domain LIKE %s", f"%.{slug}.example.com")
        await db.close()

    assert size < MOST_BYTES
    assert shown == 100
    assert ends == sorted(ends)
    assert (later or "") >= ends[-1]
    assert len(listed) == len({one["domain"] for one in listed}) == MANY
    assert listed == sorted(listed, key=lambda one: (one["not_after"] or "", one["domain"]))


async def test_the_log_is_found_by_what_i_know(page: Page, workspace: Api, slug: str) -> None:
    """By project, kind of action, person and time; each entry has an address, and says everything."""
    project = await workspace.project(slug)
    await workspace.post(f"/v1/projects/{project}/deletion", {"grace": "3d", "reason": NASTY, "confirm": slug})
    await page.goto("/audit")
    await expect(page.locator(".log li")).to_have_count(3)
    filters = page.get_by_role("search")
    await filters.get_by_label("Action").fill("deletion.*")
    await filters.get_by_label("Project").fill(slug)
    await page.get_by_role("button", name="Filter").click()
    await expect(page.locator(".log li")).to_have_count(1)
    await expect(page.get_by_text(NASTY)).to_be_visible()
    await page.get_by_role("link", name="Deletion scheduled: this entry").click()
    address = page.url
    await page.goto("/audit?action=Deletion%20scheduled")
    await expect(page.locator(".log li")).to_have_count(1)
    await page.goto("/audit?action=50%25")
    await expect(page.get_by_role("alert")).to_contain_text("write one as 'Deletion scheduled'")
    await page.goto("/audit?since=2026-01-02T03:04:05Z&until=2126-01-02T03:04:05.250%2B01:00")
    await expect(page.get_by_label("From (UTC)")).to_have_value("2026-01-02T03:04:05")
    await expect(page.get_by_label("To (UTC)")).to_have_value("2126-01-02T02:04:05")
    await page.goto(address)
    await expect(page.locator("dd", has_text=NASTY)).to_be_visible()
    await page.goto("/audit?person=nobody@example.com")
    await expect(page.get_by_text("Nothing in the log is like this.")).to_be_visible()
    await page.goto("/audit?until=2020-01-01T00:00")
    await expect(page.get_by_text("Nothing in the log is like this.")).to_be_visible()
    await page.goto("/audit?since=yesterday")
    await expect(page.get_by_role("alert")).to_contain_text("since")

    assert address.endswith(f"/audit/{project}.2")
    assert "taken" not in await page.title()


async def test_a_key_is_shown_once_works_and_ends(browser: Browser, stack: Stack, page: Page) -> None:
    """I give somebody a key, they get in with it, and when I revoke it they are out."""
    await page.goto("/access")
    await page.get_by_label("Whose key it is").fill("<i>bob</i>")
    await page.get_by_label("Role").select_option("viewer")
    await page.get_by_role("button", name="Make the key").click()
    token = await page.get_by_label("The API key").input_value()
    await page.get_by_role("link", name="I have it").click()
    await expect(page.get_by_text("<i>bob</i>")).to_be_visible()
    assert token not in await page.content()
    async with console.opened(browser, stack.api_url, token) as theirs:
        await expect(theirs.get_by_text("<i>bob</i>")).to_be_visible()
        await page.get_by_role("link", name="Revoke the key of <i>bob</i>").click()
        await page.get_by_role("button", name="Revoke it").click()
        await expect(page.get_by_text("The key is revoked.")).to_be_visible()
        # Its page follows what happens, and so is led to the sign-in by itself.
        await expect(theirs.get_by_label("API key")).to_be_visible()


async def test_a_webhook_is_added_tried_paused_and_removed(page: Page, sink: Receiver, slug: str) -> None:
    """The secret is shown once and verifies what comes; what was sent can be sent again under the same id."""
    path = f"/{slug}"
    await page.goto("/access/webhooks")
    await page.get_by_label("URL to post to").fill(sink.url(path))
    await page.get_by_label("What it is").fill(NASTY)
    await page.get_by_role("button", name="Add it").click()
    secret = await page.get_by_label("The signing secret").input_value()
    await page.get_by_role("link", name="I have it").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text(NASTY)
    assert secret not in await page.content()
    await page.get_by_role("button", name="Send a test").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("delivered")
    await page.get_by_role("button", name="Send it again").click()
    await expect(page.get_by_role("table").get_by_role("row")).to_have_count(3)
    await page.get_by_role("link", name="Deliveries", exact=True).first.click()
    await page.get_by_label("Event").fill("webhook.test")
    await page.get_by_role("button", name="Filter").click()
    await page.get_by_role("link", name="Delivery of webhook.test").click()
    await page.get_by_role("link", name=sink.url(path)).click()
    await page.get_by_role("button", name="Pause it").click()
    await expect(page.get_by_text("Nothing is sent there. Somebody disabled it.")).to_be_visible()
    await expect(page.get_by_text("Nothing is sent there until somebody enables it.")).to_be_visible()
    await expect(page).not_to_have_url(re.compile("done"))
    await expect(page.get_by_role("button", name="Send a test")).to_be_visible()
    await expect(page.get_by_role("link", name="Send again what it missed")).to_have_count(0)
    await page.goto("/health")
    await expect(page.get_by_text("Enable it once the receiver works, or remove it.")).to_be_visible()
    await page.get_by_role("link", name=sink.url(path)).click()
    await page.get_by_role("button", name="Enable it").click()
    await page.get_by_role("link", name="Send again what it missed").click()
    await expect(page.get_by_text("What was delivered is not sent again.")).to_be_visible()
    await page.get_by_role("button", name="Send them again").click()
    await expect(page.get_by_text("What it has missed is being sent again")).to_be_visible()
    await page.get_by_role("link", name="New secret").click()
    await page.get_by_role("button", name="Make a new secret").click()
    await page.get_by_role("link", name="I have it").click()
    await page.get_by_role("link", name="New secret").click()
    await expect(page.get_by_text("The receiver may still have the former secret")).to_be_visible()
    await page.get_by_role("link", name="Leave it as it is").click()
    await page.get_by_role("link", name="Remove").click()
    await page.get_by_role("button", name="Remove it").click()
    await expect(page.get_by_text("No webhook is set up.")).to_be_visible()
    await page.goto("/access?done=key-revoked")
    await expect(page.get_by_role("main").get_by_role("status")).to_have_count(0)
    tests = sink.at(path, "webhook.test")

    assert [one.verified(secret)["type"] for one in tests] == ["webhook.test"] * 2
    assert len({one.id for one in tests}) == 1


async def test_mail_and_calendar_are_set_up_and_taken_back(page: Page, workspace: Api, slug: str) -> None:
    """Who gets mail about what, and a link for calendars that works until it is revoked."""
    await page.goto("/access/mail")
    await page.get_by_label("Address", exact=True).fill(f"{slug}@example.com")
    await page.get_by_label("Events", exact=True).fill("deletion.*, alarm.*")
    await page.get_by_role("button", name="Set it").click()
    row = page.get_by_role("row").filter(has_text=f"{slug}@example.com")
    await expect(row).to_contain_text("deletion.*")
    await row.get_by_role("button", name="Forget").click()
    await expect(row).to_have_count(0)
    await page.goto("/access/calendar")
    await page.get_by_role("button", name="Make a link").click()
    url = await page.get_by_label("The address to subscribe to").input_value()
    async with workspace.with_key(None) as anybody:
        path = url.removeprefix(workspace.url)
        before = await anybody.get(path)
        await page.get_by_role("link", name="I have it").click()
        await page.get_by_role("button", name="Revoke").click()
        await expect(page.get_by_text("The link is revoked")).to_be_visible()
        after = await anybody.get(path)

    assert (before.status, after.status) == (200, 404)


async def test_whoever_may_not_is_told_so_instead_of_being_offered_it(viewer: Page, workspace: Api, slug: str) -> None:
    """A viewer sees what there is, no button that would be refused, and which role each takes."""
    domain = f"{slug}.example.com"
    await issued(workspace, domain)
    for path, words in (
        ("/certificates", "Ordering a certificate takes the role operator"),
        (f"/certificates/{domain}", "Renewing, moving and cancelling takes the role operator"),
        (f"/certificates/{domain}/revoke", "This takes the role administrator"),
        ("/access", "Seeing and making keys takes the role administrator"),
        ("/access/webhooks", "takes the role administrator"),
        ("/access/mail", "takes the role administrator"),
        ("/access/deliveries", "takes the role operator"),
    ):
        await viewer.goto(path)
        await expect(viewer.get_by_text(words)).to_be_visible()
        await expect(viewer.locator("main form[method=post], main a.button:not([download])")).to_have_count(0)


async def test_health_says_what_is_the_matter(visitor: Page, page: Page) -> None:
    """The workspace of the platform sees every part with its figures; the others whether each works, and no more."""
    await visitor.goto("/health")
    for part in ("Database", "Engine", "Worker", "Reconciler", "Gateway", "Authority pebble"):
        await expect(visitor.locator(".checks strong", has_text=re.compile(f"^{part}$")).first).to_be_visible()
    await expect(visitor.get_by_text("restate-server").first).to_be_visible()
    await page.goto("/health")
    await expect(page.locator(".checks strong", has_text="Engine")).to_be_visible()

    await expect(page.get_by_text("restate-server")).to_have_count(0)
    await expect(page.get_by_text("Authority pebble")).to_have_count(0)


async def test_everybody_can_read_these_pages(
    browser: Browser, stack: Stack, workspace: Api, sink: Receiver, slug: str
) -> None:
    """In light and dark, on a desk and on a phone: nothing that axe calls serious, and nothing beside the screen."""
    domain = f"{slug}.example.com"
    await issued(workspace, domain)
    failed = quote(f"*.{slug}.example.com", safe="")
    await workspace.post(f"/v1/certificates/{failed}/issue", {"challenge": "dns-01", "by_person": True})
    await workspace.post(f"/v1/certificates/{failed}/halt")
    project = await workspace.project(slug)
    hook = (await workspace.post("/v1/webhooks", {"url": sink.url("/x"), "description": "y" * 90})).body["id"]
    delivery = (await workspace.post(f"/v1/webhooks/{hook}/test")).body["id"]
    [key] = [one["id"] for one in (await workspace.get("/v1/api-keys")).body["items"]]
    paths = [
        "/certificates",
        f"/certificates/{domain}",
        f"/certificates/{failed}",
        f"/certificates/{domain}/renew",
        f"/certificates/{domain}/revoke",
        "/audit",
        f"/audit/{project}.1",
        "/access",
        f"/access/keys/{key}/revoke",
        "/access/webhooks",
        f"/access/webhooks/{hook}",
        f"/access/webhooks/{hook}/remove",
        "/access/mail",
        "/access/deliveries",
        f"/access/deliveries/{delivery}",
        "/access/calendar",
        "/health",
    ]
    schemes: Mapping[int, console.Scheme] = {console.WIDE: "light", console.NARROW: "dark"}
    for width, scheme in schemes.items():
        async with console.opened(browser, stack.api_url, workspace.key, width=width, scheme=scheme) as opened:
            for path in paths:
                await opened.goto(path)
                assert await console.barriers(opened) == [], (path, scheme)
                assert await console.overflow(opened) <= 0, (path, width)


async def _all(api: Api, path: str) -> list[dict[str, str]]:
    """Everything of a list, page by page."""
    found: list[dict[str, str]] = []
    cursor = ""
    while True:
        answer = await api.get(f"{path}{cursor}")
        assert answer.status == 200, answer
        found += answer.body["items"]
        if answer.body["next_cursor"] is None:
            return found
        cursor = f"&cursor={answer.body['next_cursor']}"


async def _fill(db: Database, workspace: str, slug: str) -> None:
    """Many certificates with lives of 90 days, and some domains that have none yet."""
    now = clock.now()
    rows = [
        {
            "n": number,
            "from": (now - timedelta(hours=number % 700)).strftime("%F %T.%f"),
            "to": (now + timedelta(days=90, hours=-(number % 700))).strftime("%F %T.%f"),
        }
        for number in range(MANY)
    ]
    many = (
        "JSON_TABLE(%s, '$[*]' COLUMNS (n INT PATH '$.n', starts DATETIME(6) PATH '$.from', "
        "ends DATETIME(6) PATH '$.to')) AS many"
    )
    await db.execute(
        "INSERT INTO certificate_domains (domain, workspace_id, names, challenge, status, next_renewal_at, last_error, "
        "sequence, updated_at) SELECT CONCAT('site-', n, '.', %s, '.example.com'), %s, JSON_ARRAY('x'), 'http-01', "
        f"IF(MOD(n, 500) = 0, 'failed', 'active'), ends - INTERVAL 30 DAY, '', 1, %s FROM {many}",
        slug,
        workspace,
        now,
        json.dumps(rows),
    )
    await db.execute(
        "INSERT INTO certificates (id, domain, version, workspace_id, issuance_id, ca, names, status, serial, issuer, "
        "not_before, not_after, cause, chain, sealed_key, key_digest, created_at) SELECT CONCAT('c_', n, %s), "
        "CONCAT('site-', n, '.', %s, '.example.com'), 1, %s, CONCAT('iss_', %s, n), 'pebble', JSON_ARRAY('x'), "
        "'served', HEX(n), 'CN=Pebble', starts, ends, 'requested', '', '', '', %s "
        f"FROM {many} WHERE MOD(n, 500) <> 0",
        slug,
        slug,
        workspace,
        slug,
        now,
        json.dumps(rows),
    )

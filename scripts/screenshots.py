"""Makes docs/screenshots: each page of the console, in light and dark, on a desk and on a phone, with real data."""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.async_api import Browser

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from lifecycle import clock  # noqa: E402  as below
from lifecycle.db import Database  # noqa: E402  as below
from lifecycle.dev.acme import PebbleOptions  # noqa: E402  as below
from lifecycle.dev.stack import Stack  # noqa: E402  the tests are no package that is installed
from tests.support import console  # noqa: E402  as above
from tests.support.api import Api  # noqa: E402  as above
from tests.support.issuing import issued, until  # noqa: E402  as above
from tests.support.shop import Shop  # noqa: E402  as above
from tests.support.waiting import eventually  # noqa: E402  as above

FOLDER = ROOT / "docs" / "screenshots"
_PATIENCE_SECONDS = 60
_LIFE_SECONDS = 90 * 24 * 3600
_COLOURS = 256  # with fewer, the few places that are red turn yellow
# How old certificates are, how long they live, and when they are renewed from now; the others are new.
_LIVES = {
    "api.shop.example": (timedelta(days=40), timedelta(days=90), timedelta(days=20)),
    "billing.example": (timedelta(days=70), timedelta(days=90), timedelta(hours=2)),
    "status.example": (timedelta(days=3), timedelta(days=6), timedelta(days=1)),
}
# The authority certifies it for nobody.
_REFUSED = "brand-of-another.example"


class Pictured(Stack):
    """Servers whose certificate authority has rate limits, as public ones do."""

    def write_certificates_file(self, more: str = "") -> None:
        """Write which authority there is, and `more` TOML after it."""
        super().write_certificates_file(f'limits = "letsencrypt"\n{more}')


async def main() -> None:
    """Start servers, let things happen, take the pictures."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    root = Path(tempfile.mkdtemp(prefix="lifecycle-pictures-"))
    authority = PebbleOptions(options={"certificateValidityPeriod": _LIFE_SECONDS, "domainBlocklist": [_REFUSED]})
    stack = Pictured(root / "s", settings={"LIFECYCLE_RECONCILER_INTERVAL": "1s"}, authority=authority)
    try:
        await stack.start()
        async with Api(stack.api_url, (stack.root / "api-key").read_text().strip()) as api:
            pages = await _fill(stack, api)
            async with console.chromium() as browser:
                await _take(browser, stack, api, pages)
    finally:
        await stack.stop()
        shutil.rmtree(root)


async def _fill(stack: Stack, api: Api) -> Mapping[str, str]:
    """Projects, deployments, certificates, deletions; returns the pages to look at, by name."""
    shop = await Shop.opened(stack, api, "shop")
    for number, commit in (("1", "d87fb8f7aa01"), ("2", "4be1c0ffee02")):
        live = await shop.deploy(number, branch="main", commit_sha=commit, **_hello("shop", number))
    await api.post(f"/v1/projects/{shop.id}/domains", {"domain": "www.shop.example"})
    for domain in ("www.shop.example", "api.shop.example", "billing.example", "status.example"):
        await issued(api, domain, project="shop" if "shop" in domain else None)
    await api.post(f"/v1/certificates/{_REFUSED}/issue", {"challenge": "http-01"})
    await until(api, _REFUSED, "failed")
    await _age(stack)
    playground = await Shop.opened(stack, api, "playground")
    await playground.deploy("1", branch="main", commit_sha="0ddba11fab03", **_hello("playground", "1"))
    for slug, grace, reason in (
        ("shop-legacy", "40m", "replaced by shop"),
        ("billing-sandbox", "20h", "contract ended"),
        ("playground", "3d", "unused since spring, nobody objected"),
        ("archive-2019", "21d", "kept as long as the law wants it"),
    ):
        body = {"grace": grace, "reason": reason, "confirm": slug}
        project = playground.id if slug == "playground" else await api.project(slug)
        await api.post(f"/v1/projects/{project}/deletion", body)
    gone = await api.project("old-landing-page")
    await api.post(
        f"/v1/projects/{gone}/deletion", {"grace": "1s", "reason": "campaign is over", "confirm": "old-landing-page"}
    )
    await api.post("/v1/webhooks", {"url": "https://hooks.example.com/lifecycle", "events": ["deletion.*", "alarm.*"]})

    async def is_done() -> bool:
        is_gone = (await api.get(f"/v1/tombstones/{gone}")).status == 200  # noqa: PLR2004  HTTP
        pending = (await api.get("/v1/actions?kind=project-deletion")).body["items"]
        return is_gone and len(pending) == 4  # noqa: PLR2004  as made above

    await eventually(is_done, within=_PATIENCE_SECONDS)
    return {
        "sign-in": "/sign-in",
        "pending": "/",
        "cancel": "/actions/project-deletion/playground/cancel",
        "projects": "/projects",
        "project": "/projects/shop",
        "project-scheduled": "/projects/playground",
        "deployment": f"/deployments/{live}",
        "deletion": "/projects/playground/deletion",
        "receipt": f"/projects/{gone}/deletion",
        "certificates": "/certificates",
        "certificate": "/certificates/www.shop.example",
        "certificate-refused": f"/certificates/{_REFUSED}",
        "audit": "/audit",
        "keys": "/access",
        "webhooks": "/access/webhooks",
        "health": "/health",
    }


def _hello(*words: str) -> dict[str, object]:
    return {"command": ["python3", "hello.py", *words], "directory": str(ROOT / "examples" / "hello")}


async def _age(stack: Stack) -> None:
    """Let certificates be as old as if Lifecycle had run for months."""
    db = Database(stack.database.url, size=1, deadline=timedelta(seconds=10))
    try:
        now = clock.now()
        for domain, (age, life, renewal) in _LIVES.items():
            await db.execute(
                "UPDATE certificates SET not_before = %s, not_after = %s WHERE domain = %s",
                now - age,
                now - age + life,
                domain,
            )
            await db.execute(
                "UPDATE certificate_domains SET next_renewal_at = %s WHERE domain = %s", now + renewal, domain
            )
            action = f"certificate-renewal/{domain}"
            await db.execute("UPDATE pending_actions SET due_at = %s WHERE id = %s", now + renewal, action)
    finally:
        await db.close()


async def _take(browser: Browser, stack: Stack, api: Api, pages: Mapping[str, str]) -> None:
    for width, device in ((console.WIDE, "wide"), (console.NARROW, "narrow")):
        for scheme in console.SCHEMES:
            async with console.opened(browser, stack.api_url, api.key, width=width, scheme=scheme) as page:
                for name, path in pages.items():
                    await page.goto(path)
                    picture = Image.open(BytesIO(await page.screenshot(full_page=True)))
                    fewer = picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
                    fewer.save(FOLDER / f"{name}-{device}-{scheme}.png", optimize=True)


if __name__ == "__main__":
    asyncio.run(main())

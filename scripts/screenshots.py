"""Makes docs/screenshots: each page of the console, in light and dark, on a desk and on a phone, with real data."""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.async_api import Browser

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from lifecycle.dev.acme import PebbleOptions  # noqa: E402  as below
from lifecycle.dev.stack import Stack  # noqa: E402  the tests are no package that is installed
from tests.support import console  # noqa: E402  as above
from tests.support.api import Api  # noqa: E402  as above
from tests.support.issuing import issued  # noqa: E402  as above
from tests.support.shop import Shop  # noqa: E402  as above
from tests.support.waiting import eventually  # noqa: E402  as above

FOLDER = ROOT / "docs" / "screenshots"
_PATIENCE_SECONDS = 60
_LIFE_SECONDS = 90 * 24 * 3600
_COLOURS = 96  # a few kilobytes a page, and nobody sees a difference


async def main() -> None:
    """Start servers, let things happen, take the pictures."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    root = Path(tempfile.mkdtemp(prefix="lifecycle-pictures-"))
    authority = PebbleOptions(options={"certificateValidityPeriod": _LIFE_SECONDS})
    stack = Stack(root / "s", settings={"LIFECYCLE_RECONCILER_INTERVAL": "1s"}, authority=authority)
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
        example = {"command": ["python3", "hello.py", "shop", number], "directory": str(ROOT / "examples" / "hello")}
        live = await shop.deploy(number, branch="main", commit_sha=commit, **example)
    await api.post(f"/v1/projects/{shop.id}/domains", {"domain": "www.shop.example"})
    for domain in ("www.shop.example", "api.shop.example", "billing.example", "status.example"):
        await issued(api, domain, project="shop" if "shop" in domain else None)
    for slug, grace, reason in (
        ("shop-legacy", "40m", "replaced by shop"),
        ("billing-sandbox", "20h", "contract ended"),
        ("playground", "3d", "unused since spring, nobody objected"),
        ("archive-2019", "21d", "kept as long as the law wants it"),
    ):
        body = {"grace": grace, "reason": reason, "confirm": slug}
        await api.post(f"/v1/projects/{await api.project(slug)}/deletion", body)
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
        "audit": "/audit",
        "keys": "/access",
        "webhooks": "/access/webhooks",
        "health": "/health",
    }


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

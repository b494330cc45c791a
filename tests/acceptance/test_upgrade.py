"""A deletion that one release scheduled is carried out by the next."""

import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import lifecycle
from lifecycle.dev.process import Child
from lifecycle.dev.servers import answers
from lifecycle.dev.stack import Stack
from lifecycle.receipts import signing
from tests.support.api import Api
from tests.support.waiting import eventually


@pytest.fixture
async def own() -> AsyncIterator[Stack]:
    """A stack of our own, whose worker is replaced."""
    root = Path(tempfile.mkdtemp(prefix="lifecycle-upgrade-"))
    running = Stack(root / "s")
    try:
        await running.start()
        yield running
    finally:
        await running.stop()
        shutil.rmtree(root)


async def test_what_was_scheduled_fires_on_the_newer_worker(own: Stack, slug: str) -> None:
    """Scheduled by this release, carried out by a newer one, while the old worker still runs and after it is gone."""
    newer = _newer_release(own)
    newer_worker = Child(
        "newer worker",
        [sys.executable, "-m", "lifecycle", "worker"],
        environment={
            **own.environment,
            "PYTHONPATH": str(newer),
            "LIFECYCLE_WORKER_PORT": str(own.ports["restate_node"] + 1),
            "LIFECYCLE_WORKER_PUBLIC_URL": f"http://127.0.0.1:{own.ports['restate_node'] + 1}",
        },
        log=own.root / "logs" / "newer.log",
    )
    async with Api(own.api_url, (own.root / "api-key").read_text().strip()) as api:
        projects = [await api.project(f"{slug}-{number}") for number in range(2)]
        for number, project in enumerate(projects):
            assert (await api.schedule(project, f"{slug}-{number}", f"{12 + 8 * number}s")).status == 202
        newer_worker.start()
        try:
            await eventually(lambda: _registered_as_newest(own), within=30)
            evidence = [await eventually(lambda: _evidence(api, projects[0]), within=30)]
            await own.worker.child.kill()
            evidence.append(await eventually(lambda: _evidence(api, projects[1]), within=40))
        finally:
            await newer_worker.stop()

    assert evidence == ["carried out by the newer release"] * 2


def _newer_release(own: Stack) -> Path:
    """A copy of the package that says something else in its receipts, and so is another release."""
    root = own.root / "newer"
    shutil.copytree(Path(lifecycle.__file__).parent, root / "lifecycle", ignore=shutil.ignore_patterns("__pycache__"))
    purge = root / "lifecycle" / "scheduler" / "purge.py"
    text = purge.read_text()
    changed = text.replace("replaced by the tombstone", "carried out by the newer release")
    assert changed != text
    purge.write_text(changed)
    return root


async def _registered_as_newest(own: Stack) -> bool:
    url = f"http://127.0.0.1:{own.ports['restate_node'] + 1}"
    return await answers(f"{url}/health") and "registered as" in (own.root / "logs" / "newer.log").read_text()


async def _evidence(api: Api, project: str) -> str | None:
    tombstone = await api.get(f"/v1/tombstones/{project}")
    if tombstone.status != 200:
        return None
    stated = signing.verify(tombstone.body["receipt"], (await api.get("/.well-known/jwks.json")).body)
    evidence: str = stated["removed"][-1]["evidence"]
    return evidence

"""A worker inside the test process, on real servers, so that a test can make any single step fail."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import NamedTuple

import uvicorn

from lifecycle import clock, endpoint, ids, resources
from lifecycle.access import keys
from lifecycle.access import store as access_store
from lifecycle.client import Client
from lifecycle.dev.stack import Stack
from lifecycle.errors import LifecycleError
from lifecycle.models import Actor, Role
from lifecycle.resources import Resources
from lifecycle.scheduler.model import CreateProject, Deletion, Impact, Phase, Project, Read, ScheduleDeletion
from lifecycle.settings import Settings
from tests.support.waiting import eventually


class Workbench(NamedTuple):
    """The servers, the worker's resources, a client of the engine, and an administrator."""

    stack: Stack
    resources: Resources
    client: Client
    admin: Actor

    async def project(self) -> Project:
        """A new project."""
        command = CreateProject(actor=self.admin, now=clock.now(), slug=f"t-{secrets.token_hex(6)}", name="Test")
        return await self.client.create_project(ids.new("prj"), command)

    async def schedule(self, project: Project, grace: timedelta) -> Deletion:
        """Schedule the deletion of a project."""
        command = ScheduleDeletion(
            actor=self.admin,
            now=clock.now(),
            confirm=project.slug,
            reason="test",
            grace_seconds=grace.total_seconds(),
            impact=Impact(),
        )
        return (await self.client.schedule_deletion(project.id, command)).deletion

    async def deletion(self, project: Project) -> Deletion:
        """The deletion as the object knows it."""
        return await self.client.deletion(project.id, Read(workspace=self.admin.workspace))

    async def until(self, project: Project, phase: Phase, *, within: float = 20) -> Deletion:
        """The deletion, once it is in this phase."""

        async def there() -> Deletion | None:
            deletion = await self.deletion(project)
            return deletion if deletion.phase is phase else None

        found = await eventually(there, within=within)
        assert found is not None
        return found

    async def audit(self, project: Project) -> list[str]:
        """The actions in the audit log of a project, oldest first."""
        rows = await self.resources.db.all(
            "SELECT action FROM audit_log WHERE project_id = %s ORDER BY at, position", project.id
        )
        return [row["action"] for row in rows]


@asynccontextmanager
async def opened(stack: Stack) -> AsyncIterator[Workbench]:
    """A workbench on the servers of `stack`, which are started here and stopped by the caller."""
    await stack.start_servers()
    settings = stack.settings()
    async with _serving(settings), Client.opened(settings) as client:
        await eventually(lambda: _answers(client), within=30)
        available = resources.current()
        workspace = await access_store.ensure_workspace(
            available.db, workspace_id=ids.new("ws"), name="workbench", now=clock.now()
        )
        key = await keys.create(
            available.db, workspace=workspace, person="ada@example.com", role=Role.ADMINISTRATOR, by=None
        )
        admin = Actor(workspace=workspace, key=key.id, person="ada@example.com", role=Role.ADMINISTRATOR)
        yield Workbench(stack, available, client, admin)


@asynccontextmanager
async def _serving(settings: Settings) -> AsyncIterator[None]:
    server = uvicorn.Server(
        uvicorn.Config(
            endpoint.worker(settings),
            host=settings.worker_host,
            port=settings.worker_port,
            http="httptools",
            access_log=False,
            log_config=None,
            timeout_graceful_shutdown=1,
        )
    )
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined,method-assign,unused-ignore]
    serving = asyncio.create_task(server.serve())
    try:
        yield
    finally:
        server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def _answers(client: Client) -> bool:
    try:
        await client.findings()
    except LifecycleError:
        return False
    return True

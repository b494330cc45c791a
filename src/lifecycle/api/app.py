"""Puts the API together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.metadata import version

from fastapi import FastAPI

from lifecycle import resources
from lifecycle.api import (
    actions,
    authorities,
    calendar,
    certificates,
    challenges,
    deletions,
    deliveries,
    deployments,
    domains,
    events,
    keys,
    many_certificates,
    problems,
    projects,
    public,
    recipients,
    records,
    webhooks,
)
from lifecycle.api.context import Context
from lifecycle.api.limits import Limits
from lifecycle.api.paths import Slashes
from lifecycle.client import Client
from lifecycle.console import app as console
from lifecycle.engine import Engine
from lifecycle.observability.requests import Watched
from lifecycle.settings import Settings
from lifecycle.vault import Vault

_DESCRIPTION = """
Things happen later, and exactly as agreed: schedule the deletion of a project, see what is pending, cancel it.

Send an API key as `Authorization: Bearer …`. Every error is a problem document (RFC 9457) with a stable `code` and a
`hint`. Times are RFC 3339 in UTC; durations are `72h`, `3d` or ISO 8601. `ETag` is the generation of a pending action,
and `If-Match` acts on exactly that one.
"""

# In the order in which the page of the API shows them.
_ROUTES = (
    projects,
    deletions,
    deployments,
    domains,
    certificates,
    many_certificates,
    actions,
    calendar,
    authorities,
    records,
    events,
    webhooks,
    deliveries,
    recipients,
    keys,
    public,
    challenges,
)


def create_app(settings: Settings) -> FastAPI:
    """The ASGI application of the API."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        db = resources.database(settings)
        engine = Engine(settings.restate_admin_url, timeout=settings.request_timeout)
        try:
            async with Client.opened(settings) as client:
                context = Context(
                    settings=settings,
                    db=db,
                    client=client,
                    engine=engine,
                    vault=Vault.parse(settings.key_ring() or ""),
                )
                app.state.context = context
                yield
                await context.close()
        finally:
            await engine.close()
            await db.close()

    app = FastAPI(
        title="Lifecycle",
        version=version("lifecycle"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
        responses=problems.RESPONSES,
    )
    problems.install(app)
    # A little more than any single wait inside, so that the inner answer, which knows more, comes first.
    app.add_middleware(Limits, deadline=settings.request_timeout + timedelta(seconds=1.5))
    app.add_middleware(Slashes)
    app.add_middleware(Watched)  # added last, it is the outermost
    console.install(app)  # first, since it has pages for people at addresses where programs get JSON
    for module in _ROUTES:
        app.include_router(module.router)
    return app

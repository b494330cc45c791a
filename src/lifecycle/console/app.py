"""Puts the console into the API's process: its pages, its stylesheet, its script."""

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from lifecycle.console import (
    access,
    audit,
    certificates,
    deletions,
    deployments,
    explained,
    health,
    hosts,
    live,
    pages,
    pending,
    projects,
    sign_in,
    webhooks,
)

_ROUTES = (
    sign_in,
    pending,
    projects,
    hosts,
    deletions,
    deployments,
    certificates,
    audit,
    access,
    webhooks,
    health,
    explained,
    live,
)


def install(app: FastAPI) -> None:
    """Add the console to `app`; people get pages also of what is refused elsewhere in it."""
    app.state.refusal_page = pages.refusal_page
    for module in _ROUTES:
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=pages.STATIC), name="static")

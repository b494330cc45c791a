"""Puts the console into the API's process: its pages, its stylesheet, its script."""

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from lifecycle.console import (
    access,
    audit,
    certificates,
    deletions,
    deployments,
    health,
    live,
    pages,
    pending,
    projects,
    sign_in,
    webhooks,
)

_ROUTES = (sign_in, pending, projects, deletions, deployments, certificates, audit, access, webhooks, health, live)


def install(app: FastAPI) -> None:
    """Add the console to `app`."""
    for module in _ROUTES:
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=pages.STATIC), name="static")

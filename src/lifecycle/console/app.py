"""Puts the console into the API's process: its pages, its stylesheet, its script."""

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from lifecycle.console import live, pages, pending, sign_in

_ROUTES = (sign_in, pending, live)


def install(app: FastAPI) -> None:
    """Add the console to `app`."""
    for module in _ROUTES:
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=pages.STATIC), name="static")

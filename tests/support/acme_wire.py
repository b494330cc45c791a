"""A wire in front of a certificate authority: it loses, refuses and replaces answers, and counts what was ordered.

Pebble builds every address from the `Host` that it is asked for, so all that it says leads through here again.
"""

import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import aiohttp
from aiohttp import web

PROBLEM = {"Content-Type": "application/problem+json"}
_KINDS = "urn:ietf:params:acme:error:"


class Resource(StrEnum):
    """What a request is about, by the beginning of its path at Pebble."""

    NONCE = "/nonce-plz"
    NEW_ACCOUNT = "/sign-me-up"
    ACCOUNT = "/my-account/"
    ORDERS = "/list-orderz/"
    NEW_ORDER = "/order-plz"
    ORDER = "/my-order/"
    AUTHORIZATION = "/authZ/"
    CHALLENGE = "/chalZ/"
    FINALIZE = "/finalize-order/"
    CERTIFICATE = "/certZ/"


class Said(NamedTuple):
    """An answer of the CA, or one in its place."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def refusal(kind: str, *, status: int = 400, detail: str = "", **more: object) -> Said:
    """A problem document of this ACME type; `more` goes into it."""
    body = {"type": f"{_KINDS}{kind}", "detail": detail or f"planted {kind}", "status": status, **more}
    return Said(status, PROBLEM, json.dumps(body).encode())


class Request(NamedTuple):
    """What came, with what was signed."""

    method: str
    path: str
    payload: Mapping[str, object]


class Fault(NamedTuple):
    """What happens to a request.

    Attributes:
        is_carried_out: whether the CA hears of it.
        change: gives the answer in place of the CA's, or of none; None loses it.
    """

    is_carried_out: bool
    change: Callable[[Said | None], Said | None]


class Wire:
    """Stands in front of one CA.

    Args:
        port: where it listens.
        target: port of the CA.
        trust: PEM of the authority for the CA's own HTTPS.

    Attributes:
        url: of the directory, through here.
        orders: identifiers of each order that the CA made, by its URL.
        requests: all that came.
    """

    def __init__(self, port: int, target: int, trust: Path) -> None:
        self.port = port
        self.url = f"https://127.0.0.1:{port}/dir"
        self.orders: dict[str, frozenset[str]] = {}
        self.requests: list[Request] = []
        self._target = target
        self._trust = trust
        self._faults: dict[Resource, list[Fault]] = {}
        self._session: aiohttp.ClientSession | None = None

    def lose(self, resource: Resource, *, times: int = 1) -> None:
        """Carry the next requests of this kind out, and lose their answers."""
        self._plan(resource, Fault(is_carried_out=True, change=lambda _: None), times)

    def drop(self, resource: Resource, *, times: int = 1) -> None:
        """Lose the next requests of this kind."""
        self._plan(resource, Fault(is_carried_out=False, change=lambda _: None), times)

    def answer(self, resource: Resource, said: Said, *, times: int = 1) -> None:
        """Answer the next requests of this kind oneself; the CA does not hear of them."""
        self._plan(resource, Fault(is_carried_out=False, change=lambda _: said), times)

    def change(self, resource: Resource, change: Callable[[Said], Said], *, times: int = 1, after: int = 0) -> None:
        """Carry requests of this kind out and change their answers, once so many others have passed unchanged."""
        self._plan(resource, Fault(is_carried_out=True, change=lambda said: said), after)
        self._plan(resource, Fault(is_carried_out=True, change=lambda said: said and change(said)), times)

    @property
    def is_calm(self) -> bool:
        """Whether all faults have happened."""
        return not any(self._faults.values())

    def forget(self) -> None:
        """No more faults; and count requests anew."""
        self._faults.clear()
        self.requests.clear()

    def came(self, resource: Resource) -> list[Request]:
        """All POSTs of this kind."""
        return [one for one in self.requests if one.path.startswith(resource) and one.method == "POST"]

    def orders_for(self, *names: str) -> list[str]:
        """URLs of the orders that the CA made for exactly these names."""
        return [url for url, found in self.orders.items() if found == frozenset(names)]

    def _plan(self, resource: Resource, fault: Fault, times: int) -> None:
        self._faults.setdefault(resource, []).extend([fault] * times)

    def _fault(self, path: str) -> Fault | None:
        planned = next((planned for kind, planned in self._faults.items() if path.startswith(kind) and planned), None)
        return planned.pop(0) if planned else None

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        body = await request.read()
        came = Request(request.method, request.path, _payload(body))
        self.requests.append(came)
        fault = self._fault(request.path)
        said = await self._ask(request, body) if fault is None or fault.is_carried_out else None
        if said is not None and came.path == Resource.NEW_ORDER and said.status == web.HTTPCreated.status_code:
            self.orders[said.headers["Location"]] = _names(came.payload)
        if fault is not None:
            said = fault.change(said)
        if said is None:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        return web.Response(status=said.status, headers=said.headers, body=said.body)

    async def _ask(self, request: web.Request, body: bytes) -> Said:
        if self._session is None:
            context = ssl.create_default_context(cafile=self._trust)
            connector = aiohttp.TCPConnector(ssl=context, limit=0)
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        url = f"https://127.0.0.1:{self._target}{request.path_qs}"
        async with self._session.request(request.method, url, data=body, headers=request.headers) as answer:
            kept = {
                name: value
                for name, value in answer.headers.items()
                if name.lower() not in {"content-length", "transfer-encoding", "link"}
            }
            if links := answer.headers.getall("Link", []):
                kept["Link"] = ", ".join(links)
            return Said(answer.status, kept, await answer.read())

    async def close(self) -> None:
        """Close the connections to the CA."""
        if self._session is not None:
            await self._session.close()


@asynccontextmanager
async def listening(wire: Wire, folder: Path) -> AsyncIterator[None]:
    """The wire listens for the time of the block.

    Args:
        wire: which.
        folder: has the CA's own `server.pem` and `server-key.pem`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server-key.pem")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", wire.pass_on)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", wire.port, ssl_context=context).start()
    try:
        yield
    finally:
        await wire.close()
        await runner.cleanup()


def _payload(body: bytes) -> Mapping[str, object]:
    """What was signed (RFC 7515, section 7.2.2); nothing for a POST-as-GET."""
    try:
        text = json.loads(body)["payload"]
        found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) or "{}")
    except (ValueError, KeyError):
        return {}
    return found if isinstance(found, dict) else {}


def _names(payload: Mapping[str, object]) -> frozenset[str]:
    found = payload.get("identifiers")
    return frozenset(str(one["value"]) for one in found) if isinstance(found, list) else frozenset()

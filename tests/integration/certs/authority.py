"""A certificate authority for tests, what answers its challenges, and a wire in front of it that can lose answers."""

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

import aiohttp
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import JsonValue

from lifecycle import clock
from lifecycle.certs import acme, verification
from lifecycle.certs.names import ChallengeType, Identifier
from lifecycle.certs.verdicts import Account, Answered, Authorization, Chain, Challenge, Order
from lifecycle.certs.verification import Verified
from lifecycle.dev import ports
from lifecycle.dev.acme import ChallengeServer, Pebble
from tests.support.newer_pebble import FOLDER
from tests.support.waiting import eventually

P = ParamSpec("P")
T = TypeVar("T")

PORTS = (
    *("challenge_management", "challenge_dns", "pebble", "pebble_management"),
    *("validation_http", "validation_tls", "wire", "free"),
)
# Where `scripts/setup --tests` puts a release with renewal information and profiles.
NEWER = FOLDER


def new_key() -> bytes:
    """PEM of a fresh P-256 key."""
    return pem(ec.generate_private_key(ec.SECP256R1()))


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PEM of this key."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def hosts(*names: str) -> tuple[Identifier, ...]:
    """Identifiers of these host names."""
    return tuple(Identifier(value=name) for name in names)


def expect(kind: type[T], answer: object) -> T:
    """The answer, which is of this kind or fails the test."""
    assert isinstance(answer, kind), answer
    return answer


class Responder:
    """Answers HTTP-01 and TLS-ALPN-01 where Pebble looks for them.

    Attributes:
        tokens: key authorizations by token.
        certificates: files with certificate and key, by TLS name.
    """

    def __init__(self, root: Path) -> None:
        self.tokens: dict[str, str] = {}
        self.certificates: dict[str, Path] = {}
        self._root = root

    async def http(self, request: web.Request) -> web.Response:
        """The key authorization of a token."""
        return web.Response(text=self.tokens.get(request.match_info["token"], "nothing is here"))

    def tls(self) -> ssl.SSLContext:
        """A context that speaks `acme-tls/1` and has the certificate of whatever name is asked for."""
        chosen = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

        def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            own.set_alpn_protocols(["acme-tls/1"])
            if name in self.certificates:
                own.load_cert_chain(self.certificates[name])
            connection.context = own

        chosen.set_alpn_protocols(["acme-tls/1"])
        chosen.sni_callback = choose
        return chosen

    def present(self, identifier: Identifier, authorization: str) -> None:
        """Have the certificate for TLS-ALPN-01."""
        certificate, key = acme.tls_alpn_certificate(identifier, authorization, now=clock.now())
        file = self._root / f"{identifier.value}.pem"
        file.write_bytes(certificate + key)
        self.certificates[identifier.value] = file


class Lab:
    """A Pebble, its challenge server, and a client.

    Attributes:
        ca: as the service talks to it.
        free: ports; nobody listens at `free`.
    """

    def __init__(
        self, root: Path, *, programs: Path | None, options: Mapping[str, JsonValue], environment: Mapping[str, str]
    ) -> None:
        self.root = root
        self.free = ports.assign(PORTS, remembered=root / "ports.json", given={})

        def program(name: str) -> Path | None:
            return programs / name if programs else None

        self.challenges = ChallengeServer(
            self.free, log=root / "challenges.log", program=program("pebble-challtestsrv")
        )
        self.pebble = Pebble(
            root / "p",
            self.free,
            dns=self.challenges.dns,
            log=root / "pebble.log",
            program=program("pebble"),
            options=options,
            environment=environment,
        )
        self.ca = acme.CertificateAuthority(self.pebble.directory_url, trust=self.pebble.trust)
        self.responder = Responder(root)

    async def account(self, ca: acme.CertificateAuthority | None = None) -> acme.Signer:
        """A new account."""
        key = new_key()
        made = expect(Account, await self.call(acme.new_account, ca or self.ca, acme.Signer(key)))
        return acme.Signer(key, made.url)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A blocking call, in a thread as steps make it."""
        return await asyncio.to_thread(function, *args, **kwargs)

    async def publish(
        self, signer: acme.Signer, identifier: Identifier, challenge: Challenge, kind: ChallengeType
    ) -> None:
        """Put what the CA must find where it looks."""
        authorization = acme.key_authorization(signer, challenge.token)
        match kind:
            case ChallengeType.HTTP_01:
                self.responder.tokens[challenge.token] = authorization
            case ChallengeType.TLS_ALPN_01:
                self.responder.present(identifier, authorization)
            case ChallengeType.DNS_01:
                name = f"{acme.validation_name(identifier)}."
                await self.challenges.tell("set-txt", host=name, value=acme.dns_value(authorization))

    async def prove(
        self,
        signer: acme.Signer,
        order: Order,
        kind: ChallengeType = ChallengeType.HTTP_01,
        ca: acme.CertificateAuthority | None = None,
    ) -> None:
        """Prove control of each name of the order."""
        ca = ca or self.ca
        for url in order.authorizations:
            authorization = expect(Authorization, await self.call(acme.read_authorization, ca, signer, url))
            if authorization.status == "valid":  # of an earlier order
                continue
            challenge = expect(Challenge, authorization.challenge(kind))
            await self.publish(signer, authorization.identifier, challenge, kind)
            expect(Answered, await self.call(acme.answer, ca, signer, challenge.url))
            assert await self.settled(signer, url, ca) == "valid"

    async def settled(self, signer: acme.Signer, url: str, ca: acme.CertificateAuthority | None = None) -> str:
        """The status of an authorization, once it is no longer pending."""

        async def status() -> str | None:
            answer = await self.call(acme.read_authorization, ca or self.ca, signer, url)
            read = expect(Authorization, answer)
            return None if read.status == "pending" else read.status

        return await eventually(status, within=20)

    async def issued(
        self, signer: acme.Signer, order: Order, ca: acme.CertificateAuthority | None = None
    ) -> tuple[Order, Chain]:
        """The order and its certificate, once it is there."""

        async def valid() -> Order | None:
            answer = await self.call(acme.read_order, ca or self.ca, signer, order.url)
            read = expect(Order, answer)
            assert read.status != "invalid", read.problem
            return read if read.status == "valid" else None

        done = order if order.status == "valid" else await eventually(valid, within=20)
        assert done.certificate
        return done, expect(Chain, await self.call(acme.download, ca or self.ca, signer, done.certificate))

    async def issue(
        self,
        signer: acme.Signer,
        identifiers: Sequence[Identifier],
        kind: ChallengeType = ChallengeType.HTTP_01,
        *,
        ca: acme.CertificateAuthority | None = None,
        profile: str | None = None,
        replaces: str | None = None,
    ) -> tuple[Chain, Verified, bytes]:
        """A certificate that was ordered, proved, downloaded and verified; what was found in it; its key."""
        ca = ca or self.ca
        key = new_key()
        order = expect(
            Order,
            await self.call(acme.new_order, ca, signer, identifiers, profile=profile, replaces=replaces),
        )
        await self.prove(signer, order, kind, ca)
        request = verification.signing_request(identifiers, key)
        finalized = expect(Order, await self.call(acme.finalize, ca, signer, order, request))
        _, chain = await self.issued(signer, finalized, ca)
        found = verification.verify(chain.pem, key_pem=key, identifiers=identifiers, now=clock.now())
        return chain, expect(Verified, found), key


@asynccontextmanager
async def laboratory(
    *,
    programs: Path | None = None,
    options: Mapping[str, JsonValue] | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Lab]:
    """A certificate authority for the time of the block."""
    with tempfile.TemporaryDirectory(prefix="lifecycle-ca-") as folder:
        lab = Lab(Path(folder), programs=programs, options=options or {}, environment=environment or {})
        app = web.Application()
        app.router.add_get("/.well-known/acme-challenge/{token}", lab.responder.http)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", lab.free["validation_http"]).start()
        tls = await asyncio.start_server(
            lambda _, writer: writer.transport.abort(), "127.0.0.1", lab.free["validation_tls"], ssl=lab.responder.tls()
        )
        try:
            await lab.challenges.start()
            await lab.pebble.start()
            yield lab
        finally:
            lab.ca.close()
            await lab.pebble.child.stop()
            await lab.challenges.child.stop()
            tls.close()
            await runner.cleanup()


class Wire:
    """Stands in front of a CA, and loses or replaces answers.

    Attributes:
        requests: method and path of all that came.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.url = f"https://127.0.0.1:{lab.free['wire']}/dir"
        self.ca = acme.CertificateAuthority(self.url, trust=lab.pebble.trust)
        self.requests: list[str] = []
        self._lost: list[str] = []
        self._instead: dict[str, tuple[int, Mapping[str, str], str]] = {}

    def lose(self, path: str) -> None:
        """Carry out the next request whose path has this in it, and lose its answer."""
        self._lost.append(path)

    def replace(self, path: str, status: int, headers: Mapping[str, str], body: str) -> None:
        """Answer the next request whose path has this in it oneself."""
        self._instead[path] = (status, headers, body)

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        self.requests.append(f"{request.method} {request.path}")
        for path, (status, headers, body) in list(self._instead.items()):
            if path in request.path:
                del self._instead[path]
                return web.Response(status=status, headers=headers, text=body)
        context = ssl.create_default_context(cafile=self._lab.pebble.trust)
        url = f"https://127.0.0.1:{self._lab.free['pebble']}{request.path}"
        # Pebble builds all its addresses from the Host that it is asked for, so they lead through here.
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
            session.request(request.method, url, data=await request.read(), headers=request.headers) as answer,
        ):
            body_bytes = await answer.read()
            for path in self._lost:
                if path in request.path:
                    self._lost.remove(path)
                    assert request.transport
                    request.transport.abort()
                    break
            kept = {
                name: value
                for name, value in answer.headers.items()
                if name.lower() not in {"content-length", "transfer-encoding"}
            }
            return web.Response(status=answer.status, headers=kept, body=body_bytes)


@asynccontextmanager
async def wired(lab: Lab) -> AsyncIterator[Wire]:
    """A wire for the time of the block."""
    wire = Wire(lab)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    folder = lab.pebble.trust.parent
    context.load_cert_chain(folder / "server.pem", folder / "server-key.pem")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", wire.pass_on)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", lab.free["wire"], ssl_context=context).start()
    try:
        yield wire
    finally:
        wire.ca.close()
        await runner.cleanup()

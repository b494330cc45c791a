"""Servers for certificates that are issued under the worst conditions, and what a test may do with them."""

import itertools
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from lifecycle import clock
from lifecycle.access import keys
from lifecycle.certs import acme, configuration
from lifecycle.certs.dns import Publisher
from lifecycle.certs.model import Act, Certificate, IssueCertificate, Read, Wish
from lifecycle.certs.names import ChallengeType, Identifier
from lifecycle.client import Client
from lifecycle.db import Database
from lifecycle.deploy.gateway import Gateway
from lifecycle.dev import ports
from lifecycle.dev.acme import Pebble, PebbleOptions
from lifecycle.dev.bind import Bind, HostedZone
from lifecycle.dev.stack import Stack
from lifecycle.engine import Engine
from lifecycle.models import Actor, Role
from lifecycle.vault import Vault
from tests.support import certificate_checks, inside
from tests.support.acme_wire import Wire, listening
from tests.support.certificate_checks import Checker, Places, Truth
from tests.support.mortal import Points, mortal_stack, quiet
from tests.support.newer_pebble import FOLDER
from tests.support.waiting import eventually

ZONE = "shop.test"
USUAL, NEWER, FUSSY = "usual", "newer", "fussy"
_KEY = "shop-key"
_LEFT_OVER = "left-over"
_RELEASE = FOLDER / "pebble"
_HALF = {"PEBBLE_WFE_NONCEREJECT": "50"}
_PROFILES: dict[str, JsonValue] = {
    "profiles": {"classic": {"description": "90 days", "validityPeriod": 7_776_000}},
}
_AUTHORITY = """
[[authority]]
name = "{name}"
directory_url = "{url}"
trust_file = "{trust}"
internal = true
http_port = {http_port}
tls_port = {tls_port}
"""
_ZONE = """
[[zone]]
name = "{zone}"
server = "{server}"
key_name = "{key}"
key_file = "{key_file}"
"""


class WiredStack(Stack):
    """A stack with a BIND, and with several CAs, each behind a wire.

    `usual` is the installed Pebble, `newer` one with renewal information, `fussy` rejects every second nonce.

    Attributes:
        bind: has the zone in which all names of the tests are.
        wires: by name of the CA.
    """

    def __init__(self, root: Path, settings: Mapping[str, str]) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = ("dns", *(f"{ca}_wire" for ca in (USUAL, NEWER, FUSSY)))
        more = tuple(f"{ca}_{part}" for ca in (NEWER, FUSSY) for part in ("pebble", "management"))
        free = ports.assign((*names, *more), remembered=root / "more-ports.json", given={})
        address = f"127.0.0.1:{free['dns']}"
        super().__init__(root, settings=settings, authority=PebbleOptions(dns=address))
        zone = HostedZone(ZONE, ("* A 127.0.0.1",), f"grant {_KEY} subdomain {ZONE}. TXT;")
        self.bind = Bind(
            root.resolve() / "bind", free, log=self._log("named"), zones=(HostedZone("."), zone), keys=(_KEY,)
        )

        def pebble(name: str, **more: object) -> Pebble:
            folder, own = self._absolute / f"pebble-{name}", {"pebble": free[f"{name}_pebble"]}
            own |= {"pebble_management": free[f"{name}_management"]}
            own |= {"validation_http": self.ports["gateway_http"], "validation_tls": self.ports["gateway_https"]}
            return Pebble(folder, own, dns=address, log=self._log(f"pebble-{name}"), **more)  # type: ignore[arg-type]

        self.has_newer = _RELEASE.exists()
        self._pebbles = {USUAL: self.authority, FUSSY: pebble(FUSSY, environment=_HALF)}
        if self.has_newer:
            self._pebbles[NEWER] = pebble(NEWER, program=_RELEASE, options=_PROFILES)
        targets = {USUAL: self.ports["pebble"], NEWER: free["newer_pebble"], FUSSY: free["fussy_pebble"]}
        self.wires = {name: Wire(free[f"{name}_wire"], targets[name], one.trust) for name, one in self._pebbles.items()}
        self._open = AsyncExitStack()

    def write_certificates_file(self, more: str = "") -> None:
        """Write that the CAs are behind the wires, and who has the zone; and `more` TOML after it."""
        text = f'resolvers = ["{self.bind.address}"]\n'
        for name, pebble in self._pebbles.items():
            http, tls = self.ports["gateway_http"], self.ports["gateway_https"]
            text += _AUTHORITY.format(
                name=name, url=self.wires[name].url, trust=pebble.trust, http_port=http, tls_port=tls
            )
        text += _ZONE.format(zone=ZONE, server=self.bind.address, key=_KEY, key_file=self.bind.key_file(_KEY))
        (self.root / "certificates.toml").write_text(text + more, encoding="utf-8")

    async def _start_authority(self) -> None:
        await self.bind.start()
        for name, pebble in self._pebbles.items():
            if name != USUAL:
                await pebble.start()
        await super()._start_authority()
        for name, pebble in self._pebbles.items():
            await self._open.enter_async_context(listening(self.wires[name], pebble.trust.parent))

    async def stop(self) -> None:
        """Stop everything."""
        await super().stop()
        await self._open.aclose()
        for pebble in self._pebbles.values():
            await pebble.child.stop()
        await self.bind.child.stop()


class Desk(NamedTuple):
    """Where certificates are asked for.

    Attributes:
        actor: an administrator.
        places: where it is seen what there is.
    """

    stack: WiredStack
    points: Points
    client: Client
    actor: Actor
    places: Places

    def wire(self, ca: str = USUAL) -> Wire:
        """In front of this CA."""
        return self.stack.wires[ca]

    def act(self, *, force: bool = False) -> Act:
        """Something that the administrator asks for, now."""
        return Act(actor=self.actor, now=clock.now(), force=force)

    async def ask(
        self,
        *names: str,
        challenge: ChallengeType = ChallengeType.HTTP_01,
        ca: str = USUAL,
        project: str | None = None,
        force: bool = False,
    ) -> Certificate:
        """Ask for a certificate; the first name is its domain."""
        identifiers = tuple(Identifier(value=name) for name in names)
        wish = Wish(identifiers=identifiers, challenge=challenge, ca=ca)
        command = IssueCertificate(actor=self.actor, now=clock.now(), project=project, wish=wish, force=force)
        return await self.client.issue_certificate(names[0], command)

    async def renew(self, domain: str, *, force: bool = True) -> Certificate:
        """Renew, or try again, now."""
        return await self.client.renew_certificate(domain, self.act(force=force))

    async def show(self, domain: str) -> Certificate:
        """The certificate as it stands."""
        return await self.client.certificate(domain, Read(workspace=self.actor.workspace))

    async def rests(self, domain: str, *, within: float = 30) -> Certificate:
        """The certificate, once no issuance is at work."""

        async def resting() -> Certificate:
            found = await self.show(domain)
            assert found.running is None or not found.running.is_at_work, found
            return found

        return await eventually(resting, within=within)

    async def until_step(self, domain: str, step: str) -> None:
        """Wait until the issuance of a domain is at this step."""

        async def there() -> bool:
            running = (await self.show(domain)).running
            assert running is not None
            stage = await self.client.issuance_progress(running.key)
            assert stage is not None
            assert stage.step == step, stage
            return True

        await eventually(there, within=20)

    async def look(self, domain: str) -> Truth:
        """The truth about a certificate."""
        certificate = await self.show(domain)
        ordered = [url for wire in self.stack.wires.values() for url in wire.orders_for(*_names(certificate, domain))]
        return await certificate_checks.look(self.places, domain, certificate, ordered=ordered)

    async def ends(
        self, domain: str, *, within: float = 30, checkers: Sequence[Checker] = certificate_checks.CHECKERS
    ) -> Truth:
        """The truth once all has come to rest, when nothing is wrong with it."""
        await self.rests(domain, within=within)
        await quiet(self.stack, within=within)

        async def clean() -> Truth:
            truth = await self.look(domain)
            found = certificate_checks.violations(truth, checkers)
            assert found == [], (found, truth.certificate)
            return truth

        return await eventually(clean, within=within)

    async def plant_left_overs(self, domain: str, issuance: str) -> None:
        """Leave behind what a dead issuance might: a record, a proof in the gateway, and a row that says so."""
        identifier = Identifier(value=domain)
        certificate, key = acme.tls_alpn_certificate(identifier, _LEFT_OVER, now=clock.now())
        await self.places.gateway.certificates.answer_challenge(domain, certificate + key)
        await self.publisher.publish(f"_acme-challenge.{domain}", _LEFT_OVER)
        now = clock.now()
        for kind, name, place in (
            ("dns-01", f"_acme-challenge.{domain}", f"_acme-challenge.{domain} {ZONE}"),
            ("tls-alpn-01", domain, ""),
        ):
            await self.places.db.execute(
                "INSERT INTO challenges (issuance_id, type, name, value, identifier, place, created_at) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s)",
                *(issuance, kind, name, _LEFT_OVER, domain, place, now),
            )

    @property
    def publisher(self) -> Publisher:
        """Changes the zone."""
        return Publisher(configuration.read(self.stack.root / "certificates.toml"))

    async def age_left_overs(self, issuance: str) -> None:
        """Have it be some minutes ago that this issuance published something."""
        ago = "UPDATE challenges SET created_at = created_at - INTERVAL 5 MINUTE WHERE issuance_id = %s"
        await self.places.db.execute(ago, issuance)

    async def has_account(self, ca: str = USUAL) -> None:
        """See to it that there is an account at this CA; the first issuance opens it."""
        if await self.places.db.one("SELECT ca FROM acme_accounts WHERE ca = %s", ca) is None:
            name = fresh_name()
            await self.ask(name, ca=ca)
            await self.ends(name)

    async def forget_account(self, ca: str = USUAL) -> None:
        """Have a new account made at this CA."""
        await self.places.db.execute("DELETE FROM acme_accounts WHERE ca = %s", ca)

    async def forgive(self) -> None:
        """What earlier tests did to the CAs is over: no faults, no breaker that is open, no limit used."""
        for wire in self.stack.wires.values():
            wire.forget()
        for table in ("acme_breakers", "rate_limits"):
            await self.places.db.execute(f"DELETE FROM {table}")


_numbers = itertools.count(1)


def fresh_name(label: str = "n") -> str:
    """A name that no other test uses."""
    return f"{label}{next(_numbers)}-{secrets.token_hex(3)}.{ZONE}"


@asynccontextmanager
async def opened(settings: Mapping[str, str]) -> AsyncIterator[Desk]:
    """A desk with servers of its own, for the time of the block."""
    async with (
        mortal_stack(settings, program="tests.support.mortal_issuer", made=WiredStack) as (stack, points),
        Client.opened(stack.settings()) as client,
        AsyncExitStack() as closing,
    ):
        if not isinstance(stack, WiredStack):
            raise TypeError(stack)
        places = Places(
            db=Database(stack.database.url, size=4, deadline=timedelta(seconds=10)),
            engine=Engine(stack.engine.admin_url, timeout=timedelta(seconds=5)),
            gateway=Gateway(stack.gateway.folder),
            vault=Vault.parse((stack.root / "key-ring").read_text()),
            name_server=("127.0.0.1", int(stack.bind.address.rpartition(":")[2])),
        )
        closing.push_async_callback(places.db.close)
        closing.push_async_callback(places.engine.close)
        closing.push_async_callback(places.gateway.close)
        workspace = await inside.workspace_named(stack, "desk")
        # A real key: a purge asks at its due time whether who asked for it still may.
        key = await keys.create(
            places.db, workspace=workspace, person="ada@example.com", role=Role.ADMINISTRATOR, by=None
        )
        actor = Actor(workspace=workspace, key=key.id, person="ada@example.com", role=Role.ADMINISTRATOR)
        yield Desk(stack, points, client, actor, places)


def _names(certificate: Certificate, domain: str) -> Sequence[str]:
    return certificate.wish.names if certificate.wish else (domain,)

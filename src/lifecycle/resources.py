"""What a handler may touch besides its own state. Opened once per worker, handed out by `current`."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from lifecycle.certs import configuration
from lifecycle.certs.authorities import Authorities
from lifecycle.certs.dns import Publisher
from lifecycle.db import Database
from lifecycle.deploy.gateway import Gateway
from lifecycle.deploy.platforms import regions
from lifecycle.deploy.platforms.platform import Platform
from lifecycle.engine import Engine
from lifecycle.ledger.writer import Writer
from lifecycle.notifications.mail import Mail
from lifecycle.notifications.webhooks import Turns, Webhooks
from lifecycle.precedence import Precedence
from lifecycle.settings import Settings
from lifecycle.vault import Vault


@dataclass(frozen=True)
class Resources:
    """Everything outside that handlers use.

    Attributes:
        decisions: connections of their own for what a wake-up must know, so that no purge makes it wait.
        platforms: by region.
        gateway: None where none is set up; routes are then only written down.
        authorities: those that issue certificates; none where none is configured.
        dns: where TXT records for challenges are set.
        turns: those of deliveries, by target.
        precedence: wake-ups say here that they decide, and every step of a purge begins here.
    """

    settings: Settings
    db: Database
    decisions: Database
    precedence: Precedence
    vault: Vault
    ledger: Writer
    engine: Engine
    platforms: Mapping[str, Platform]
    gateway: Gateway | None
    authorities: Authorities
    dns: Publisher
    webhooks: Webhooks
    mail: Mail
    turns: Turns


_current: Resources | None = None


def current() -> Resources:
    """The resources of this process."""
    if _current is None:
        raise RuntimeError("resources are not open; handlers run inside `resources.opened`")
    return _current


def database(settings: Settings) -> Database:
    """The database that the settings name; not yet connected."""
    return Database(
        settings.database_url.get_secret_value(),
        size=settings.database_pool_size,
        deadline=settings.request_timeout,
        ca_file=settings.database_ca_file,
    )


def mail_of(settings: Settings) -> Mail:
    """Mail through the server that the settings name.

    Raises:
        ValueError: they name none that there could be.
    """
    url = settings.smtp_url
    return Mail(
        None if url is None else url.get_secret_value(),
        sender=settings.mail_from,
        api_url=settings.api_url,
        timeout=settings.smtp_timeout,
    )


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Resources]:
    """Open the resources for the time of the block.

    Raises:
        VaultError: the key ring is missing or not usable.
        ValueError: the file about certificates, or the URL of the mail server, says something that means nothing.
    """
    global _current  # noqa: PLW0603  handlers are plain functions; this is their one way to the outside
    db, decisions = database(settings), database(settings)
    engine = Engine(settings.restate_admin_url, timeout=settings.request_timeout)
    vault = Vault.parse(settings.key_ring() or "")
    certificates = configuration.read(settings.certificates_file)
    mail = mail_of(settings)
    _current = Resources(
        settings=settings,
        db=db,
        decisions=decisions,
        precedence=Precedence(settings.purge_steps_at_once),
        vault=vault,
        ledger=Writer(db, mail=mail.is_set_up),
        engine=engine,
        platforms={name: regions.open_platform(url) for name, url in regions.parse(settings.regions).items()},
        gateway=None if settings.gateway_folder is None else Gateway(settings.gateway_folder),
        authorities=Authorities(certificates, db, vault),
        dns=Publisher(certificates),
        webhooks=Webhooks(settings.webhook_private_networks, timeout=settings.webhook_timeout),
        mail=mail,
        turns=Turns(),
    )
    try:
        yield _current
    finally:
        closed, _current = _current, None
        for platform in closed.platforms.values():
            await platform.close()
        await closed.webhooks.close()
        closed.authorities.close()
        await engine.close()
        await db.close()
        await decisions.close()

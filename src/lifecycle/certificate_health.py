"""Is everything there that certificates need? The part of `lifecycle doctor` that asks CAs, DNS and gateway."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future
from datetime import datetime, timedelta
from functools import partial
from threading import Thread
from typing import TypeVar

from lifecycle import clock
from lifecycle.certs import acme, configuration, store
from lifecycle.certs.authorities import store as authorities_store
from lifecycle.certs.authorities.breaker import Breaker
from lifecycle.certs.configuration import Authority, Zone
from lifecycle.certs.dns import Home, Publisher
from lifecycle.certs.endings import message
from lifecycle.certs.verdicts import Directory, Failure
from lifecycle.clock import rfc3339
from lifecycle.db import Database, DatabaseDownError
from lifecycle.deploy.gateway import Gateway, GatewayDownError
from lifecycle.health import DEADLINE, Check, within
from lifecycle.settings import Settings

T = TypeVar("T")


async def check_certificates(settings: Settings, db: Database) -> AsyncIterator[Check]:
    """Check the authorities, the zones, and what the gateway serves. Asks a CA for its directory and no more.

    All are asked at once, five seconds at most; each check is there as soon as those before it are.
    """
    try:
        configured = configuration.read(settings.certificates_file)
    except ValueError as error:
        yield Check(name="certificates", ok=False, detail=str(error), hint="Mend LIFECYCLE_CERTIFICATES_FILE.")
        return
    if not configured.authority:
        yield Check(name="certificates", ok=True, detail="no authority is set up, so none are issued")
        return
    breakers = await _breakers(db)
    publisher = Publisher(configured)
    parts = [(f"authority {one.name}", _authority(one, breakers)) for one in configured.authority]
    parts += [(f"zone {one.name}", _zone(publisher, one)) for one in configured.zone]
    parts += [("gateway certificates", _served(settings, db))]
    checks = [asyncio.create_task(within(name, part)) for name, part in parts]
    try:
        for check in checks:
            for one in await check:
                yield one
    finally:
        for check in checks:
            check.cancel()


async def _breakers(db: Database) -> Mapping[str, Breaker]:
    try:
        return await authorities_store.breakers(db)
    except DatabaseDownError:
        return {}


async def _authority(authority: Authority, breakers: Mapping[str, Breaker]) -> Check:
    name = f"authority {authority.name}"
    try:
        found = await _aside(partial(_directory, authority))
    except OSError as error:
        return Check(name=name, ok=False, detail=str(error), hint="Mend its trust_file in the certificates file.")
    if not isinstance(found, Directory):
        hint = "Check its directory_url, and that this machine reaches it; others are used meanwhile if there are any."
        return Check(name=name, ok=False, detail=message(found), hint=hint)
    breaker = breakers.get(authority.name, Breaker())
    if _is_open(breaker, clock.now()):
        until = rfc3339(breaker.open_until) if breaker.open_until else "later"
        hint = "It is asked again by itself then; 'lifecycle authority show' has the details."
        return Check(name=name, ok=False, detail=f"not asked until {until}: {breaker.last_error}", hint=hint)
    return Check(name=name, ok=True, detail=f"answers at {authority.directory_url}")


def _directory(authority: Authority) -> Directory | Failure:
    # A little longer than anybody waits, so that it is said in one way.
    patience = DEADLINE + timedelta(seconds=1)
    ca = acme.CertificateAuthority(authority.directory_url, trust=authority.trust_file, timeout=patience)
    try:
        return acme.read_directory(ca)
    finally:
        ca.close()


async def _aside(ask: Callable[[], T]) -> T:
    """The answer of a function that blocks, from a thread that nobody waits for when this is given up."""
    answer: Future[T] = Future()

    def run() -> None:
        if answer.set_running_or_notify_cancel():
            try:
                answer.set_result(ask())
            except Exception as error:  # noqa: BLE001  it is raised where the answer is waited for
                answer.set_exception(error)

    Thread(target=run, name="doctor", daemon=True).start()
    return await asyncio.wrap_future(answer)


async def _zone(publisher: Publisher, zone: Zone) -> Check:
    name = f"zone {zone.name}"
    trouble = await publisher.rehearse(Home(record=f"_acme-challenge.{zone.name}", zone=zone))
    if trouble is not None:
        return Check(name=name, ok=False, detail=trouble.why, hint="Mend the zone in the certificates file.")
    return Check(name=name, ok=True, detail=f"{zone.provider} lets us set validation records")


async def _served(settings: Settings, db: Database) -> Check:
    name = "gateway certificates"
    if settings.gateway_folder is None:
        return Check(name=name, ok=True, detail="there is no gateway; certificates are for downloading")
    gateway = Gateway(settings.gateway_folder)
    try:
        found = (await gateway.certificates.compare(lambda: store.all_served(db))).found
        count = len(await store.all_served(db))
    except DatabaseDownError:
        return Check(name=name, ok=True, detail="not compared: the database is away")
    except (GatewayDownError, OSError, ValueError) as error:
        hint = "Start HAProxy with the files of LIFECYCLE_GATEWAY_FOLDER; it serves them as they are."
        return Check(name=name, ok=False, detail=str(error), hint=hint)
    finally:
        await gateway.close()
    if found:
        hint = "A worker mends it with the next sweep; see its log for 'gateway was mended' if it does not."
        detail = f"{len(found)} not as the database has it, such as {found[0].key}"
        return Check(name=name, ok=False, detail=detail, hint=hint)
    return Check(name=name, ok=True, detail=f"{count} served, as the database has them")


def _is_open(breaker: Breaker, now: datetime) -> bool:
    return breaker.open_until is not None and breaker.open_until > now

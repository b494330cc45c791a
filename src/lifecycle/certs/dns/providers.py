"""Changes of a zone through the programming interfaces of DNS providers, by the optional package dns-lexicon.

Its functions block, so they run in threads. It promises that a value is added beside others, that adding one that is
there is no error, and that deleting names the value. It does not promise to notice every refusal, so what counts is
what the authoritative servers say afterwards.
"""

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from importlib import import_module
from typing import Any
from urllib.parse import quote, quote_plus

import requests

from lifecycle.certs.configuration import Zone
from lifecycle.certs.dns.answers import printable
from lifecycle.certs.dns.verdicts import Reason, Unpublishable, Unreachable
from lifecycle.certs.dns.zones import credentials

# What most providers accept; a line `ttl=` in the credentials file says otherwise.
_TTL = "300"
_GENERAL = {"ttl"}
_PATIENCE_SECONDS = 60
_LONGEST_SHOWN = 300
_HIDDEN = "…"


async def add(zone: Zone, record: str, value: str) -> Unpublishable | Unreachable | None:
    """Give the record this TXT value too; None when the provider says so.

    Raises:
        LifecycleError: CERTIFICATE_ZONE_CREDENTIALS.
    """
    return await _run(zone, lambda provider: provider.create_record("TXT", record, value))


async def delete(zone: Zone, record: str, value: str) -> Unpublishable | Unreachable | None:
    """Take this TXT value from the record; None when the provider says so.

    Raises:
        LifecycleError: CERTIFICATE_ZONE_CREDENTIALS.
    """
    return await _run(zone, lambda provider: provider.delete_record(None, "TXT", record, value))


async def open_zone(zone: Zone) -> Unpublishable | Unreachable | None:
    """See that the provider lets us in and has the zone.

    Raises:
        LifecycleError: CERTIFICATE_ZONE_CREDENTIALS.
    """
    return await _run(zone, lambda _: None)


async def _run(zone: Zone, work: Callable[[Any], object]) -> Unpublishable | Unreachable | None:
    given = credentials(zone)
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await asyncio.to_thread(_carry_out, zone, given, work)
    except TimeoutError:
        return Unreachable(why=f"{zone.provider} did not finish within {_PATIENCE_SECONDS} s.")


def _carry_out(
    zone: Zone, given: Mapping[str, str], work: Callable[[Any], object]
) -> Unpublishable | Unreachable | None:
    from lexicon.exceptions import LexiconError  # noqa: PLC0415

    # Some providers, such as `ddns`, look for the zone among their own options.
    options = {"domain": zone.name, **{name: value for name, value in given.items() if name not in _GENERAL}}
    told = {"provider_name": zone.provider, "domain": zone.name, "ttl": given.get("ttl", _TTL), zone.provider: options}
    try:
        # `lexicon.client.Client` would guess the zone from the public suffix list, which it fetches from the Internet,
        # and it guesses wrong for zones of private networks. We know the zone.
        module = import_module(f"lexicon._private.providers.{zone.provider}")
        provider = module.Provider(_configured(told))
        provider.authenticate()
        try:
            work(provider)
        finally:
            provider.cleanup()
    except LexiconError as error:
        return _refused(zone, _shown(error, given))
    except requests.HTTPError as error:
        return _answered(zone, error)
    except (requests.RequestException, OSError, EOFError) as error:
        # Its text repeats the address, in which some providers want the secret.
        return Unreachable(why=f"{zone.provider} cannot be reached ({type(error).__name__}).")
    except Exception as error:  # noqa: BLE001  each of its providers raises what it likes, also for an outage
        return Unreachable(why=f"{zone.provider} failed: {_shown(error, given)}")
    return None


def _configured(told: Mapping[str, Any]) -> object:
    config: Any = import_module("lexicon.config")
    return config.ConfigResolver().with_dict(dict(told))


def _answered(zone: Zone, error: requests.HTTPError) -> Unpublishable | Unreachable:
    status = error.response.status_code if error.response is not None else None
    if status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        return Unreachable(why=f"{zone.provider} answered with HTTP status {status}.")
    return _refused(zone, f"HTTP status {status}")


def _refused(zone: Zone, said: str) -> Unpublishable:
    why = f"{zone.provider} refuses to change the zone {zone.name}: {said}. Check {zone.credentials_file}."
    return Unpublishable(reason=Reason.REFUSED, why=why)


def _shown(error: Exception, given: Mapping[str, str]) -> str:
    """What it says, without anything from the credentials."""
    text = printable(str(error)) or type(error).__name__
    for value in sorted(given.values(), key=len, reverse=True):
        for form in {value, quote(value, safe=""), quote_plus(value), *value.split(":")}:
            if form:
                text = text.replace(form, _HIDDEN)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"

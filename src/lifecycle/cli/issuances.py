"""Shows an issuance while it goes on: a line for each stage, until there is a certificate or a reason why not."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape

from lifecycle.cli import http, output
from lifecycle.cli.http import CommandError

Certificate = Mapping[str, Any]

# Spelled out, because the module that defines it brings half of the worker along.
Challenge = Literal["http-01", "dns-01", "tls-alpn-01"]

# How something is ordered, for each command that orders.
Prove = Annotated[
    Challenge | None,
    typer.Option(help="How control is proved; left out, dns-01 when there is a wildcard, and http-01 else."),
]
ChosenProject = Annotated[str | None, typer.Option("--project", help="Project that it belongs to, by id or slug.")]
Ca = Annotated[str | None, typer.Option("--ca", help="Authority; the first that works else.")]
Profile = Annotated[str | None, typer.Option("--profile", help="Profile of the authority.")]
Force = Annotated[bool, typer.Option("--force", help="Although our own budget is spent; the limits of the CA stay.")]

# An API that restarts is back by then; the issuance goes on meanwhile.
AT_WORK = ("issuing", "renewing")
_STAGES = {
    "order": "ordering",
    "prove": "proving control",
    "wait-for-records": "waiting for the DNS records",
    "finalize": "having it made",
    "deliver": "handing it to the gateway",
}


def path(domain: str, *more: str) -> str:
    """Where the certificate of a domain is in the API."""
    return "/".join(("/v1/certificates", http.quoted(domain), *more))


def body(names: Sequence[str], challenge: str | None, **more: object) -> dict[str, object]:
    """What to send for a certificate with these names.

    Args:
        names: all of them.
        challenge: how control is proved; None chooses.
        more: further fields; those that are None are left out.
    """
    chosen = challenge or ("dns-01" if any(one.startswith("*.") for one in names) else "http-01")
    asked = {name: value for name, value in more.items() if value is not None}
    return {"challenge": chosen, "names": list(names), **asked}


def until_issued(certificate: Certificate, console: Console) -> Certificate:
    """Show the stages of an issuance until it is over.

    Raises:
        CommandError: it ended without a certificate, or the API cannot be reached any more.
    """
    told: set[str] = set()
    for now in http.until(certificate, path(certificate["domain"]), _is_over):
        stage = now["stage"] or ""
        if stage and stage not in told:
            told.add(stage)
            output.err.print(f"[yellow]...[/yellow]  {escape(_STAGES.get(stage, stage))}")
        if now["records"] and "records" not in told:
            told.add("records")
            show_records(now, console)
    again = now["next_attempt_at"]
    if now["last_error"] or again:
        hint = f"It is tried again {output.due(again)}." if again else "Mend it, and ask again."
        why = f": {now['last_error'].rstrip('.')}" if now["last_error"] else " yet"
        raise CommandError(
            f"{now['domain']} got no certificate{why}.",
            f"{hint} 'lifecycle cert preflight {now['domain']}' looks for the cause.",
            refusal=again is None,
            problem=now,
        )
    return now


def until_halted(certificate: Certificate) -> Certificate:
    """The certificate once nothing is at work for it any more."""
    return _last(http.until(certificate, path(certificate["domain"]), _is_over))


def until_revoked(certificate: Certificate) -> Certificate:
    """The certificate once the CA has revoked the one in use.

    Raises:
        CommandError: it would not; or the API cannot be reached any more.
    """
    serial = certificate["serial"]
    now = _last(http.until(certificate, path(certificate["domain"]), lambda seen: not seen["revoking"]))
    if now["revoked_at"] is None and now["serial"] == serial:
        raise CommandError(
            f"{now['domain']} is not revoked: {now['last_error'].rstrip('.')}.",
            "It is served and renewed as before. Mend what is named, and ask again.",
            refusal=False,
            problem=now,
        )
    return now


def show_records(certificate: Certificate, console: Console) -> None:
    """Show what a person must set."""
    console.print("Set these DNS records:")
    for record in certificate["records"]:
        console.print(f"  {escape(record['name'])}  {record['type']}  {escape(record['value'])}")
    console.print(f"They are looked for every minute; at once with: lifecycle cert published {certificate['domain']}")


def _last(seen: Iterator[Certificate]) -> Certificate:
    *_, last = seen
    return last


def _is_over(certificate: Certificate) -> bool:
    """Whether nothing is at work; one that waits for its next attempt is `issuing` as well."""
    return certificate["status"] not in AT_WORK or certificate["next_attempt_at"] is not None

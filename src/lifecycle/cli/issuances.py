"""Shows an issuance while it goes on: a line for each stage, until there is a certificate or a reason why not."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

from lifecycle.cli import http, output
from lifecycle.cli.http import CommandError

Certificate = Mapping[str, Any]

# An API that restarts is back by then; the issuance goes on meanwhile.
_AT_WORK = ("issuing", "renewing")
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
    if now["last_error"]:
        again = now["next_attempt_at"]
        hint = f"It is tried again {output.due(again)}." if again else "Mend it, and ask again."
        raise CommandError(
            f"{now['domain']} got no certificate: {now['last_error'].rstrip('.')}.",
            f"{hint} 'lifecycle cert preflight {now['domain']}' looks for the cause.",
            refusal=again is None,
            problem=now,
        )
    return now


def show_records(certificate: Certificate, console: Console) -> None:
    """Show what a person must set."""
    console.print("Set these DNS records:")
    for record in certificate["records"]:
        console.print(f"  {escape(record['name'])}  {record['type']}  {escape(record['value'])}")
    console.print(f"They are looked for every minute; at once with: lifecycle cert published {certificate['domain']}")


def _is_over(certificate: Certificate) -> bool:
    """Whether nothing is at work; one that waits for its next attempt is `issuing` as well."""
    return certificate["status"] not in _AT_WORK or certificate["next_attempt_at"] is not None

"""`lifecycle cert`: issue, list, show, renew, revoke, download."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

from lifecycle.cli import bulk, exports, http, issuances, output
from lifecycle.cli.http import CommandError
from lifecycle.cli.issuances import Ca, Certificate, ChosenProject, Force, Profile, Prove
from lifecycle.cli.output import Json

app = typer.Typer(help="TLS certificates: issued, renewed by themselves, revoked.", no_args_is_help=True)
app.command()(exports.export)
app.command("issue-many")(bulk.issue_many)
app.command()(bulk.check)

# Spelled out, because the modules that define them bring half of the worker along.
RevocationReason = Literal["unspecified", "key_compromise", "superseded", "cessation_of_operation"]
Standing = Literal["issuing", "active", "renewing", "failed", "revoked"]

Domain = Annotated[str, typer.Argument(metavar="DOMAIN", help="Such as www.example.com, or '*.example.com'.")]
Names = Annotated[list[str] | None, typer.Option("--name", help="A further name in it. Repeatable.")]
ByPerson = Annotated[bool, typer.Option("--by-person", help="I set the TXT records by hand.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Show its stages until it is there.")]
WaitForEnd = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is done, and say how it went.")]
Output = Annotated[Path | None, typer.Option(help="File to write to, for its owner's eyes only.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

_INTERRUPTED = 130


@app.command()
def issue(  # noqa: PLR0913, PLR0917  one for each option
    domain: Domain,
    name: Names = None,
    challenge: Prove = None,
    project: ChosenProject = None,
    ca: Ca = None,
    profile: Profile = None,
    by_person: ByPerson = False,
    force: Force = False,
    wait: Wait = True,
    json: Json = False,
) -> None:
    """Order a certificate, and have it renewed from then on.

    Exit code 0 when it is there, 2 when it cannot be had this way, 1 when it is tried again. Ctrl-C leaves it running.
    """
    body = issuances.body(
        [domain, *(name or ())], challenge, project=project, ca=ca, profile=profile, by_person=by_person
    )
    asked = http.call("POST", issuances.path(domain, "issue"), body={**body, "force": force})
    _follow(asked, wait=wait, json=json)


@app.command()
def preflight(
    domain: Domain,
    name: Names = None,
    challenge: Prove = None,
    project: ChosenProject = None,
    ca: Ca = None,
    profile: Profile = None,
    by_person: ByPerson = False,
    json: Json = False,
) -> None:
    """Look for what would be in the way, without asking the CA. Exit code 2 when there is something."""
    body = issuances.body(
        [domain, *(name or ())], challenge, project=project, ca=ca, profile=profile, by_person=by_person
    )
    found = http.call("POST", issuances.path(domain, "preflight"), body=body)
    if json:
        output.show_json(found)
    else:
        for one in found["items"]:
            _show_verdict(one)
    if found["verdict"] == "would_fail":
        raise typer.Exit(2)
    if not json:
        output.out.print(f"{found['ca']} would issue it with {found['challenge']}, as far as can be seen from here.")


@app.command("list")
def list_all(
    project: Annotated[str | None, typer.Option(help="Only of this project.")] = None,
    status: Annotated[Standing | None, typer.Option(help="Only those that stand so.")] = None,
    json: Json = False,
) -> None:
    """List the certificates of the workspace, with expiry and next renewal."""
    items = list(exports.listed(project=project, status=status))
    if json:
        output.show_json({"items": items, "next_cursor": None})
        return
    rows = [
        (
            one["domain"],
            one["status"],
            output.in_days(one["not_after"]),
            next_step(one),
            one["ca"] or "",
            str(len(one["names"])),
            output.first_line(one["last_error"]),
        )
        for one in items
    ]
    columns = ("DOMAIN", "STATUS", "EXPIRES", "NEXT", "CA", "NAMES", "LAST ERROR")
    is_chosen = project is not None or status is not None
    empty = "There is no such certificate." if is_chosen else "No certificates yet: lifecycle cert issue DOMAIN"
    output.table(columns, rows, empty=empty)


@app.command()
def show(domain: Domain, json: Json = False) -> None:
    """Show a certificate: where it stands, what comes next, and what there was before."""
    found = http.call("GET", issuances.path(domain))
    if json:
        output.show_json(found)
        return
    output.lines([*_facts(found)])
    if found["records"]:
        issuances.show_records(found, output.out)
    rows = [
        (
            "*" if one["in_use"] else "",
            str(one["number"]),
            one["ca"],
            one["serial"],
            f"{output.moment(one['issued_at']):%Y-%m-%d %H:%M}",
            output.in_days(one["not_after"]),
            one["cause"],
        )
        for one in found["versions"]
    ]
    if rows:
        output.table(("", "VERSION", "CA", "SERIAL", "ISSUED", "EXPIRES", "WHY"), rows, empty="")


@app.command()
def renew(domain: Domain, force: Force = False, wait: Wait = True, json: Json = False) -> None:
    """Renew now, or try again now what failed; the one in use stays until then."""
    asked = http.call("POST", issuances.path(domain, "renew"), body={"force": force})
    _follow(asked, wait=wait, json=json)


@app.command()
def halt(domain: Domain, wait: WaitForEnd = True, json: Json = False) -> None:
    """Give up the issuance that is under way; the certificate in use stays.

    Exit code 1 when it was too late for that, and the certificate is there.
    """
    answer = http.call("POST", issuances.path(domain, "halt"))
    done = issuances.until_halted(answer) if wait else answer
    too_late = wait and done["serial"] != answer["serial"]
    if json:
        output.show_json(done)
    elif too_late:
        output.out.print(f"Too late: {done['domain']} has the certificate {done['serial']} already.")
    else:
        output.out.print(f"{'Given up' if wait else 'Being given up'}: the issuance for {answer['domain']}.")
    if too_late:
        raise typer.Exit(1)


@app.command()
def published(domain: Domain, wait: Wait = True, json: Json = False) -> None:
    """Say that the DNS records are set which an issuance waits for. Exit codes as for 'issue'."""
    answer = http.call("POST", issuances.path(domain, "records-published"))
    if not json:
        output.out.print(f"They are looked for now: {answer['domain']}.")
    _follow(answer, wait=wait, json=json)


@app.command()
def revoke(
    domain: Domain,
    reason: Annotated[RevocationReason, typer.Option(help="Why; a disclosed key is replaced.")] = "unspecified",
    yes: Yes = False,
    wait: WaitForEnd = True,
    json: Json = False,
) -> None:
    """Have the CA revoke the certificate in use; it is not served any more. Needs the role administrator.

    Exit code 0 when it is revoked, and for a disclosed key also replaced; 1 when the CA would not.
    """
    if not yes:
        output.err.print(f"This revokes the certificate of {escape(domain)} for ever; browsers then refuse it.")
        if not typer.confirm("Go on?", err=True):
            raise CommandError("Not confirmed; nothing was changed.", "Answer y, or give --yes.", refusal=True)
    answer = http.call("POST", issuances.path(domain, "revoke"), body={"reason": reason})
    is_asked = answer["revoked_at"] is None
    done = issuances.until_revoked(answer) if wait and is_asked else answer
    if not json:
        _tell_revoked(answer, is_over=wait, is_replaced=reason == "key_compromise")
    if wait and is_asked and reason == "key_compromise":
        _follow(done, wait=True, json=json)
    elif json:
        output.show_json(done)


@app.command()
def chain(
    domain: Domain,
    version: Annotated[int | None, typer.Option(min=1, help="An earlier one.")] = None,
    output: Output = None,
) -> None:
    """Print the certificate and its issuers as PEM."""
    query = {"version": None if version is None else str(version)}
    _give(http.text(issuances.path(domain, "chain.pem"), query=query), output)


@app.command()
def key(domain: Domain, output: Output = None) -> None:
    """Print the private key as PEM. Needs the role administrator; who took it is in the audit log."""
    _give(http.text(issuances.path(domain, "key"), method="POST"), output)


def _tell_revoked(asked: Certificate, *, is_over: bool, is_replaced: bool) -> None:
    domain = asked["domain"]
    if asked["revoked_at"]:
        output.out.print(f"Revoked already: {domain}, {output.age(asked['revoked_at'])} ago.")
        return
    if is_over:
        follows = (
            "Another one with another key is ordered"
            if is_replaced
            else f"For another one: lifecycle cert renew {domain}"
        )
        output.out.print(f"Revoked: {domain} (serial {asked['serial']}). {follows}.")
        return
    follows = " Another one with another key is ordered then." if is_replaced else ""
    output.out.print(f"The CA is being asked to revoke {domain} (serial {asked['serial']}).{follows}")


def _follow(asked: Certificate, *, wait: bool, json: bool) -> None:
    console = output.err if json else output.out
    try:
        done = issuances.until_issued(asked, console) if wait else asked
    except KeyboardInterrupt:
        output.err.print(f"It goes on. Give it up with: lifecycle cert halt {escape(asked['domain'])}")
        raise typer.Exit(_INTERRUPTED) from None
    if json:
        output.show_json(done)
    elif done["status"] == "active":
        output.out.print(
            f"{done['domain']} has a certificate of {done['ca']}: "
            f"it expires {output.in_days(done['not_after'])}, and is renewed {output.in_days(done['next_renewal_at'])}."
        )
    else:
        output.out.print(f"Under way. See how it goes: lifecycle cert show {escape(done['domain'])}")


def next_step(one: Certificate) -> str:
    """What comes next, and when: the first certificate of a domain is no renewal, and neither is another attempt."""
    at = one["next_renewal_at"]
    is_ahead = at is not None and output.is_ahead(at)
    if one["status"] in issuances.AT_WORK and not is_ahead:
        return "under way"
    is_renewal = one["status"] == "active" and not one["last_error"]
    return "" if at is None else f"{'renewal' if is_renewal else 'next attempt'} {output.in_days(at)}"


def _facts(found: Certificate) -> Iterator[tuple[str, str | None]]:
    yield "domain", found["domain"]
    yield "status", f"{found['status']}, revocation under way" if found["revoking"] else found["status"]
    yield "stage", found["stage"]
    for name in found["names"]:
        yield "name", name
    yield "proved by", f"{found['challenge']}, records set by a person" if found["by_person"] else found["challenge"]
    yield "project", found["project"]
    yield "ca", found["ca"]
    yield "profile", found["profile"]
    yield "issuer", found["issuer"]
    yield "serial", found["serial"]
    yield "expires", output.due(found["not_after"])
    if found["next_attempt_at"]:
        yield "next attempt", output.due(found["next_attempt_at"])
    elif found["status"] not in issuances.AT_WORK:
        yield "renewal", output.due(found["next_renewal_at"])
    if found["renewal_reason"]:
        yield "because", found["renewal_reason"]["detail"]
        yield "explained at", found["renewal_reason"]["explanation_url"]
    if found["cancelled_at"]:
        yield "renewal", f"cancelled {output.age(found['cancelled_at'])} ago"
    if found["revoked_at"]:
        yield "revoked", f"{output.age(found['revoked_at'])} ago"
    yield "last error", found["last_error"]
    yield "go on at", found["unpause_link"]
    yield "asked for by", found["requested_by"]
    yield "generation", str(found["generation"])


def _show_verdict(one: Mapping[str, Any]) -> None:
    output.out.print(f"[bold]{escape(one['name'])}[/bold]")
    for good in one["checks"]:
        output.out.print(f"  [green]ok[/green]   {escape(good)}")
    for finding in one["findings"]:
        output.out.print(f"  [red]bad[/red]  {escape(finding['why'])}")
        output.out.print(f"       {escape(finding['do'])}")


def _give(pem: str, file: Path | None) -> None:
    if file is None:
        typer.echo(pem.rstrip("\n"))
        return
    try:
        exports.write_private(file, pem)
    except OSError as error:
        raise CommandError(
            f"{file} cannot be written: {error.strerror or error}.", "Give another file.", refusal=True
        ) from error
    typer.echo(f"Written: {file}", err=True)

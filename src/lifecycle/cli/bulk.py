"""`lifecycle cert issue-many` and `check`: many certificates at once, and what becomes of each."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.markup import escape

from lifecycle.cli import http, issuances, output
from lifecycle.cli.http import CommandError
from lifecycle.cli.issuances import Ca, ChosenProject, Force, Profile, Prove
from lifecycle.cli.output import Json

# So many are answered for in time; whatever their number, the first renewals of each hundred are spread.
_AT_A_TIME = 100
_BETWEEN_NAMES = re.compile(r"[\s,]+")

File = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="A line for each certificate: its names, separated by blanks or commas, the first is what it is called "
        "by; # begins a comment. - is standard input.",
    ),
]
Outcome = Mapping[str, Any]


class Line(NamedTuple):
    """One certificate that is wanted: its names, and where they stand in the file, from 1."""

    number: int
    names: tuple[str, ...]


def issue_many(
    file: File,
    challenge: Prove = None,
    project: ChosenProject = None,
    ca: Ca = None,
    profile: Profile = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Order many certificates, and say for each line whether it is accepted; their first renewals are spread.

    Repeating it orders only what is missing. Exit code 2 when some are refused, 1 when for some no answer came.
    """
    wanted = lines(_text(file))
    if not wanted:
        raise CommandError(f"{file} has no names.", "Write a line for each certificate.", refusal=True)
    more = {"project": project, "ca": ca, "profile": profile, "force": force}
    outcomes: list[Outcome] = []
    for start in range(0, len(wanted), _AT_A_TIME):
        some = wanted[start : start + _AT_A_TIME]
        requests = [{"domain": one.names[0], **issuances.body(one.names, challenge, **more)} for one in some]
        answer = http.call("POST", "/v1/certificates:issue", body={"requests": requests})
        for line, outcome in zip(some, answer["items"], strict=True):
            outcomes.append({"line": line.number, **outcome})
            if not json:
                _tell(line, outcome)
    if json:
        output.show_json({"items": outcomes, "next_cursor": None})
    else:
        accepted = sum(one["outcome"] == "accepted" for one in outcomes)
        output.out.print(f"{accepted} of {len(outcomes)} accepted. See how they go: lifecycle cert list")
    _exit(outcomes)


def check(
    domains: Annotated[list[str] | None, typer.Argument(metavar="[DOMAIN]...", help="All without any.")] = None,
    json: Json = False,
) -> None:
    """Have the CAs asked now whether to renew, for after one has announced that it revokes.

    What they want to be renewed is renewed by itself then. 'preflight' looks before something is ordered.
    """
    items: list[Outcome] = []
    body: dict[str, object] = {} if not domains else {"domains": domains}
    while True:
        answer = http.call("POST", "/v1/certificates:check", body=body)
        items += answer["items"]
        if not answer["next_cursor"]:
            break
        body = {"cursor": answer["next_cursor"]}
    refused = [one for one in items if one["outcome"] != "accepted"]
    if json:
        output.show_json({"items": items, "next_cursor": None})
    elif not items:
        output.out.print("There is no certificate to ask about: lifecycle cert issue DOMAIN")
    else:
        for one in refused:
            output.err.print(f"{escape(one['domain'])}: {escape(one['detail'])} {escape(one['hint'])}")
        asked = len(items) - len(refused)
        output.out.print(
            f"Being asked about: {asked} of {len(items)}. What a CA wants to be renewed is renewed now, and else when "
            "'lifecycle cert list' says."
        )
    _exit(items)


def lines(text: str) -> Sequence[Line]:
    """The certificates that a file names; empty lines and comments are none."""
    return tuple(_lines(text))


def _lines(text: str) -> Iterator[Line]:
    for number, line in enumerate(text.splitlines(), start=1):
        names = tuple(name for name in _BETWEEN_NAMES.split(line.partition("#")[0]) if name)
        if names:
            yield Line(number, names)


def _text(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(
            f"{file} cannot be read: {error.strerror or error}.",
            "Give another file, or - for standard input.",
            refusal=True,
        ) from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{file} is no text.", "Give a text file in UTF-8.", refusal=True) from error


def _tell(line: Line, outcome: Outcome) -> None:
    place = f"line {line.number}: {escape(outcome['domain'])}"
    if outcome["outcome"] == "accepted":
        output.out.print(f"[green]accepted[/green]  {place}, {outcome['status']}")
        return
    output.out.print(f"[red]{outcome['outcome']:8}[/red]  {place}: {escape(outcome['detail'])}")
    output.out.print(f"          hint: {escape(outcome['hint'])}")


def _exit(outcomes: Sequence[Outcome]) -> None:
    """End with 2 when something was refused, and with 1 when nobody knows."""
    found = {one["outcome"] for one in outcomes} - {"accepted"}
    if found:
        raise typer.Exit(2 if "refused" in found else 1)

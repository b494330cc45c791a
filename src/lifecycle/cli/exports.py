"""`lifecycle cert export`: certificates and their keys as files, for servers that are not behind our gateway.

Run it from a timer. A file is written beside its place and renamed, so that nobody reads half of one; and the key
before the chain, so that a chain that is there is never newer than its key.
"""

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from lifecycle.cli import http, issuances, output
from lifecycle.cli.http import CommandError
from lifecycle.cli.output import Json

_CHAIN, _KEY = "chain.pem", "key.pem"
_REVOKED = "revoked"
# Says that something was written, and the command has not yet succeeded since.
_PENDING = ".reload-pending"

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder for each domain is made in it.")]
Reload = Annotated[
    str | None,
    typer.Option(
        metavar="COMMAND", help="Run, without a shell, after something has changed: 'systemctl reload nginx'."
    ),
]
Chosen = Annotated[list[str] | None, typer.Option("--domain", help="Only this one; all else. Repeatable.")]


def export(folder: Folder, reload: Reload = None, domain: Chosen = None, json: Json = False) -> None:
    """Write chain.pem and key.pem of each certificate, when they have changed. Needs the role administrator.

    The key is fetched, which is audited, only when there is another certificate than last time.
    """
    command = None if reload is None else _command(reload)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        changed = [name for name in _domains(domain) if _write(folder, name)]
        ran = command is not None and _reload(folder, command)
    except OSError as error:
        raise CommandError(
            f"{error.filename or folder} cannot be written: {error.strerror or error}.",
            "Give a folder in which you may write.",
            refusal=True,
        ) from error
    if json:
        output.show_json({"folder": str(folder), "changed": changed, "reloaded": ran})
        return
    for name in changed:
        output.out.print(f"Written: {escape(str(folder / place(name)))}")
    output.out.print("Reloaded." if ran else "Nothing has changed." if not changed else "Done.")


def place(domain: str) -> str:
    """The name of the folder of a domain: an asterisk would mean something to a shell."""
    return f"_{domain[1:]}" if domain.startswith("*.") else domain


def _domains(chosen: Sequence[str] | None) -> Sequence[str]:
    if chosen:
        return [_show(name)["domain"] for name in chosen]
    found = list(listed())
    for one in found:
        if one["status"] == _REVOKED:
            output.err.print(
                f"Left as it is: {escape(one['domain'])} is revoked; 'lifecycle cert renew' brings another."
            )
    return [one["domain"] for one in found if one["serial"] is not None]


def _show(domain: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = http.call("GET", issuances.path(domain))
    return found


def listed(**query: str | None) -> Iterator[Mapping[str, Any]]:
    """All certificates of the workspace."""
    cursor: str | None = None
    while True:
        answer = http.call("GET", "/v1/certificates", query={**query, "limit": "1000", "cursor": cursor})
        yield from answer["items"]
        if not (cursor := answer["next_cursor"]):
            return


def _write(folder: Path, domain: str) -> bool:
    """Bring the files of a domain up to date; whether they were not."""
    own = folder / place(domain)
    chain = http.text(issuances.path(domain, "chain.pem"))
    if (own / _KEY).exists() and _content(own / _CHAIN) == chain:
        return False
    key = http.text(issuances.path(domain, "key"), method="POST")
    own.mkdir(mode=0o700, exist_ok=True)
    (folder / _PENDING).touch(mode=0o600)
    write_private(own / _KEY, key)
    write_private(own / _CHAIN, chain)
    return True


def write_private(path: Path, content: str) -> None:
    """Write a file that only its owner may read, all of it or nothing.

    Raises:
        OSError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    try:
        part.touch(mode=0o600, exist_ok=False)
        with part.open("w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _content(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def _command(text: str) -> Sequence[str]:
    """The command in parts, once it is certain that it can be run: before anything is written.

    Raises:
        CommandError: it is none.
    """
    try:
        parts = shlex.split(text)
    except ValueError as error:
        problem = str(error)
        raise _unusable(text, f"{problem[:1].lower()}{problem[1:]}") from error
    if not parts:
        raise _unusable(text, "it is empty")
    if shutil.which(parts[0]) is None:
        raise _unusable(text, f"there is no program {parts[0]}")
    return parts


def _unusable(command: str, problem: str) -> CommandError:
    return CommandError(
        f"'{command}' cannot be run: {problem}. Nothing was written.", "Mend the command of --reload.", refusal=True
    )


def _reload(folder: Path, command: Sequence[str]) -> bool:
    """Run the command when something was written since it last succeeded; whether it was run.

    Raises:
        CommandError: it failed; the next export runs it again.
    """
    pending = folder / _PENDING
    if not pending.exists():
        return False
    try:
        # Whoever may read the keys says what is run.
        code = subprocess.run(command, check=False).returncode  # noqa: S603
    except OSError as error:
        raise _failed(command, str(error)) from error
    if code:
        raise _failed(command, f"exit code {code}")
    pending.unlink(missing_ok=True)
    return True


def _failed(command: Sequence[str], problem: str) -> CommandError:
    return CommandError(
        f"The files are written, but '{shlex.join(command)}' failed: {problem}.",
        "Mend the command; the next export runs it again.",
        refusal=False,
    )

"""What a deployment is made of on this machine: folders that become tarballs, and files of variables."""

import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lifecycle.cli.http import CommandError


@contextmanager
def tarball(path: Path) -> Iterator[IO[bytes]]:
    """The tarball of a folder, or the file itself; open for reading.

    Raises:
        CommandError: it cannot be read.
    """
    try:
        content = _packed(path) if path.is_dir() else path.open("rb")
    except OSError as error:
        raise CommandError(
            f"{path} cannot be read: {error.strerror or error}.",
            "Give a folder or a tarball with a Dockerfile at its top.",
            refusal=True,
        ) from error
    with content:
        yield content


def variables(file: Path | None, given: Sequence[str]) -> dict[str, str]:
    """The environment variables of a file and of the command line, which wins.

    Raises:
        CommandError: the file cannot be read, or something is not `NAME=VALUE`.
    """
    lines = [] if file is None else _lines(file)
    found = {}
    for place, text in [*lines, *(("--env", text) for text in given)]:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            # The text itself is not repeated: it may be a secret that only lacks its name.
            raise CommandError(f"{place} is not NAME=VALUE.", "Write for example --env MODE=fast.", refusal=True)
        found[name.strip()] = value
    return found


def _lines(file: Path) -> Sequence[tuple[str, str]]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(
            f"{file} cannot be read: {error}.", "Give a text file with lines of NAME=VALUE.", refusal=True
        ) from error
    return [
        (f"Line {number} of {file}", line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]


def _packed(folder: Path) -> IO[bytes]:
    # Packed as a whole first: a file that cannot be read is found before anything is asked for.
    packed = tempfile.TemporaryFile(prefix="lifecycle-source-")  # noqa: SIM115  whoever asked for it closes it
    try:
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(folder, arcname=".")
    except BaseException:
        packed.close()
        raise
    packed.seek(0)
    return packed

"""What the process platform keeps of one instance: a folder with its record, its exit code and its output.

No environment variable is ever in it.
"""

import os
import shutil
from pathlib import Path

from pydantic import ValidationError

from lifecycle.deploy.platforms.sessions import Session
from lifecycle.models import Durable

# The output file is cut when it is longer than this; at most this much of what was cut off is kept beside it.
OUTPUT_LIMIT = 5 * 1024 * 1024
_READ_AT_ONCE = 1024 * 1024


class Record(Durable):
    """One instance as it was last started."""

    id: str
    project: str
    deployment: str
    pid: int
    born: str
    port: int
    restarts: int = 0

    @property
    def session(self) -> Session:
        """Its processes."""
        return Session(self.pid, self.born)


class Folder:
    """The folder of one instance; it need not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.output = path / "output.log"
        self.exit_file = path / "exit-code"
        self.work = path / "work"
        self._record = path / "record.json"
        self._former_output = path / "output.1.log"

    def exists(self) -> bool:
        """Whether there is anything of it.

        Raises:
            OSError: that cannot be told.
        """
        try:
            self.path.stat()
        except FileNotFoundError:
            return False
        return True

    def record(self) -> Record | None:
        """How it was last started; None when it never was."""
        try:
            return Record.model_validate_json(self._record.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            return None  # cut short by a crash of the machine, which no process of ours survived either

    def write(self, record: Record) -> None:
        """Keep how it was started; whoever reads meanwhile finds the former record or this one."""
        part = self._record.with_suffix(".part")
        part.write_text(record.model_dump_json(), encoding="utf-8")
        part.replace(self._record)

    def exit_code(self) -> int | None:
        """The exit code of its command; None when it was not written down."""
        try:
            return int(self.exit_file.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None

    def prepare(self) -> None:
        """Make it ready for a start."""
        self.work.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.exit_file.unlink(missing_ok=True)
        self.cut_output()

    def is_output_long(self) -> bool:
        """Whether the output is to be cut."""
        try:
            return self.output.stat().st_size > OUTPUT_LIMIT
        except FileNotFoundError:
            return False

    def cut_output(self) -> None:
        """Keep the end of an output that is too long, and let the file begin anew.

        Its writers only append, so they go on at the beginning. What they write between copy and cut is lost.
        """
        if self.is_output_long():
            part = self._former_output.with_suffix(".part")
            part.write_bytes(_end(self.output, OUTPUT_LIMIT))
            part.replace(self._former_output)
            os.truncate(self.output, 0)

    def tail(self, lines: int) -> str:
        """The last lines of its output, of at most 2 MiB."""
        end = _end(self.output, _READ_AT_ONCE)
        if end.count(b"\n") < lines:
            end = _end(self._former_output, _READ_AT_ONCE) + end
        return b"".join(end.splitlines(keepends=True)[-lines:] if lines > 0 else []).decode(errors="replace")

    def remove(self) -> None:
        """Remove it with all that is in it."""
        if self.exists():
            shutil.rmtree(self.path)


def _end(file: Path, length: int) -> bytes:
    try:
        with file.open("rb") as handle:
            handle.seek(max(0, os.fstat(handle.fileno()).st_size - length))
            return handle.read(length)
    except FileNotFoundError:
        return b""

"""The README is true: its commands are run as printed, and print what it shows."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from lifecycle.dev.stack import PERSON, Stack
from lifecycle.models import Role
from tests.support.inside import key_of
from tests.support.waiting import eventually

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()

WORKSPACE = "readme"
# The README was written in another workspace, whose name is part of every address.
_SHOWN_WORKSPACE = "dev"

# Commands that only look, and may have to look again until it has happened.
_LOOKS = ("curl", "actions list", "deployments", "receipt")

# What differs from run to run.
_CHANGES = (
    (re.compile(r"prj_[0-9a-z]{26}"), "prj_…"),
    (re.compile(r"dep_[0-9a-z]{26}"), "dep_…"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{3}Z)?"), "<time>"),
    (re.compile(r"in (3d|2d 23h|5s|4s) "), "in <rest> "),
    (re.compile(r"^(3d|2d 23h|30m|29m \d+s|\d{4}d \d+h) +", re.MULTILINE), "<rest>  "),
    (re.compile(r"in \d{4} days"), "in <years>"),
    (re.compile(r"generation +\d+|\(generation \d+\)"), "<generation>"),
    (re.compile(r" +\d+\.\d s"), " <seconds>"),
    (re.compile(r"shop-[a-f][0-9a-f]{7}-"), "shop-<hash>-"),
    (re.compile(r"(\.localhost):\d+"), r"\1:<port>"),
    (re.compile(rf"-{WORKSPACE}\."), f"-{_SHOWN_WORKSPACE}."),
    (re.compile(r" +$", re.MULTILINE), ""),
    (re.compile(r"^(dep_… .*?) +(\d+[smh] ?)+$", re.MULTILINE), r"\1  <age>"),
    # Columns are as wide as the longest name in them.
    (re.compile(r"(?<=\S) {2,}(?=\S)"), "  "),
)


@pytest.fixture
def folder(stack: Stack) -> Iterator[Path]:
    """A folder as that of the repository while `make dev` runs."""
    root = Path(tempfile.mkdtemp(prefix="lifecycle-readme-"))
    (root / ".dev").symlink_to(stack.root)
    (root / "examples").symlink_to(REPOSITORY / "examples")
    yield root
    shutil.rmtree(root)


async def test_the_story_of_the_readme_works_as_printed(stack: Stack, folder: Path) -> None:
    """Whoever types what the README says sees what the README shows."""
    # A workspace of its own: in the one of the other tests the slug may be taken.
    key = await key_of(stack, workspace=WORKSPACE, person=PERSON, role=Role.ADMINISTRATOR)
    reader = Reader(stack, folder, key)
    story = README.split("<!-- story", 1)[1].split("<!-- end of story -->", 1)[0]
    blocks = re.findall(r"```console\n\$ (.+?)\n(.*?)```", story, re.DOTALL)
    assert len(blocks) == 16
    for command, shown in blocks:
        if any(word in command for word in _LOOKS):
            await eventually(partial(reader.sees, command, shown), within=30)
        done = reader.types(command)

        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert _normal(done.stdout) == _normal(shown)
        reader.learns(shown, done.stdout)


def test_every_make_target_of_the_readme_exists() -> None:
    """No command of the README is made up."""
    makefile = (REPOSITORY / "Makefile").read_text()

    for target in re.findall(r"`?make ([a-z]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_link_of_the_readme_leads_somewhere() -> None:
    """No link of the README is broken."""
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("https://") or (REPOSITORY / link).exists(), link


class Reader:
    """Types the commands of the README, with what stands for the same in this run."""

    def __init__(self, stack: Stack, folder: Path, key: str) -> None:
        self._folder = folder
        self._ids: dict[str, str] = {}
        self._port, self._tls_port = stack.gateway.port, stack.gateway.tls_port
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "LIFECYCLE_API_URL": stack.api_url,
            "LIFECYCLE_API_KEY": key,
            "COLUMNS": "120",
        }

    def types(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the README."""
        for shown, here in self._ids.items():
            command = command.replace(shown, here)
        command = command.replace(f"-{_SHOWN_WORKSPACE}.", f"-{WORKSPACE}.")
        command = re.sub(r"(http://\S+\.localhost):\d+", rf"\1:{self._port}", command)
        command = re.sub(r"(https://\S+\.localhost):\d+", rf"\1:{self._tls_port}", command)
        return subprocess.run(
            ["/bin/bash", "-c", command],
            env=self._environment,
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def sees(self, command: str, shown: str) -> bool:
        """Whether a command shows by now what the README shows."""
        assert _normal(self.types(command).stdout) == _normal(shown)
        return True

    def learns(self, shown: str, printed: str) -> None:
        """Remember which id of the README stands for which one here."""
        ids = re.compile(r"dep_[0-9a-z]{26}")
        self._ids |= dict(zip(ids.findall(shown), ids.findall(printed), strict=True))


def _normal(text: str) -> str:
    for pattern, stand_in in _CHANGES:
        text = pattern.sub(stand_in, text)
    return text

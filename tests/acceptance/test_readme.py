"""The README is true: its commands are run as printed, and print what it shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

from lifecycle.dev.stack import PERSON, Stack
from lifecycle.models import Role
from tests.support.inside import key_of
from tests.support.waiting import eventually

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()

# What differs from run to run.
_CHANGES = (
    (re.compile(r"prj_[0-9a-z]{26}"), "prj_…"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{3}Z)?"), "<time>"),
    (re.compile(r"in (3d|2d 23h|5s|4s) "), "in <rest> "),
    (re.compile(r"^(3d|2d 23h) +", re.MULTILINE), "<rest>  "),
    (re.compile(r"generation +\d+|\(generation \d+\)"), "<generation>"),
    (re.compile(r" +$", re.MULTILINE), ""),
)


async def test_the_story_of_the_readme_works_as_printed(stack: Stack) -> None:
    """Whoever types what the README says sees what the README shows."""
    # A workspace of its own: in the one of the other tests the slug may be taken.
    key = await key_of(stack, workspace="readme", person=PERSON, role=Role.ADMINISTRATOR)
    story = README.split("<!-- story", 1)[1].split("<!-- end of story -->", 1)[0]
    blocks = re.findall(r"```console\n\$ (.+?)\n(.*?)```", story, re.DOTALL)
    assert len(blocks) == 6
    for command, shown in blocks:
        if "receipt" in command:
            await eventually(lambda: _run(stack, key, "lifecycle receipt show shop").returncode == 0, within=30)
        if "actions list" in command:
            await eventually(lambda: "shop" in _run(stack, key, "lifecycle actions list").stdout, within=10)
        done = _run(stack, key, command)

        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert _normal(done.stdout) == _normal(shown)


def test_every_make_target_of_the_readme_exists() -> None:
    """No command of the README is made up."""
    makefile = (REPOSITORY / "Makefile").read_text()

    for target in re.findall(r"`?make ([a-z]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_link_of_the_readme_leads_somewhere() -> None:
    """No link of the README is broken."""
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("https://") or (REPOSITORY / link).exists(), link


def _run(stack: Stack, key: str, command: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LIFECYCLE_API_URL": stack.api_url,
        "LIFECYCLE_API_KEY": key,
        "COLUMNS": "120",
    }
    return subprocess.run(["/bin/bash", "-c", command], env=environment, capture_output=True, text=True, check=False)


def _normal(text: str) -> str:
    for pattern, stand_in in _CHANGES:
        text = pattern.sub(stand_in, text)
    return text

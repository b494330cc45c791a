"""A shell in which people type `lifecycle`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from lifecycle.dev.stack import Stack

LIFECYCLE = Path(sys.executable).with_name("lifecycle")


class Shell:
    """A shell in which LIFECYCLE_API_URL and LIFECYCLE_API_KEY are set."""

    def __init__(self, stack: Stack) -> None:
        self.environment = {
            **os.environ,
            **stack.environment,
            "LIFECYCLE_API_KEY": (stack.root / "api-key").read_text().strip(),
            "COLUMNS": "120",
        }

    def run(self, *arguments: str, input: str = "", key: str | None = None) -> subprocess.CompletedProcess[str]:  # noqa: A002
        """Run one command."""
        environment = self.environment if key is None else {**self.environment, "LIFECYCLE_API_KEY": key}
        return subprocess.run(
            [LIFECYCLE, *arguments], env=environment, input=input, capture_output=True, text=True, check=False
        )

    def well(self, *arguments: str) -> str:
        """What a command prints that must succeed."""
        done = self.run(*arguments)
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *arguments: str) -> dict[str, Any]:
        """What one command prints with --json."""
        answer: dict[str, Any] = json.loads(self.well(*arguments, "--json"))
        return answer

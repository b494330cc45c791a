"""The Pebble with renewal information and certificate profiles, which `scripts/setup --tests` fetches."""

import os
import shutil
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / ".tools" / "pebble" / "usr" / "bin"
_MISSING = f"there is no {FOLDER}/pebble: run 'scripts/setup --tests', which fetches it"


def needed() -> None:
    """Fail where it is missing and could be had, and always in CI; skip where there is no apt that it comes by."""
    if (FOLDER / "pebble").exists():
        return
    if os.environ.get("CI") or shutil.which("apt-get"):
        pytest.fail(_MISSING)
    pytest.skip(f"{_MISSING} with apt, which is not here")

"""`make demo`: starts everything in a folder of its own, tells the story with real commands, and stops it again."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lifecycle.dev.stack import Stack

LIFECYCLE = str(Path(sys.executable).with_name("lifecycle"))
GRACE_SECONDS = 5
PATIENCE_SECONDS = 60

# The story, as the README tells it too: what is said, and the command that follows.
STORY: Sequence[tuple[str, Sequence[str]]] = (
    ("A project.", ("project", "create", "shop", "--name", "Web shop")),
    (
        "An administrator asks for its deletion in three days; the slug is typed again.",
        ("project", "delete", "shop", "--reason", "replaced by shop2", "--confirm", "shop"),
    ),
    ("Everybody sees what is going to happen.", ("actions", "list")),
    ("Somebody changes their mind.", ("project", "cancel-delete", "shop")),
    (
        f"Once more, with {GRACE_SECONDS} seconds of grace.",
        ("project", "delete", "shop", "--reason", "really", "--confirm", "shop", "--grace", f"{GRACE_SECONDS}s"),
    ),
)

out = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Tell the story; the exit code says whether it went as told."""
    root = Path(tempfile.mkdtemp(prefix="lifecycle-demo-"))
    try:
        return asyncio.run(_tell(root))
    finally:
        shutil.rmtree(root)


async def _tell(root: Path) -> int:
    stack = Stack(root / "d")
    out.print("[dim]Starting restate-server, MariaDB, worker and API …[/dim]")
    try:
        ready = await stack.start()
        environment = {
            **os.environ,
            "LIFECYCLE_API_URL": str(ready["api_url"]),
            "LIFECYCLE_API_KEY": str(ready["api_key"]),
        }
        return await asyncio.to_thread(_run_story, environment)
    finally:
        await stack.stop()


def _run_story(environment: dict[str, str]) -> int:
    for said, arguments in STORY:
        _say(said, arguments)
        if subprocess.run([LIFECYCLE, *arguments], env=environment, check=False).returncode != 0:
            return 1
    out.print("\n[bold]It is carried out, and leaves a receipt that anybody can verify.[/bold]")
    receipt = _wait_for_receipt(environment)
    if receipt is None:
        out.print("[red]error:[/red] there is no receipt yet; see the logs with 'make dev'.")
        return 1
    _say("", ("receipt", "verify", "-"))
    verified = subprocess.run(
        [LIFECYCLE, "receipt", "verify", "-"], env=environment, input=receipt, text=True, check=False
    )
    _say("Who did what.", ("audit",))
    told = subprocess.run([LIFECYCLE, "audit"], env=environment, check=False)
    return verified.returncode or told.returncode


def _wait_for_receipt(environment: dict[str, str]) -> str | None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        shown = subprocess.run(
            [LIFECYCLE, "receipt", "show", "shop", "--json"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if shown.returncode == 0:
            receipt: str = json.loads(shown.stdout)["receipt"]
            return receipt
        time.sleep(0.5)
    return None


def _say(text: str, arguments: Sequence[str]) -> None:
    if text:
        out.print(f"\n[bold]{text}[/bold]")
    out.print(f"[cyan]$ lifecycle {' '.join(arguments)}[/cyan]")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

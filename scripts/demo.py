"""`make demo`: starts everything in a folder of its own, tells the story with real commands, and stops it again."""

import asyncio
import http.client
import json
import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from rich.console import Console

from lifecycle.dev.stack import APEX, WORKSPACE, Stack

LIFECYCLE = str(Path(sys.executable).with_name("lifecycle"))
EXAMPLES = Path(__file__).parents[1] / "examples"
HOST = f"shop-{WORKSPACE}.{APEX}"
GRACE_SECONDS = 5
PATIENCE_SECONDS = 60
LOOK_EVERY_SECONDS = 0.25

T = TypeVar("T")
out = Console(highlight=False, soft_wrap=True)


class StoryError(Exception):
    """Something did not go as told."""


class Story:
    """Says what happens, and has it happen.

    Args:
        ready: the addresses of the stack, as `ready.json` has them.
        folder: where the commands are typed; the stack is in its `.dev`.
    """

    def __init__(self, ready: Mapping[str, str | None], folder: Path) -> None:
        self._folder = folder
        self._environment = {
            **os.environ,
            "LIFECYCLE_API_URL": str(ready["api_url"]),
            "LIFECYCLE_API_KEY": str(ready["api_key"]),
        }
        self._port = urlsplit(str(ready["gateway_http_url"])).port
        self._tls_port = urlsplit(str(ready["gateway_https_url"])).port
        self._trust = ssl.create_default_context(cafile=str(ready["ca_bundle"]))

    def tell(self) -> None:
        """Tell the whole of it.

        Raises:
            StoryError: it went otherwise.
        """
        self._deployments()
        self._deletion()

    def _deployments(self) -> None:
        self.run("A project.", "project", "create", "shop", "--name", "Web shop")
        self.deploy("Its first version, a few lines of Python.", "shop 1")
        self.visit("shop 1")
        self.run("A certificate by a real challenge, renewed by itself from now on.", "cert", "issue", HOST)
        self.visit("shop 1", secure=True)
        self.deploy("The second one takes over without a failed request.", "shop 2")
        self.visit("shop 2")
        self.run("It is not what was wanted: back to the one before.", "rollback", "shop", "--yes")
        self.visit("shop 1")
        self.run("Both still run, and the second one is promoted after all.", "deployments", "shop")
        newest = json.loads(self.ask("deployments", "shop", "--json"))["items"][0]["id"]
        self.run("", "promote", newest, "--yes")
        self.visit("shop 2")

    def _deletion(self) -> None:
        self.run(
            "An administrator asks for the project's deletion in three days; the slug is typed again.",
            *("project", "delete", "shop", "--reason", "replaced by shop2", "--confirm", "shop"),
        )
        self.run("Everybody sees what is going to happen; the first version is stopped soon.", "actions", "list")
        self.visit("410")
        self.run("Somebody changes their mind.", "project", "cancel-delete", "shop")
        self.visit("shop 2")
        self.run(
            f"Once more, with {GRACE_SECONDS} seconds of grace.",
            *("project", "delete", "shop", "--reason", "really", "--confirm", "shop", "--grace", f"{GRACE_SECONDS}s"),
        )
        out.print("\n[bold]It is carried out, and leaves a receipt that anybody can verify.[/bold]")
        receipt = within_patience("a receipt", self._receipt)
        _say("", "lifecycle receipt verify -")
        self._lifecycle("receipt", "verify", "-", input=receipt)
        self.visit("404")
        self.run("Who did what.", "audit", "--limit", "16")

    def run(self, said: str, *arguments: str) -> None:
        """Say something, and run a command."""
        _say(said, shlex.join(("lifecycle", *arguments)))
        self._lifecycle(*arguments)

    def deploy(self, said: str, version: str) -> None:
        """Deploy a version of the example."""
        app = ("--", "python3", "hello.py", *version.split())
        self.run(said, "deploy", "shop", "--directory", "examples/hello", *app)

    def visit(self, expected: str, *, secure: bool = False) -> None:
        """Ask the gateway as a visitor would, and show the answer."""
        plain, tls = f"http://{HOST}:{self._port}/", f"https://{HOST}:{self._tls_port}/"
        _say("", f"curl --cacert .dev/ca-bundle.pem {tls}" if secure else f"curl {plain}")

        def answered() -> str | None:
            answer = self._get(secure=secure)
            return answer if answer.startswith(expected) else None

        out.print(within_patience(f"the answer {expected!r}", answered))

    def ask(self, *arguments: str) -> str:
        """What a command prints."""
        done = subprocess.run(
            [LIFECYCLE, *arguments], env=self._environment, capture_output=True, text=True, check=False
        )
        return done.stdout if done.returncode == 0 else ""

    def _receipt(self) -> str | None:
        return self.ask("receipt", "show", "shop") or None

    def _lifecycle(self, *arguments: str, input: str | None = None) -> None:  # noqa: A002
        done = subprocess.run(
            [LIFECYCLE, *arguments], env=self._environment, cwd=self._folder, input=input, text=True, check=False
        )
        if done.returncode:
            raise StoryError(f"'lifecycle {arguments[0]}' ended with code {done.returncode}")

    def _get(self, *, secure: bool) -> str:
        port = self._tls_port if secure else self._port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            if secure:
                connection.connect()
                connection.sock = self._trust.wrap_socket(connection.sock, server_hostname=HOST)
            # Not every resolver knows that all names below localhost mean this machine.
            connection.request("GET", "/", headers={"Host": f"{HOST}:{port}"})
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        if response.status == http.client.OK:
            return text.strip()
        title = re.search(r"<title>(.*?)</title>", text)
        return f"{response.status} {response.reason}: {title[1] if title else text}"


def within_patience(wanted: str, look: Callable[[], T | None]) -> T:
    """What `look` finds.

    Raises:
        StoryError: it found nothing for too long.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise StoryError(f"{wanted} did not come; see the logs with 'make dev'")
        time.sleep(LOOK_EVERY_SECONDS)
    return found


def main() -> int:
    """Tell the story; the exit code says whether it went as told."""
    root = Path(tempfile.mkdtemp(prefix="lifecycle-demo-"))
    try:
        asyncio.run(_tell(root))
    except StoryError as error:
        out.print(f"[red]error:[/red] {error}")
        return 1
    finally:
        shutil.rmtree(root)
    return 0


async def _tell(root: Path) -> None:
    stack = Stack(root / ".dev")
    (root / "examples").symlink_to(EXAMPLES)
    out.print("[dim]Starting restate-server, MariaDB, HAProxy, Pebble, worker and API …[/dim]")
    try:
        ready = await stack.start()
        await asyncio.to_thread(Story(ready, root).tell)
    finally:
        await stack.stop()
        out.print("\n[dim]Everything is stopped.[/dim]")


def _say(text: str, command: str) -> None:
    if text:
        out.print(f"\n[bold]{text}[/bold]")
    out.print(f"[cyan]$ {command}[/cyan]")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

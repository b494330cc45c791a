"""`lifecycle dev`: starts the stack, shows how it is, and stops it."""

import asyncio
import contextlib
import signal
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from lifecycle.dev.process import Child, StartError, chosen
from lifecycle.dev.servers import MissingProgramError
from lifecycle.dev.stack import ADJUSTABLE, APEX, AlreadyRunningError, Stack, erase

_LOOK_EVERY_SECONDS = 0.5
_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)


def run(root: Path, *, fresh: bool, given_ports: Mapping[str, int]) -> int:
    """Run the stack in the foreground until Ctrl-C or SIGTERM; returns the exit code."""
    try:
        if fresh:
            erase(root)
        return asyncio.run(_run(Stack(root, given_ports=given_ports, settings=chosen(ADJUSTABLE))))
    except (AlreadyRunningError, MissingProgramError) as error:
        _err.print(f"[red]error:[/red] {error}")
        return 2


async def _run(stack: Stack) -> int:
    failed = False
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    try:
        starting = asyncio.create_task(stack.start(lambda name: _out.print(f"[green]up[/green]  {name}")))
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            _print_ready(starting.result(), stack)
            await _watch(stack, stopping)
        else:
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
    except* (StartError, MissingProgramError) as errors:
        failed = True
        for error in errors.exceptions:
            _err.print(f"[red]error:[/red] {error}")
    finally:
        await stack.stop()
        _out.print("Stopped. The data is in " + str(stack.root))
    return 1 if failed else 0


def _print_ready(ready: Mapping[str, str | None], stack: Stack) -> None:
    _out.print("\n[bold]Lifecycle is ready.[/bold] Commands in this folder find it by themselves.\n")
    for name, value in (
        ("console", f"{ready['console_url']} for people; sign in with the api_key of {stack.root}/ready.json"),
        ("API", ready["api_url"]),
        ("API docs", f"{ready['api_url']}/docs"),
        ("gateway", f"http://NAME.{APEX}:{stack.gateway.port} for every domain of a deployment"),
        ("with TLS", f"https://NAME.{APEX}:{stack.gateway.tls_port}, trusted by {stack.root}/ca-bundle.pem"),
        ("engine UI", f"{ready['restate_admin_url']}/ui/"),
        ("addresses", str(stack.root / "ready.json")),
        ("logs", str(stack.root / "logs")),
    ):
        _out.print(f"  {name.ljust(10)} {value}")
    _out.print("\nTry: lifecycle project create shop      Ctrl-C stops everything; the data stays.\n")


async def _watch(stack: Stack, stopping: asyncio.Event) -> None:
    """Show the state of each part on a terminal, and start again what died, until `stopping`."""
    with Live(_status(stack), console=_out, auto_refresh=False, transient=True) as live:
        while not stopping.is_set():
            for child in stack.children:
                if not child.is_running:
                    _out.print(f"[red]died[/red] {child.name}; starting it again, see {child.log}")
                    child.start()
            if _out.is_terminal:
                live.update(_status(stack), refresh=True)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), _LOOK_EVERY_SECONDS)


def _status(stack: Stack) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("", "part", "pid", "log"):
        table.add_column(column)
    for child in stack.children:
        mark = "[green]running[/green]" if child.is_running else "[red]down[/red]"
        table.add_row(mark, child.name, str(child.pid or ""), _shown(child))
    return table


def _shown(child: Child) -> str:
    with contextlib.suppress(ValueError):
        return str(child.log.relative_to(Path.cwd()))
    return str(child.log)

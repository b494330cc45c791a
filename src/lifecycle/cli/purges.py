"""Shows a deletion until it is carried out: how long it is still, what is going, and what the receipt says is gone."""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from lifecycle.cli import http, output, receipts
from lifecycle.cli.http import CommandError

Deletion = Mapping[str, Any]


def until_deleted(deletion: Deletion, console: Console) -> Deletion:
    """Show a scheduled deletion until it is over.

    Raises:
        CommandError: it was cancelled, or the API cannot be reached any more.
    """
    over = deletion
    with Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else nullcontext() as live:
        for over in _states(deletion):
            if live is not None:
                live.update(_picture(over), refresh=True)
    if over["phase"] != "deleted":
        by = "" if over["cancelled"] is None else f" at {over['cancelled']['cancelled_at']}"
        raise CommandError(
            f"The deletion of {over['project']} was cancelled{by}.",
            "Nothing was removed. Schedule it again when it is wanted.",
            refusal=True,
            problem=over,
        )
    for line in receipts.of(over["project"])["removed"]:
        console.print(f"[green]ok[/green]  {escape(line['subsystem'])}: {line['count']} removed")
    return over


def _states(deletion: Deletion) -> Iterator[Deletion]:
    path = f"/v1/projects/{http.quoted(deletion['project'])}/deletion"
    return http.until(deletion, path, lambda now: now["phase"] in ("deleted", "none"))


def _picture(deletion: Deletion) -> Table:
    table = Table.grid(padding=(0, 2))
    for one in (deletion["purge"] or {}).get("removed", ()):
        table.add_row("[green]ok[/green]", f"{escape(one['subsystem'])}: {one['count']} removed")
    if deletion["phase"] == "scheduled":
        held = f"; held by {', '.join(deletion['blocked_by'])}" if deletion["blocked_by"] else ""
        table.add_row("[yellow]...[/yellow]", f"[bold]due {output.due(deletion['due_at'])}[/bold]{escape(held)}")
    if deletion["phase"] == "purging":
        step = (deletion["purge"] or {}).get("step") or "beginning"
        table.add_row("[yellow]...[/yellow]", f"[bold]{escape(step)}[/bold]")
    return table

"""Shows a deletion until it is carried out: how long it is still, what is going, and what the receipt says is gone."""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from lifecycle import clock
from lifecycle.cli import http, output, receipts
from lifecycle.cli.http import CommandError

Deletion = Mapping[str, Any]

_LOOKS = 10
_LONGEST_PAUSE_SECONDS = 15.0


def until_deleted(deletion: Deletion, console: Console) -> Deletion:
    """Show a scheduled deletion until it is over.

    Raises:
        CommandError: it was cancelled, or is another one now, or the API cannot be reached any more.
    """
    over = deletion
    with Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else nullcontext() as live:
        for over in _states(deletion):
            if live is not None:
                live.update(_picture(over), refresh=True)
    if over["phase"] == "scheduled":
        raise CommandError(
            f"The deletion of {over['project']} was changed: it is generation {over['generation']} now, "
            f"due {output.due(over['due_at'])}.",
            "See it with 'lifecycle project show'; 'lifecycle project delete --wait' waits for it as it is.",
            refusal=True,
            problem=over,
        )
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


def pause(deletion: Deletion, now: datetime) -> float:
    """Seconds until the next look: of a long grace seldom, near its end often, and a purge is watched."""
    due_at = output.moment(deletion["due_at"])
    if deletion["phase"] != "scheduled" or due_at is None:
        return http.LOOK_EVERY_SECONDS
    # What is held stays after its due time, and is looked at the more seldom the longer that lasts.
    away = abs((due_at - now).total_seconds())
    return min(max(away / _LOOKS, http.LOOK_EVERY_SECONDS), _LONGEST_PAUSE_SECONDS)


def is_over(deletion: Deletion, generation: int) -> bool:
    """Whether there is nothing more to wait for: it is carried out, or not the one that was waited for.

    Args:
        deletion: as it is now.
        generation: which was waited for. A newer one that is carried out already is as good.
    """
    if deletion["phase"] == "scheduled":
        return bool(deletion["generation"] != generation)
    return deletion["phase"] in ("deleted", "none")


def _states(deletion: Deletion) -> Iterator[Deletion]:
    path = f"/v1/projects/{http.quoted(deletion['project'])}/deletion"
    generation = deletion["generation"]
    return http.until(
        deletion, path, lambda seen: is_over(seen, generation), pause=lambda seen: pause(seen, clock.now())
    )


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

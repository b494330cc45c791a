"""`lifecycle webhook`, `lifecycle delivery` and `lifecycle recipient`: who is told of what, and what came of it."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.markup import escape

from lifecycle.cli import http, output
from lifecycle.cli.output import Json

webhook_app = typer.Typer(help="Where events are posted to.", no_args_is_help=True)
delivery_app = typer.Typer(help="What was sent to whom.", no_args_is_help=True)
recipient_app = typer.Typer(help="Who gets mail.", no_args_is_help=True)

Webhook = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Id of the webhook: whk_…")]
Delivery = Annotated[str, typer.Argument(metavar="DELIVERY", help="Id of the delivery: dlv_…")]
Address = Annotated[str, typer.Argument(metavar="ADDRESS", help="Such as ada@example.com.")]
Events = Annotated[
    list[str] | None,
    typer.Option("--event", help="Type such as deletion.reminded, family such as 'alarm.*', or '*'. May be repeated."),
]
Answer = Mapping[str, Any]


@webhook_app.command()
def add(
    url: Annotated[str, typer.Argument(help="Such as https://hooks.example.com/lifecycle.")],
    event: Events = None,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    json: Json = False,
) -> None:
    """Add a webhook; its secret is shown this once."""
    body = {"url": url, "description": description, "events": event or ["*"]}
    _show_secret(http.call("POST", "/v1/webhooks", body=body), json=json)


@webhook_app.command("list")
def list_webhooks(json: Json = False) -> None:
    """List the webhooks."""
    answer = http.call("GET", "/v1/webhooks")
    if json:
        output.show_json(answer)
        return
    rows = [(one["id"], one["state"], _health(one), ", ".join(one["events"]), one["url"]) for one in answer["items"]]
    empty = "No webhooks; add one with: lifecycle webhook add URL"
    output.table(("ID", "STATE", "HEALTH", "EVENTS", "URL"), rows, empty=empty)


@webhook_app.command("show")
def show_webhook(webhook: Webhook, json: Json = False) -> None:
    """Show a webhook, and why it is disabled if it is."""
    _show_webhook(http.call("GET", _webhook(webhook)), json=json)


@webhook_app.command()
def enable(webhook: Webhook, json: Json = False) -> None:
    """Send to a webhook again."""
    _show_webhook(http.call("PATCH", _webhook(webhook), body={"enabled": True}), json=json)


@webhook_app.command()
def disable(webhook: Webhook, json: Json = False) -> None:
    """Send nothing more to a webhook."""
    _show_webhook(http.call("PATCH", _webhook(webhook), body={"enabled": False}), json=json)


@webhook_app.command()
def change(
    webhook: Webhook,
    event: Events = None,
    url: Annotated[str | None, typer.Option(help="Another URL.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    json: Json = False,
) -> None:
    """Change where a webhook leads, or what it gets."""
    asked = {"url": url, "description": description, "events": event}
    body = {name: value for name, value in asked.items() if value is not None}
    _show_webhook(http.call("PATCH", _webhook(webhook), body=body), json=json)


@webhook_app.command()
def rotate(
    webhook: Webhook,
    force: Annotated[
        bool, typer.Option("--force", help="Also while a former secret still signs, which then ends at once.")
    ] = False,
    json: Json = False,
) -> None:
    """Give a webhook a new secret, shown this once; the former one signs too for a day."""
    _show_secret(http.call("POST", f"{_webhook(webhook)}/rotate", body={"force": force}), json=json)


@webhook_app.command()
def replay(
    webhook: Webhook,
    since: Annotated[
        str | None, typer.Option(help="Only what was written from then on, such as 2026-11-21T09:00:00Z.")
    ] = None,
    state: Annotated[
        str | None, typer.Option(help="failed: what was given up. held: what came while it was disabled. Else both.")
    ] = None,
    json: Json = False,
) -> None:
    """Send again what a webhook has missed, the oldest first; what was delivered is not sent again."""
    asked = {"since": since, "state": state}
    body = {name: value for name, value in asked.items() if value is not None}
    answer = http.call("POST", f"{_webhook(webhook)}/replay", body=body)
    if json:
        output.show_json(answer)
        return
    count, from_then_on = answer["deliveries"], f"since {answer['since']}"
    if count:
        output.out.print(f"On their way: {count}; look with: lifecycle delivery list --target {escape(webhook)}")
    elif state is None:
        output.out.print(f"Nothing was missed {from_then_on}.")
    else:
        output.out.print(f"Nothing that was written {from_then_on} is {state}.")


@webhook_app.command("test")
def try_webhook(webhook: Webhook, json: Json = False) -> None:
    """Send a test to a webhook; also to a disabled one, once."""
    _begun(http.call("POST", f"{_webhook(webhook)}/test"), json=json)


@webhook_app.command("remove")
def remove_webhook(webhook: Webhook, json: Json = False) -> None:
    """Remove a webhook; its deliveries stay listed."""
    http.call("DELETE", _webhook(webhook))
    if json:
        output.show_json({"id": webhook, "removed": True})
    else:
        output.out.print(f"Removed: {escape(webhook)}")


@delivery_app.command("list")
def list_deliveries(
    target: Annotated[str | None, typer.Option(help="Id of a webhook, or an address.")] = None,
    state: Annotated[str | None, typer.Option(help="pending, delivered, failed or held.")] = None,
    project: Annotated[str | None, typer.Option(help="Id or slug.")] = None,
    since: Annotated[str | None, typer.Option(help="Only what was written from then on.")] = None,
    until: Annotated[str | None, typer.Option(help="Only what was written before then.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most lines.")] = 50,
    json: Json = False,
) -> None:
    """List what was sent, newest first."""
    asked = {"target": target, "state": state, "project": project, "since": since, "until": until, "limit": str(limit)}
    answer = http.call("GET", "/v1/deliveries", query=asked)
    if json:
        output.show_json(answer)
        return
    rows = [
        (one["id"], one["type"], one["state"], str(one["attempts"]), one["target"], one["last_error"])
        for one in answer["items"]
    ]
    output.table(("ID", "EVENT", "STATE", "ATTEMPTS", "TARGET", "LAST ERROR"), rows, empty="No deliveries.")


@delivery_app.command("show")
def show_delivery(delivery: Delivery, json: Json = False) -> None:
    """Show a delivery with every attempt."""
    found = http.call("GET", _delivery(delivery))
    if json:
        output.show_json(found)
        return
    output.lines(
        (
            ("delivery", found["id"]),
            ("event", f"{found['type']} ({found['event']})"),
            ("target", found["target"]),
            ("state", found["state"]),
            ("next attempt", output.due(found["next_attempt_at"])),
            ("last error", found["last_error"]),
        )
    )
    output.out.print("")
    rows = [(one["at"], one["outcome"], str(one["status"] or ""), one["detail"]) for one in found["tries"]]
    output.table(("AT", "OUTCOME", "STATUS", "DETAIL"), rows, empty="Not tried yet.")


@delivery_app.command()
def resend(delivery: Delivery, json: Json = False) -> None:
    """Send a delivery again, now, under the same id."""
    _begun(http.call("POST", f"{_delivery(delivery)}/resend"), json=json)


@recipient_app.command("list")
def list_recipients(json: Json = False) -> None:
    """List who gets mail, and about what."""
    answer = http.call("GET", "/v1/recipients")
    if json:
        output.show_json(answer)
        return
    rows = [
        (one["address"], "by default" if one["is_default"] else "set", ", ".join(one["events"]) or "nothing")
        for one in answer["items"]
    ]
    output.table(("ADDRESS", "WHY", "EVENTS"), rows, empty="Nobody.")
    if not answer["mail"]:
        output.err.print("No mail server is set up (LIFECYCLE_SMTP_URL), so nobody gets mail.")


@recipient_app.command("set")
def set_recipient(address: Address, event: Events = None, json: Json = False) -> None:
    """Set what an address gets; without --event, nothing."""
    found = http.call("PUT", f"/v1/recipients/{http.quoted(address)}", body={"events": event or []})
    if json:
        output.show_json(found)
    else:
        output.out.print(f"{escape(found['address'])} gets: {', '.join(found['events']) or 'nothing'}")


@recipient_app.command("remove")
def remove_recipient(address: Address, json: Json = False) -> None:
    """Forget what was set for an address; an administrator then gets what all get by default."""
    http.call("DELETE", f"/v1/recipients/{http.quoted(address)}")
    if json:
        output.show_json({"address": address, "removed": True})
    else:
        output.out.print(f"Forgotten: {escape(address)}")


def _webhook(webhook: str) -> str:
    return f"/v1/webhooks/{http.quoted(webhook)}"


def _delivery(delivery: str) -> str:
    return f"/v1/deliveries/{http.quoted(delivery)}"


def _health(hook: Answer) -> str:
    return f"failing for {output.age(hook['failing_since'])}" if hook["failing_since"] else "well"


def _show_secret(made: Answer, *, json: bool) -> None:
    if json:
        output.show_json(made)
    else:
        output.out.print(f"Webhook {made['id']} to {escape(made['url'])}; its secret, shown this once:")
        typer.echo(made["secret"])


def _show_webhook(found: Answer, *, json: bool) -> None:
    if json:
        output.show_json(found)
        return
    output.lines(
        (
            ("webhook", found["id"]),
            ("url", found["url"]),
            ("description", found["description"]),
            ("events", ", ".join(found["events"])),
            ("state", found["state"]),
            ("reason", found["reason"]),
            ("health", _health(found)),
        )
    )


def _begun(delivery: Answer, *, json: bool) -> None:
    if json:
        output.show_json(delivery)
    else:
        output.out.print(f"On its way; look with: lifecycle delivery show {delivery['id']}")

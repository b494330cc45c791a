"""`lifecycle dev | api | worker | gateway | migrate | register | doctor`: run it, and see that it is well.

What only a server needs is imported by the command that needs it: a second that all others would wait for.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import SecretStr
from rich.markup import escape

from lifecycle.cli import output
from lifecycle.cli.http import CommandError, nearby, nearby_folder
from lifecycle.cli.output import Json
from lifecycle.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from lifecycle.engine import Deployment
    from lifecycle.health import Check

_KEEP_ALIVE_SECONDS = 75
_GRACEFUL_SECONDS = 3


def dev(
    root: Annotated[Path, typer.Option(help="Folder for data, logs and keys.")] = Path(".dev"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget all data first.")] = False,
    api_port: Annotated[int, typer.Option(help="Port of the API; a free one when 0.")] = 0,
    engine_port: Annotated[int, typer.Option(help="Port of the engine's ingress; a free one when 0.")] = 0,
    gateway_port: Annotated[int, typer.Option(help="Port of the gateway; a free one when 0.")] = 0,
) -> None:
    """Start everything on this machine: engine, database, gateway, worker and API. Ctrl-C stops it; data stays."""
    from lifecycle.dev import console

    ports = {"api": api_port, "restate_ingress": engine_port, "gateway_http": gateway_port}
    given = {name: port for name, port in ports.items() if port}
    raise typer.Exit(console.run(root.absolute(), fresh=fresh, given_ports=given))


def api() -> None:
    """Serve the API."""
    from lifecycle.api.app import create_app

    settings = _with_authorities(_with_key_ring(Settings()))
    _tell_about("lifecycle-api", settings)
    _serve(create_app(settings), settings.api_host, settings.api_port, behind_proxy=True)


def worker() -> None:
    """Serve the handlers that the engine calls, and register them."""
    from lifecycle import endpoint

    settings = _with_authorities(_with_key_ring(Settings()))
    _tell_about("lifecycle-worker", settings)
    _serve(endpoint.worker(settings), settings.worker_host, settings.worker_port, behind_proxy=False)


def gateway(
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where visitors come in; * is every address.")],
    listen_tls: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="The same for visitors with TLS.")] = None,
    tls_alpn: Annotated[
        bool, typer.Option(help="Whether TLS-ALPN-01 challenges can be answered with --listen-tls.")
    ] = True,
    max_connections: Annotated[int, typer.Option(min=1, help="At a time; each needs two open files.")] = 8000,
    access_log: Annotated[bool, typer.Option(help="Whether each request is a line of HAProxy's output.")] = True,
) -> None:
    """Write the files that HAProxy starts with into LIFECYCLE_GATEWAY_FOLDER, and print how to start it.

    Routes and certificates stay as they are. One that runs takes new files when it is reloaded.
    """
    from lifecycle.deploy.gateway import Tls, write_configuration
    from lifecycle.deploy.gateway.files import BusyError

    settings = Settings()
    folder = settings.gateway_folder
    if folder is None:
        raise CommandError(
            "LIFECYCLE_GATEWAY_FOLDER is not set.", "Set it as for the workers: an absolute path.", refusal=True
        )
    api_address = f"{settings.api_host}:{settings.api_port}"
    try:
        write_configuration(
            folder,
            listen=listen,
            tls=None if listen_tls is None else Tls(listen_tls, challenges=tls_alpn),
            api_address=api_address,
            max_connections=max_connections,
            access_log=access_log,
        )
    except (ValueError, OSError, BusyError) as error:
        hint = "Give HOST:PORT, and a folder that this user may write to."
        raise CommandError(f"{folder} could not be set up: {error}.", hint, refusal=True) from error
    output.err.print("The files are there. Start HAProxy, as the user of the workers, with:")
    typer.echo(f"haproxy -W -S {folder}/master.sock,mode,600 -f {folder}/haproxy.cfg -f {folder}/pools.cfg")


def migrate_database(json: Json = False) -> None:
    """Bring the database to the schema of this release."""
    from sqlalchemy.exc import SQLAlchemyError

    from lifecycle import migrate

    settings = Settings()
    try:
        before, after = migrate.upgrade(settings.database_url.get_secret_value(), ca_file=settings.database_ca_file)
    except (SQLAlchemyError, migrate.MigrationBusyError) as error:
        raise CommandError(
            f"The database could not be migrated: {error}",
            "Check LIFECYCLE_DATABASE_URL, and repeat: every migration can be run again.",
            refusal=False,
        ) from error
    if json:
        output.show_json({"schema": after, "before": before})
        return
    output.out.print(f"Schema {after}" + (" already." if before == after else f", was {before or 'empty'}."))


def register(json: Json = False) -> None:
    """Register the worker with the engine. A worker does this itself unless it was told not to."""
    from lifecycle.engine import EngineDownError

    settings = Settings()
    try:
        deployment = asyncio.run(_register(settings))
    except EngineDownError as error:
        raise CommandError(
            f"The worker could not be registered: {error}",
            "Check LIFECYCLE_RESTATE_ADMIN_URL, and that the engine reaches LIFECYCLE_WORKER_PUBLIC_URL.",
            refusal=False,
        ) from error
    if json:
        output.show_json({"id": deployment.id, "uri": deployment.uri})
    else:
        output.out.print(f"Registered {deployment.uri} as {deployment.id}.")


def doctor(json: Json = False) -> None:
    """Check every part, and say how to mend what is not well."""
    checks = asyncio.run(_check(_settings_of_what_runs(), tell=(lambda _: None) if json else _tell))
    if json:
        output.show_json([one.model_dump() for one in checks])
    if not all(one.ok for one in checks):
        raise typer.Exit(1)


async def _register(settings: Settings) -> "Deployment":
    from lifecycle import endpoint
    from lifecycle.engine import Engine

    engine = Engine(settings.restate_admin_url, timeout=settings.request_timeout)
    try:
        return await engine.register(endpoint.registered_url(settings))
    finally:
        await engine.close()


def _tell(check: "Check") -> None:
    mark = "[green]ok  [/green]" if check.ok else "[red]bad [/red]"
    output.out.print(f"{mark} [bold]{escape(check.name)}[/bold]: {escape(check.detail)}")
    if check.hint:
        output.out.print(f"     hint: {escape(check.hint)}")


async def _check(settings: Settings, *, tell: "Callable[[Check], None]") -> "list[Check]":
    """Every check, each told as soon as it is there."""
    found: list[Check] = []
    async for check in _checks(settings):
        tell(check)
        found.append(check)
    return found


async def _checks(settings: Settings) -> "AsyncIterator[Check]":
    from lifecycle import certificate_health, health, resources
    from lifecycle.client import Client
    from lifecycle.engine import Engine

    db = resources.database(settings)
    engine = Engine(settings.restate_admin_url, timeout=settings.request_timeout)
    try:
        async with Client.opened(settings) as client:
            for check in await health.check(settings, db, engine, client):
                yield check
            for check in await health.check_deployments(settings, db):
                yield check
            for check in await health.check_notifications(settings, db):
                yield check
            async for check in certificate_health.check_certificates(settings, db):
                yield check
    finally:
        await engine.close()
        await db.close()


def _settings_of_what_runs() -> Settings:
    """The settings, with the addresses and folders of a `lifecycle dev` nearby where none are set."""
    from lifecycle.dev.stack import REGION

    settings = Settings()
    ready, folder = nearby(), nearby_folder()
    if ready is None or folder is None:
        return settings
    found = {
        "database_url": SecretStr(ready["mysql_url"]),
        "restate_ingress_url": ready["restate_ingress_url"],
        "restate_admin_url": ready["restate_admin_url"],
        "gateway_folder": folder / "gateway",
        "certificates_file": folder / "certificates.toml",
        "regions": f"{REGION}=process:{folder / 'instances'}",
    }
    unset = {name: value for name, value in found.items() if name not in settings.model_fields_set}
    return settings.model_copy(update=unset)


def _with_key_ring(settings: Settings) -> Settings:
    """The settings, once it is certain that secrets can be sealed and opened with them."""
    from lifecycle.vault import Vault, VaultError

    try:
        Vault.parse(settings.key_ring() or "")
    except (VaultError, OSError) as error:
        raise CommandError(
            f"The key ring cannot be used: {error}.",
            "Make one with 'lifecycle vault new-key NAME --file F' and set LIFECYCLE_KEY_ENCRYPTION_KEY_FILE.",
            refusal=True,
        ) from error
    return settings


def _with_authorities(settings: Settings) -> Settings:
    """The settings, once it is certain that the file with the certificate authorities can be read."""
    from lifecycle.certs import configuration

    try:
        configuration.read(settings.certificates_file)
    except ValueError as error:
        raise CommandError(
            f"The certificate authorities cannot be read: {error}.",
            "Mend the file of LIFECYCLE_CERTIFICATES_FILE; without one there are no certificates.",
            refusal=True,
        ) from error
    return settings


def _serve(app: Any, host: str, port: int, *, behind_proxy: bool) -> None:
    import uvicorn

    uvicorn.run(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        proxy_headers=behind_proxy,
        server_header=False,
        date_header=behind_proxy,
        log_config=None,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACEFUL_SECONDS,
    )


def _tell_about(name: str, settings: Settings) -> None:
    """Log to stderr, and trace if that is wanted."""
    from lifecycle.observability import logs, traces

    logs.to_stderr(settings.log_format)
    try:
        traces.begin(name)
    except traces.NotInstalledError as error:
        raise CommandError(
            f"OTEL_EXPORTER_OTLP_ENDPOINT asks for traces, but {error}.",
            "Install 'lifecycle[otel]', or unset the variable.",
            refusal=True,
        ) from error

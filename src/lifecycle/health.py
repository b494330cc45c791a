"""Is everything well? The checks behind `/readyz` and `lifecycle doctor`, each with how to mend it."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from functools import partial

from pydantic import BaseModel

from lifecycle import clock, migrate
from lifecycle.client import Client
from lifecycle.db import Database, DatabaseDownError
from lifecycle.deploy import routing_store
from lifecycle.deploy.gateway import Gateway, GatewayDownError
from lifecycle.deploy.platforms import regions
from lifecycle.deploy.platforms.platform import InstanceStatus, PlatformDownError
from lifecycle.durations import humanize
from lifecycle.engine import Engine, EngineDownError
from lifecycle.errors import LifecycleError
from lifecycle.notifications import targets_store
from lifecycle.settings import Settings

# Design, invariant 3: a larger difference between the clocks is shown.
MAX_CLOCK_DIFFERENCE = timedelta(seconds=2)
_SILENT_INTERVALS = 3
# A part that hangs must not hide the others, nor hold up whoever looks.
DEADLINE = timedelta(seconds=5)


class Check(BaseModel):
    """One check. `hint` says what to do, and is empty when all is well."""

    name: str
    ok: bool
    detail: str
    hint: str = ""


async def check(settings: Settings, db: Database, engine: Engine, client: Client) -> list[Check]:
    """Run every check, side by side and each for five seconds at most; one that fails never hides another."""
    async with asyncio.TaskGroup() as group:
        parts = [
            group.create_task(within("database", _database(db))),
            group.create_task(within("engine", _engine(engine))),
            group.create_task(within("clocks", _clocks(engine))),
            group.create_task(within("worker", _worker(settings, client))),
        ]
    return [one for part in parts for one in part.result()]


async def within(name: str, work: Awaitable[Check | list[Check]]) -> list[Check]:
    """What `work` finds; after five seconds, that the part of this name does not answer."""
    try:
        async with asyncio.timeout(DEADLINE.total_seconds()):
            found = await work
    except TimeoutError:
        hint = "See whether it hangs, is overloaded, or cannot be reached from here."
        return [Check(name=name, ok=False, detail=f"no answer within {humanize(DEADLINE)}", hint=hint)]
    return found if isinstance(found, list) else [found]


async def check_deployments(settings: Settings, db: Database) -> list[Check]:
    """Check what deployments need on this machine: the gateway, and the platform of each region.

    Only for `lifecycle doctor`, which runs where the workers do: an API reaches neither, unless it happens to be there.
    """
    try:
        urls = regions.parse(settings.regions)
    except ValueError as error:
        return [Check(name="regions", ok=False, detail=str(error), hint="Mend LIFECYCLE_REGIONS.")]
    if not urls:
        return [Check(name="regions", ok=True, detail="none is set up, so nothing can be deployed")]
    async with asyncio.TaskGroup() as group:
        parts = [group.create_task(within("gateway", _gateway(settings, db)))]
        parts += [group.create_task(within(f"region {name}", _region(name, url))) for name, url in urls.items()]
    return [one for part in parts for one in part.result()]


async def check_notifications(settings: Settings, db: Database) -> list[Check]:
    """Check that those are there who are to be told of alarms about the installation. Only for `lifecycle doctor`."""
    name = settings.notification_workspace
    return [] if name is None else await within("notifications", _notifications(name, db))


async def _notifications(name: str, db: Database) -> Check:
    try:
        found = await targets_store.workspace_called(db, name)
    except DatabaseDownError:
        return Check(name="notifications", ok=True, detail=f"workspace {name}, not looked for: the database is away")
    if found is None:
        hint = "Mend LIFECYCLE_NOTIFICATION_WORKSPACE; nobody is told of alarms about the installation until then."
        return Check(name="notifications", ok=False, detail=f"there is no workspace {name}", hint=hint)
    return Check(name="notifications", ok=True, detail=f"alarms about the installation go to workspace {name}")


async def _gateway(settings: Settings, db: Database) -> Check:
    if settings.gateway_folder is None:
        return Check(name="gateway", ok=True, detail="none is set up; routes are only written down")
    gateway = None
    try:
        gateway = Gateway(settings.gateway_folder)
        version = await gateway.version()
        found = (await gateway.compare(partial(routing_store.wanted, db))).found
    except DatabaseDownError:
        return Check(name="gateway", ok=True, detail=f"HAProxy {version}, not compared: the database is away")
    except (GatewayDownError, OSError, ValueError) as error:
        hint = "Start HAProxy with the files of LIFECYCLE_GATEWAY_FOLDER; it serves them as they are."
        return Check(name="gateway", ok=False, detail=str(error), hint=hint)
    finally:
        if gateway is not None:
            await gateway.close()
    if found:
        first = f"{found[0].key} in the {found[0].table} of {found[0].place}"
        detail = f"HAProxy {version}; not as the database has it: {first}" + (
            f", and {len(found) - 1} more" if len(found) > 1 else ""
        )
        hint = "A worker mends it with the next sweep; see its log for 'gateway was mended' if it does not."
        return Check(name="gateway", ok=False, detail=detail, hint=hint)
    return Check(name="gateway", ok=True, detail=f"HAProxy {version}, as the database has it")


async def _region(name: str, url: str) -> Check:
    shown, kind = f"region {name}", url.partition(":")[0]
    platform = regions.open_platform(url)
    try:
        instances = await platform.find()
    except PlatformDownError as error:
        what = (
            "the engine, and that this user may use its socket" if kind == "docker" else "the folder's owner and disk"
        )
        return Check(name=shown, ok=False, detail=str(error), hint=f"Check {what}: {url}.")
    finally:
        await platform.close()
    running = sum(instance.status is InstanceStatus.RUNNING for instance in instances)
    ended = len(instances) - running
    detail = f"{kind}, {running} instances run" + (f", {ended} ended" if ended else "")
    return Check(name=shown, ok=True, detail=detail)


async def _database(db: Database) -> Check:
    name, hint = "database", "Start it, and check LIFECYCLE_DATABASE_URL."
    try:
        row = await db.one("SELECT VERSION() AS version", deadline=timedelta(seconds=3))
        schema = await db.one("SELECT MAX(version_num) AS revision FROM alembic_version")
    except DatabaseDownError as error:
        return Check(name=name, ok=False, detail=str(error), hint=hint)
    except Exception as error:  # noqa: BLE001  a database without our tables is one of the findings
        return Check(name=name, ok=False, detail=str(error), hint="Run 'lifecycle migrate'.")
    revision = schema["revision"] if schema else None
    if revision != migrate.newest():
        detail = f"schema {revision}, this release needs {migrate.newest()}"
        return Check(name=name, ok=False, detail=detail, hint="Run 'lifecycle migrate'.")
    return Check(name=name, ok=True, detail=f"{row['version'] if row else '?'}, schema {revision}")


async def _engine(engine: Engine) -> Check:
    try:
        return Check(name="engine", ok=True, detail=f"restate-server {await engine.version()}")
    except EngineDownError as error:
        hint = "Start restate-server, and check LIFECYCLE_RESTATE_ADMIN_URL."
        return Check(name="engine", ok=False, detail=str(error), hint=hint)


async def clock_difference(engine: Engine) -> timedelta:
    """How far the engine's clock is from ours at least, given that the question took some time.

    Raises:
        EngineDownError: it did not say.
    """
    before = clock.now()
    theirs = await engine.clock()
    return max(before - theirs, theirs - clock.now(), timedelta(0))


async def _clocks(engine: Engine) -> Check:
    try:
        difference = await clock_difference(engine)
    except EngineDownError as error:
        return Check(name="clocks", ok=False, detail=str(error), hint="Mend the engine first.")
    detail = f"the engine's clock differs by {difference.total_seconds():.3f} s"
    if difference > MAX_CLOCK_DIFFERENCE:
        hint = "Synchronise the clocks (NTP); deletions begin by the later of the two."
        return Check(name="clocks", ok=False, detail=detail, hint=hint)
    return Check(name="clocks", ok=True, detail=detail)


async def _worker(settings: Settings, client: Client) -> list[Check]:
    try:
        state = await client.findings()
    except LifecycleError as error:
        hint = "Start a worker; if one runs, see its log, and run 'lifecycle register'."
        return [Check(name="worker", ok=False, detail=error.message, hint=hint)]
    checks = [Check(name="worker", ok=True, detail="registered, and answers through the engine")]
    if state.swept_at is None:
        hint = "It begins within a minute of the worker's start; see the worker's log if it does not."
        return [*checks, Check(name="reconciler", ok=False, detail="has not swept yet", hint=hint)]
    ago = clock.now() - state.swept_at
    if ago > settings.reconciler_interval * _SILENT_INTERVALS:
        hint = "Restart a worker; it starts the loop anew."
        detail = f"silent for {humanize(ago)}"
        return [*checks, Check(name="reconciler", ok=False, detail=detail, hint=hint)]
    checks.append(
        Check(name="reconciler", ok=True, detail=f"swept {humanize(ago)} ago, {state.rearmed} wake-ups re-armed")
    )
    return checks + [
        Check(
            name=f"finding {finding.kind}",
            ok=False,
            detail=f"{finding.subject}: {finding.detail}",
            hint=finding.hint,
        )
        for finding in state.findings
    ]

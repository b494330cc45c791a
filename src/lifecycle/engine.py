"""The engine's admin API: registration, and what the engine knows about our objects and timers.

The only place with SQL for the engine's introspection tables. All of it reads; nothing here decides.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, NamedTuple

import aiohttp
from pydantic import TypeAdapter

# Wake-ups fire on the handler named when they were sent; both stay valid for ever.
_WAKE_HANDLERS = "('expire', 'remind')"
# A wake-up counts as the one that is wanted when it comes at most this long after the wanted time.
_TIMER_TOLERANCE = "INTERVAL '2 seconds'"

# The state of every deletion, with the parts that the checks need picked out of the JSON.
_DELETIONS = """
    SELECT service_key AS project,
           (regexp_match(value_utf8, '"phase":"([a-z]+)"'))[1] AS phase,
           (regexp_match(value_utf8, '"workspace":"([^"]+)"'))[1] AS workspace,
           CAST((regexp_match(value_utf8, '"generation":([0-9]+)'))[1] AS BIGINT) AS generation,
           CAST((regexp_match(value_utf8, '"wake_at":"([^"]+)"'))[1] AS TIMESTAMP) AS wake_at,
           CAST((regexp_match(value_utf8, '"started_at":"([^"]+)"'))[1] AS TIMESTAMP) AS started_at
    FROM state WHERE service_name = 'ProjectService' AND key = 'deletion'
"""

# `scheduled_at` must be asked for: without it restate-server 1.7.12 leaves `scheduled_start_at` empty.
_MISSING_TIMERS = f"""
    SELECT d.project, d.workspace, d.generation, CAST(d.wake_at AS VARCHAR) AS moment FROM ({_DELETIONS}) d
    LEFT ANTI JOIN (
        SELECT target_service_key AS project, scheduled_at, CAST(scheduled_start_at AS TIMESTAMP) AS start_at
        FROM sys_invocation
        WHERE target_service_name = 'ProjectService' AND target_handler_name IN {_WAKE_HANDLERS}
          AND status <> 'completed'
    ) t ON d.project = t.project AND (t.scheduled_at IS NULL OR t.start_at <= d.wake_at + {_TIMER_TOLERANCE})
    WHERE d.phase = 'scheduled' AND d.wake_at IS NOT NULL
"""  # noqa: S608  made of constants

_OVERDUE = f"""
    SELECT project, workspace, generation, CAST(wake_at AS VARCHAR) AS moment FROM ({_DELETIONS})
    WHERE phase = 'scheduled' AND wake_at < to_timestamp_seconds(%d)
"""  # noqa: S608  made of constants and an integer

# A purge is lost when it is neither running nor finished. `settle` is on its way for a moment after the end: a
# finished one counts as lost only when it was ended from outside.
_LOST_PURGES = f"""
    SELECT d.project, d.workspace, d.generation, CAST(d.started_at AS VARCHAR) AS moment FROM ({_DELETIONS}) d
    LEFT ANTI JOIN (
        SELECT target_service_key AS run FROM sys_invocation
        WHERE target_service_name = 'ProjectDeletion' AND target_handler_name = 'run'
          AND (status <> 'completed' OR completion_result = 'success')
    ) p ON p.run LIKE concat(d.project, '.', CAST(d.generation AS VARCHAR), '%%')
    WHERE d.phase = 'purging' AND d.started_at < to_timestamp_seconds(%d)
"""  # noqa: S608  made of constants and an integer

_LONG_PURGES = f"""
    SELECT project, workspace, generation, CAST(started_at AS VARCHAR) AS moment FROM ({_DELETIONS})
    WHERE phase = 'purging' AND started_at < to_timestamp_seconds(%d)
"""  # noqa: S608  made of constants and an integer

# Standbys without the wake-up that they wait for, as for deletions above.
_MISSING_STANDBYS = f"""
    SELECT s.deployment, s.generation, CAST(s.wake_at AS VARCHAR) AS moment FROM (
        SELECT service_key AS deployment,
               CAST((regexp_match(value_utf8, '"generation":([0-9]+)'))[1] AS BIGINT) AS generation,
               CAST((regexp_match(value_utf8, '"wake_at":"([^"]+)"'))[1] AS TIMESTAMP) AS wake_at
        FROM state WHERE service_name = 'StandbyService' AND key = 'standby'
    ) s
    LEFT ANTI JOIN (
        SELECT target_service_key AS deployment, scheduled_at, CAST(scheduled_start_at AS TIMESTAMP) AS start_at
        FROM sys_invocation
        WHERE target_service_name = 'StandbyService' AND target_handler_name = 'expire' AND status <> 'completed'
    ) i ON i.deployment = s.deployment
       AND (i.scheduled_at IS NULL OR i.start_at <= s.wake_at + {_TIMER_TOLERANCE})
    WHERE s.wake_at IS NOT NULL
"""  # noqa: S608  made of constants

# Rollouts that a project waits for and that nobody carries out, because somebody ended them from outside.
_LOST_ROLLOUTS = """
    SELECT f.project, f.workspace, f.deployment FROM (
        SELECT service_key AS project,
               (regexp_match(value_utf8, '"workspace":"([^"]+)"'))[1] AS workspace,
               (regexp_match(value_utf8, '"rolling":"([^"]+)"'))[1] AS deployment
        FROM state WHERE service_name = 'DeploymentService' AND key = 'fleet'
    ) f
    LEFT ANTI JOIN (
        SELECT target_service_key AS deployment FROM sys_invocation
        WHERE target_service_name = 'Rollout' AND target_handler_name = 'run'
          AND (status <> 'completed' OR completion_result = 'success')
    ) r ON r.deployment = f.deployment
    WHERE f.deployment IS NOT NULL
"""

_STUCK = """
    SELECT target_service_name AS service, target_handler_name AS handler, status, COUNT(*) AS invocations,
           MAX(retry_count) AS retries, FIRST_VALUE(id ORDER BY id) AS example,
           FIRST_VALUE(target ORDER BY id) AS target, FIRST_VALUE(last_failure ORDER BY id) AS last_failure
    FROM sys_invocation
    WHERE status = 'paused' OR (status = 'backing-off' AND retry_count >= %d)
    GROUP BY target_service_name, target_handler_name, status ORDER BY service, handler, status
"""
_UNFINISHED = "SELECT id FROM sys_invocation WHERE idempotency_key = '%s' AND status <> 'completed'"
# Commands count one by one as they arrive: after the first of these, an end would leave half of a decision.
_BEGUN = """
    SELECT id FROM sys_journal
    WHERE id = '%s' AND entry_type IN ('Command: SetState', 'Command: OneWayCall', 'Command: Call') LIMIT 1
"""


class EngineDownError(Exception):
    """The admin API cannot be reached, or refused."""


class Deadline(NamedTuple):
    """A deletion that a check picked out, with the moment that the check is about."""

    project: str
    workspace: str
    generation: int
    moment: datetime


class LostStandby(NamedTuple):
    """The standby of a deployment that has lost its wake-up."""

    deployment: str
    generation: int
    moment: datetime


class LostRollout(NamedTuple):
    """A rollout that its project waits for in vain."""

    project: str
    workspace: str
    deployment: str


class Stuck(NamedTuple):
    """Invocations of one handler that the engine has paused or keeps retrying; the last fields are of one of them."""

    service: str
    handler: str
    status: str
    invocations: int
    retries: int
    example: str
    target: str
    last_failure: str


class Deployment(NamedTuple):
    """A version of the worker as the engine knows it."""

    id: str
    uri: str
    services: Mapping[str, int]


class Engine:
    """A client of the admin API.

    Args:
        admin_url: where it listens.
        timeout: longest wait for one answer.
    """

    def __init__(self, admin_url: str, *, timeout: timedelta) -> None:
        self._url = admin_url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout.total_seconds())
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def version(self) -> str:
        """The engine's version."""
        answer = await self._ask("GET", "/version")
        return str(answer["version"])

    async def register(self, uri: str) -> Deployment:
        """Make the worker at `uri` known; its services become the newest version. Again is harmless.

        Raises:
            EngineDownError: the engine is not there, cannot reach the worker, or refuses an incompatible change.
        """
        answer = await self._ask("POST", "/deployments", {"uri": uri, "use_http_11": True})
        return Deployment(answer["id"], uri, {service["name"]: service["revision"] for service in answer["services"]})

    async def deployments(self) -> Sequence[Deployment]:
        """All known versions of workers."""
        answer = await self._ask("GET", "/deployments")
        return [
            Deployment(
                item["id"],
                item.get("uri", ""),
                {service["name"]: service["revision"] for service in item["services"]},
            )
            for item in answer["deployments"]
        ]

    async def revoke(self, idempotency_key: str) -> None:
        """End and forget the unfinished invocation with this idempotency key, so that it is never carried out later.

        One that has begun to carry out its decision is left to finish it: a state without its audit entry would be
        worse. Forgotten, so that the same key may be used again. It goes on until the engine has done so or is not
        reachable; the caller sets the deadline.

        Args:
            idempotency_key: one of our own ids; nothing else is safe in the query.
        """
        unfinished = [row["id"] for row in await self.query(_UNFINISHED % idempotency_key)]
        found = [invocation for invocation in unfinished if not await self.query(_BEGUN % invocation)]
        for invocation in found:
            await self._ask("PATCH", f"/invocations/{invocation}/kill")
        while found and await self.query(_UNFINISHED % idempotency_key):
            await asyncio.sleep(0.05)
        for invocation in found:
            await self._ask("PATCH", f"/invocations/{invocation}/purge")

    async def clock(self) -> datetime:
        """The engine's present time."""
        rows = await self.query("SELECT CAST(now() AS VARCHAR) AS now")
        return moment(rows[0]["now"])

    async def missing_timers(self) -> Sequence[Deadline]:
        """Scheduled deletions without a delayed call that would wake them in time.

        State and timers are not read in one instant, so only what two looks agree on counts.
        """
        first = await self._deadlines(_MISSING_TIMERS)
        if not first:
            return []
        second = set(await self._deadlines(_MISSING_TIMERS))
        return [deadline for deadline in first if deadline in second]

    async def overdue(self, *, before: datetime) -> Sequence[Deadline]:
        """Scheduled deletions that should have been woken before the given moment."""
        return await self._deadlines(_OVERDUE % int(before.timestamp()))

    async def long_purges(self, *, started_before: datetime) -> Sequence[Deadline]:
        """Purges that began before the given moment and are not finished."""
        return await self._deadlines(_LONG_PURGES % int(started_before.timestamp()))

    async def lost_purges(self, *, started_before: datetime) -> Sequence[Deadline]:
        """Purges that began before the given moment and that nobody carries out any more."""
        return await self._deadlines(_LOST_PURGES % int(started_before.timestamp()))

    async def missing_standbys(self) -> Sequence[LostStandby]:
        """Standbys whose wake-up is gone or comes too late."""
        return [
            LostStandby(row["deployment"], int(row["generation"]), moment(row["moment"]))
            for row in await self.query(_MISSING_STANDBYS)
        ]

    async def lost_rollouts(self) -> Sequence[LostRollout]:
        """Rollouts that nobody carries out any more; for a moment also one that is just beginning."""
        return [
            LostRollout(row["project"], row["workspace"], row["deployment"]) for row in await self.query(_LOST_ROLLOUTS)
        ]

    async def stuck(self, *, retries: int) -> Sequence[Stuck]:
        """Handlers with invocations that are paused, or were retried at least `retries` times."""
        rows = await self.query(_STUCK % retries)
        return [
            TypeAdapter(Stuck).validate_python({**row, "last_failure": row.get("last_failure") or ""}) for row in rows
        ]

    async def query(self, sql: str) -> Sequence[Mapping[str, Any]]:
        """The rows of an introspection query."""
        answer = await self._ask("POST", "/query", {"query": sql})
        rows: Sequence[Mapping[str, Any]] = answer["rows"]
        return rows

    async def _deadlines(self, sql: str) -> Sequence[Deadline]:
        return [
            Deadline(row["project"], row["workspace"], int(row["generation"]), moment(row["moment"]))
            for row in await self.query(sql)
        ]

    async def _ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        headers = {"accept": "application/json"}
        try:
            async with self._session.request(method, self._url + path, json=body, headers=headers) as answer:
                text = await answer.text()
                if answer.status >= HTTPStatus.BAD_REQUEST:
                    raise EngineDownError(f"{method} {path} was answered with {answer.status}: {text[:500]}")
                return json.loads(text) if text else None
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise EngineDownError(f"{method} {path} failed: {str(error) or type(error).__name__}") from error


def moment(text: str) -> datetime:
    """A time as the engine prints it."""
    # The engine prints nanoseconds; Python reads at most microseconds.
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{fraction[:6] or '0'}").replace(tzinfo=UTC)

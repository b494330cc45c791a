"""What is wrong with certificates: timers and issuances that the engine has lost, and lives that run out.

Reads the engine's introspection tables and the database; mends nothing. The Reconciler does, each sweep.
"""

from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import NamedTuple

from lifecycle.certs import expiry_store
from lifecycle.certs.expiry_store import ShortLived
from lifecycle.clock import rfc3339
from lifecycle.db import Database, DatabaseDownError
from lifecycle.engine import Engine, moment

# Of those that still live, and of those that have expired; one alarm each is more than anybody reads.
_MOST_RUNNING_OUT = 100
# The state of every certificate, with the parts that the checks need picked out of the JSON. The countdown is the only
# part of it that has a generation.
_CERTIFICATES = """
    SELECT service_key AS domain,
           (regexp_match(value_utf8, '"workspace":"([^"]+)"'))[1] AS workspace,
           CAST((regexp_match(value_utf8, '"generation":([0-9]+)'))[1] AS BIGINT) AS generation,
           CAST((regexp_match(value_utf8, '"wake_at":"([^"]+)"'))[1] AS TIMESTAMP) AS wake_at,
           CAST((regexp_match(value_utf8, '"next_look_at":"([^"]+)"'))[1] AS TIMESTAMP) AS look_at,
           (regexp_match(value_utf8, '"issuance":"([^"]+)"'))[1] AS issuance,
           CAST((regexp_match(value_utf8, '"run":([0-9]+)'))[1] AS BIGINT) AS run,
           (regexp_match(value_utf8, '"is_at_work":(true|false)'))[1] AS is_at_work
    FROM state WHERE service_name = 'CertificateService' AND key = 'certificate'
"""


def _without_timer(moment_wanted: str, handler: str) -> str:
    """Those whose wake-up the engine does not have.

    A wake-up counts as the one that is wanted when it comes at most two seconds after the wanted time. `scheduled_at`
    must be asked for: without it restate-server 1.7.12 leaves `scheduled_start_at` empty.
    """
    return f"""
    SELECT c.domain, c.workspace, c.generation, CAST(c.{moment_wanted} AS VARCHAR) AS moment FROM ({_CERTIFICATES}) c
    LEFT ANTI JOIN (
        SELECT target_service_key AS domain, scheduled_at, CAST(scheduled_start_at AS TIMESTAMP) AS start_at
        FROM sys_invocation
        WHERE target_service_name = 'CertificateService' AND target_handler_name = '{handler}'
          AND status <> 'completed'
    ) t ON c.domain = t.domain
        AND (t.scheduled_at IS NULL OR t.start_at <= c.{moment_wanted} + INTERVAL '2 seconds')
    WHERE c.{moment_wanted} IS NOT NULL
"""  # noqa: S608  made of constants


_MISSING = _without_timer("wake_at", "renewal_due")
_MISSING_LOOKS = _without_timer("look_at", "look_due")

_LOST = f"""
    SELECT c.domain, c.workspace, c.issuance, c.run FROM ({_CERTIFICATES}) c
    LEFT ANTI JOIN (
        SELECT target_service_key AS issuance FROM sys_invocation
        WHERE target_service_name = 'Issuance' AND target_handler_name = 'run'
          AND (status <> 'completed' OR completion_result = 'success')
    ) i ON i.issuance = CASE WHEN c.run = 1 THEN c.issuance ELSE concat(c.issuance, '.', CAST(c.run AS VARCHAR)) END
    WHERE c.is_at_work = 'true'
"""  # noqa: S608  made of constants

_UNFINISHED = """
    SELECT target_service_key AS issuance FROM sys_invocation
    WHERE target_service_name = 'Issuance' AND target_handler_name = 'run' AND status <> 'completed'
"""


class MissingRenewal(NamedTuple):
    """A certificate that has lost a wake-up: for its renewal, or for a look at the CA's window."""

    domain: str
    workspace: str
    generation: int
    moment: datetime


class LostIssuance(NamedTuple):
    """An issuance that nobody carries out any more; for a moment also one that is just beginning."""

    domain: str
    workspace: str
    issuance: str
    run: int


class RunningOut(NamedTuple):
    """A certificate with so little life left that a person has to know."""

    domain: str
    workspace: str
    detail: str


class Troubles(NamedTuple):
    """What one look showed.

    Attributes:
        missing: renewals without a wake-up.
        looks: looks at the CA's window without one.
        lives_unknown: the database did not say which lives run out.
    """

    missing: tuple[MissingRenewal, ...] = ()
    looks: tuple[MissingRenewal, ...] = ()
    lost: tuple[LostIssuance, ...] = ()
    running_out: tuple[RunningOut, ...] = ()
    lives_unknown: bool = False


async def look(engine: Engine, db: Database, *, now: datetime, warn_share: float) -> Troubles:
    """Look once. While the database is down, lives are unknown; doctor says that it is down.

    Args:
        engine: whose tables are read.
        db: where the certificates are.
        now: the present moment.
        warn_share: the part of a certificate's life, between 0 and 1, with which left a person has to know.

    Raises:
        EngineDownError: the engine does not answer.
    """
    lives = await _or_unknown(running_out(db, now=now, share=warn_share))
    return Troubles(
        missing=tuple(await _missing(engine, _MISSING)),
        looks=tuple(await _missing(engine, _MISSING_LOOKS)),
        lost=tuple(
            LostIssuance(row["domain"], row["workspace"], row["issuance"], int(row["run"]))
            for row in await engine.query(_LOST)
        ),
        running_out=tuple(lives or ()),
        lives_unknown=lives is None,
    )


async def unfinished(engine: Engine) -> frozenset[str]:
    """The ids of issuances that are at work.

    Raises:
        EngineDownError: the engine does not answer.
    """
    return frozenset(str(row["issuance"]).partition(".")[0] for row in await engine.query(_UNFINISHED))


async def _missing(engine: Engine, query: str) -> Sequence[MissingRenewal]:
    """What two looks agree on, since state and timers are not read in one instant."""
    first = await _look_for_missing(engine, query)
    second = set(await _look_for_missing(engine, query)) if first else set()
    return [one for one in first if one in second]


async def _look_for_missing(engine: Engine, query: str) -> Sequence[MissingRenewal]:
    return [
        MissingRenewal(row["domain"], row["workspace"], int(row["generation"]), moment(row["moment"]))
        for row in await engine.query(query)
    ]


async def running_out(db: Database, *, now: datetime, share: float) -> Sequence[RunningOut]:
    """Certificates with so little life left that a person has to know, and why.

    Args:
        db: where the certificates are.
        now: the present moment.
        share: the part of a certificate's life, between 0 and 1, with which left a person has to know.

    Raises:
        DatabaseDownError: it is not known.
    """
    found = await expiry_store.running_out(db, now=now, share=share, limit=_MOST_RUNNING_OUT)
    return [RunningOut(one.domain, one.workspace, _why(one, now)) for one in found]


async def _or_unknown(lives: Awaitable[Sequence[RunningOut]]) -> Sequence[RunningOut] | None:
    try:
        return await lives
    except DatabaseDownError:
        return None


def _why(one: ShortLived, now: datetime) -> str:
    """When it expires, or has, and why nothing came of its renewal."""
    end = f"it {'expires' if one.not_after > now else 'expired'} at {rfc3339(one.not_after)}."
    if one.last_error:
        return f"{end} {one.last_error}"
    return end if one.is_renewed else f"{end} Nobody renews it: its renewal was cancelled."

"""What API, command line and worker may ask of the engine; every refusal comes back as LifecycleError."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Self, TypeVar
from urllib.parse import quote

import aiohttp
from pydantic import BaseModel, TypeAdapter

from lifecycle import ids
from lifecycle.certs import model as certs
from lifecycle.certs.authority_service import AccountState, ChangeAccount
from lifecycle.certs.issuance import Stage
from lifecycle.deploy.model import Act, Deploy, Fleet
from lifecycle.deploy.routing import CustomDomain
from lifecycle.deploy.standby import KeepRunning, Kept, ScheduleStop, Standby
from lifecycle.deploy.verification.model import Retry, Verification
from lifecycle.engine import Engine, EngineDownError
from lifecycle.errors import Code, LifecycleError
from lifecycle.notifications.model import Begin, Replay, Resend, Resent
from lifecycle.observability import traces
from lifecycle.rotation import KEY as ROTATION_KEY
from lifecycle.rotation import Rotation, StartRotation
from lifecycle.scheduler import purge
from lifecycle.scheduler.model import (
    CancelDeletion,
    Cancelled,
    ConfigureProject,
    CreateProject,
    Deletion,
    ExpediteDeletion,
    PlaceHold,
    Project,
    PurgeProgress,
    Read,
    ReleaseHold,
    RescheduleDeletion,
    Scheduled,
    ScheduleDeletion,
)
from lifecycle.scheduler.reconciler import KEY as RECONCILER_KEY
from lifecycle.scheduler.reconciler import ReconcilerState
from lifecycle.settings import Settings

T = TypeVar("T")

_REVOKE_DEADLINE = timedelta(seconds=1)


class Client:
    """The engine's ingress, one method per handler that may be called from outside.

    Every method raises LifecycleError: a refusal of the handler, or `engine_unavailable` when there was no
    answer in time. After the latter the outcome of a change is unknown.
    """

    def __init__(self, session: aiohttp.ClientSession, ingress_url: str, engine: Engine) -> None:
        self._session = session
        self._url = ingress_url.rstrip("/")
        self._engine = engine

    @classmethod
    @asynccontextmanager
    async def opened(cls, settings: Settings) -> AsyncIterator[Self]:
        """A client for the time of the block."""
        timeout = aiohttp.ClientTimeout(total=settings.request_timeout.total_seconds())
        connector = aiohttp.TCPConnector(limit=0)
        engine = Engine(settings.restate_admin_url, timeout=_REVOKE_DEADLINE)
        try:
            async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
                yield cls(session, settings.restate_ingress_url, engine)
        finally:
            await engine.close()

    async def create_project(
        self, project: str, command: CreateProject, *, idempotency_key: str | None = None
    ) -> Project:
        """Make a project with this id."""
        return await self._project(project, "create", command, Project, idempotency_key)

    async def configure_project(self, project: str, command: ConfigureProject) -> Project:
        """Change the project's settings."""
        return await self._project(project, "configure", command, Project)

    async def schedule_deletion(
        self, project: str, command: ScheduleDeletion, *, idempotency_key: str | None = None
    ) -> Scheduled:
        """Start the countdown."""
        return await self._destructive(project, "schedule_deletion", command, Scheduled, idempotency_key)

    async def cancel_deletion(self, project: str, command: CancelDeletion) -> Cancelled:
        """End the countdown."""
        return await self._project(project, "cancel_deletion", command, Cancelled)

    async def reschedule_deletion(self, project: str, command: RescheduleDeletion) -> Deletion:
        """Move the due time."""
        return await self._destructive(project, "reschedule_deletion", command, Deletion)

    async def expedite_deletion(
        self, project: str, command: ExpediteDeletion, *, idempotency_key: str | None = None
    ) -> Deletion:
        """Delete as soon as the floor allows."""
        return await self._destructive(project, "expedite_deletion", command, Deletion, idempotency_key)

    async def place_hold(self, project: str, command: PlaceHold) -> Deletion:
        """Stop the deletion from firing."""
        return await self._project(project, "place_hold", command, Deletion)

    async def release_hold(self, project: str, command: ReleaseHold) -> Deletion:
        """Take a hold away."""
        return await self._destructive(project, "release_hold", command, Deletion)

    async def deletion(self, project: str, read: Read) -> Deletion:
        """The deletion as it stands."""
        return await self._project(project, "deletion", read, Deletion)

    async def purge_progress(self, project: str, deletion: Deletion, read: Read) -> PurgeProgress | None:
        """How far the purge is; None before its first step and a day after its last."""
        try:
            return await self._call(f"ProjectDeletion/{purge.key(project, deletion)}/progress", read, PurgeProgress)
        except LifecycleError as error:
            if error.code is Code.PROJECT_NOT_FOUND:
                return None
            raise

    async def deploy(self, project: str, command: Deploy) -> Fleet:
        """Take a deployment in."""
        return await self._act(project, "deploy", command)

    async def cancel_deployment(self, project: str, command: Act) -> Fleet:
        """Give a rollout up."""
        return await self._call(f"DeploymentService/{quote(project, safe='')}/cancel", command, Fleet)

    async def rollback(self, project: str, command: Act) -> Fleet:
        """Make an earlier deployment live and keep it there."""
        return await self._act(project, "rollback", command)

    async def promote(self, project: str, command: Act) -> Fleet:
        """Make a ready deployment live."""
        return await self._act(project, "promote", command)

    async def stop_deployment(self, project: str, command: Act) -> Fleet:
        """Stop a deployment that is not live."""
        return await self._act(project, "stop", command)

    async def wake_deployment(self, project: str, command: Act) -> Fleet:
        """Start a stopped deployment again."""
        return await self._act(project, "wake", command)

    async def fleet(self, project: str) -> Fleet:
        """Every deployment of a project as it stands."""
        return await self._call(f"DeploymentService/{quote(project, safe='')}/state", None, Fleet)

    async def source_expected(self, deployment: str) -> bool:
        """Whether a rollout still waits for its source."""
        return await self._call(f"Rollout/{quote(deployment, safe='')}/source_expected", None, bool)

    async def source_uploaded(self, deployment: str) -> None:
        """Tell a rollout that its source is complete."""
        await self._call(f"Rollout/{quote(deployment, safe='')}/source_uploaded", None, type(None))

    async def add_domain(self, project: str, domain: CustomDomain) -> CustomDomain:
        """Give a project a domain."""
        return await self._call(f"RoutingService/{quote(project, safe='')}/add_domain", domain, CustomDomain)

    async def remove_domain(self, project: str, domain: CustomDomain) -> None:
        """Take a domain away from a project."""
        await self._call(f"RoutingService/{quote(project, safe='')}/remove_domain", domain, type(None))

    async def verify_domain(self, domain: str, command: Retry) -> Verification:
        """Look at the records of a domain now."""
        return await self._call(f"DomainVerification/{quote(domain, safe='')}/retry", command, Verification)

    async def keep_running(self, deployment: str, command: KeepRunning) -> Kept:
        """End the standby of a deployment; it goes on running."""
        return await self._call(f"StandbyService/{quote(deployment, safe='')}/keep", command, Kept)

    async def schedule_stop(self, deployment: str, command: ScheduleStop) -> Standby:
        """Move the stop of a deployment."""
        return await self._call(f"StandbyService/{quote(deployment, safe='')}/schedule_stop", command, Standby)

    async def roll_over_account(self, authority: str, command: ChangeAccount) -> AccountState:
        """Give our account at a CA another key."""
        return await self._call(f"AuthorityService/{quote(authority, safe='')}/roll_over", command, AccountState)

    async def deactivate_account(self, authority: str, command: ChangeAccount) -> AccountState:
        """End our account at a CA for ever."""
        path = f"AuthorityService/{quote(authority, safe='')}/deactivate"
        return await self._revocable(path, command, AccountState, ids.new("idk"))

    async def start_rotation(self, command: StartRotation) -> Rotation:
        """Seal every secret anew under the first key of the key ring."""
        return await self._call(f"KeyRotation/{ROTATION_KEY}/start", command, Rotation)

    async def rotation(self) -> Rotation:
        """How far the rotation is, or how the last one ended."""
        return await self._call(f"KeyRotation/{ROTATION_KEY}/progress", None, Rotation)

    async def issue_certificate(
        self, domain: str, command: certs.IssueCertificate, *, idempotency_key: str | None = None
    ) -> certs.Certificate:
        """Have a certificate issued."""
        return await self._ordering(domain, "process_challenge", command, idempotency_key)

    async def renew_certificate(
        self, domain: str, command: certs.Act, *, idempotency_key: str | None = None
    ) -> certs.Certificate:
        """Renew a certificate now, or try again now."""
        return await self._ordering(domain, "renew", command, idempotency_key)

    async def revoke_certificate(
        self, domain: str, command: certs.RevokeCertificate, *, idempotency_key: str | None = None
    ) -> certs.Certificate:
        """Have the certificate in use revoked."""
        return await self._ordering(domain, "revoke", command, idempotency_key)

    async def halt_issuance(self, domain: str, command: certs.Act) -> certs.Certificate:
        """Give up the issuance that is under way."""
        return await self._call(_certificate(domain, "halt"), command, certs.Certificate)

    async def cancel_renewal(self, domain: str, command: certs.Act) -> certs.Cancelled:
        """End the countdown to the next renewal."""
        return await self._call(_certificate(domain, "cancel_renewal"), command, certs.Cancelled)

    async def reschedule_renewal(self, domain: str, command: certs.RescheduleRenewal) -> certs.Certificate:
        """Move the next renewal."""
        return await self._call(_certificate(domain, "reschedule_renewal"), command, certs.Certificate)

    async def read_renewal_window(self, domain: str, command: certs.Act) -> certs.Certificate:
        """Ask the CA now when it wants the certificate to be renewed."""
        return await self._call(_certificate(domain, "look"), command, certs.Certificate)

    async def certificate(self, domain: str, read: certs.Read) -> certs.Certificate:
        """The certificate of a domain as it stands."""
        return await self._call(_certificate(domain, "certificate"), read, certs.Certificate)

    async def issuance_progress(self, issuance: str) -> Stage | None:
        """How far an issuance is; None before its first step and a day after its last."""
        path = f"Issuance/{quote(issuance, safe='')}/progress"
        stage: Stage | None = await self._call(path, None, Stage | None)  # type: ignore[arg-type]
        return stage

    async def records_published(self, issuance: str) -> None:
        """Tell an issuance that a person has set the DNS records."""
        await self._call(f"Issuance/{quote(issuance, safe='')}/record_published", None, type(None))

    async def start_reconciler(self) -> None:
        """See to it that the reconciler's loop runs."""
        await self._call(f"Reconciler/{RECONCILER_KEY}/start", None, type(None))

    async def findings(self) -> ReconcilerState:
        """What the reconciler found."""
        return await self._call(f"Reconciler/{RECONCILER_KEY}/findings", None, ReconcilerState)

    async def _ordering(
        self, domain: str, handler: str, command: BaseModel, idempotency_key: str | None
    ) -> certs.Certificate:
        path = _certificate(domain, handler)
        return await self._revocable(path, command, certs.Certificate, idempotency_key or ids.new("idk"))

    async def _act(self, project: str, handler: str, command: BaseModel) -> Fleet:
        path = f"DeploymentService/{quote(project, safe='')}/{handler}"
        return await self._revocable(path, command, Fleet, ids.new("idk"))

    async def _destructive(
        self,
        project: str,
        handler: str,
        argument: BaseModel,
        answer: type[T],
        idempotency_key: str | None = None,
    ) -> T:
        path = f"ProjectService/{quote(project, safe='')}/{handler}"
        return await self._revocable(path, argument, answer, idempotency_key or ids.new("idk"))

    async def _revocable(self, path: str, argument: BaseModel, answer: type[T], idempotency_key: str) -> T:
        """Call a handler, and see to it that it is not carried out when nobody gets its answer.

        The engine keeps what it accepted. A deletion or a rollback that waited for a dead worker would else be carried
        out hours later, although the caller was told that it failed.
        """
        try:
            return await self._call(path, argument, answer, idempotency_key)
        except LifecycleError as error:
            if error.code is Code.ENGINE_UNAVAILABLE:
                await self._revoke(idempotency_key)
            raise
        except asyncio.CancelledError:  # whoever asked does not wait any longer
            await self._revoke(idempotency_key)
            raise

    async def _revoke(self, idempotency_key: str) -> None:
        with contextlib.suppress(EngineDownError, TimeoutError):
            async with asyncio.timeout(_REVOKE_DEADLINE.total_seconds()):
                await self._engine.revoke(idempotency_key)

    async def resend(self, message: Resend) -> Resent:
        """Have a delivery begin again."""
        return await self._call("Outbox/resend", message, Resent)

    async def replay(self, message: Replay) -> None:
        """Have a webhook get what it has missed."""
        await self._call("Outbox/replay", message, type(None))

    async def begin(self, message: Begin) -> None:
        """Have deliveries begin that were just written."""
        await self._call("Outbox/begin", message, type(None))

    async def _project(
        self,
        project: str,
        handler: str,
        argument: BaseModel,
        answer: type[T],
        idempotency_key: str | None = None,
    ) -> T:
        path = f"ProjectService/{quote(project, safe='')}/{handler}"
        return await self._call(path, argument, answer, idempotency_key)

    async def _call(
        self, path: str, argument: BaseModel | None, answer: type[T], idempotency_key: str | None = None
    ) -> T:
        headers = {**traces.headers(), **({} if idempotency_key is None else {"idempotency-key": idempotency_key})}
        body = None
        if argument is not None:
            headers["content-type"] = "application/json"
            body = argument.model_dump_json().encode()
        try:
            async with self._session.post(
                f"{self._url}/restate/call/{path}",
                data=body,
                headers=headers,
                skip_auto_headers=("Content-Type",),
            ) as response:
                text = await response.read()
                status = response.status
        except TimeoutError as error:
            raise _unavailable("no answer in time") from error
        except aiohttp.ClientError as error:
            raise _unavailable(type(error).__name__) from error
        if status >= HTTPStatus.BAD_REQUEST:
            raise _refusal(status, text)
        return TypeAdapter(answer).validate_json(text or b"null")


def _certificate(domain: str, handler: str) -> str:
    return f"CertificateService/{quote(domain, safe='')}/{handler}"


def _unavailable(problem: str) -> LifecycleError:
    return LifecycleError(Code.ENGINE_UNAVAILABLE, problem=problem, retry_after_seconds="2")


def _refusal(status: int, text: bytes) -> LifecycleError:
    try:
        answer: Mapping[str, Any] = TypeAdapter(dict[str, Any]).validate_json(text)
        metadata = {str(name): str(value) for name, value in (answer.get("metadata") or {}).items()}
        return LifecycleError(Code(metadata.pop("code")), **metadata)
    except (ValueError, KeyError):
        # Not one of our refusals: the engine itself, for example before the worker is registered.
        return _unavailable(f"status {status}: {text[:200].decode(errors='replace')}")

"""Binds every Restate service in one place, and serves them as the worker."""

import asyncio
import contextlib
import hashlib
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import restate
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from restate.server import install_shutdown_hook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from lifecycle import clock, resources
from lifecycle.certs.abandonment import abandonment
from lifecycle.certs.authority_service import authority_service
from lifecycle.certs.certificates import certificate_service
from lifecycle.certs.issuance import issuance
from lifecycle.certs.renewal_info import renewal_info
from lifecycle.certs.revocation import revocation
from lifecycle.certs.upkeep import certificate_upkeep
from lifecycle.client import Client
from lifecycle.deploy.deployments import deployment_service
from lifecycle.deploy.instances import instance_service
from lifecycle.deploy.rollout import rollout
from lifecycle.deploy.routing import routing_service
from lifecycle.deploy.standby import standby_service
from lifecycle.deploy.verification.service import domain_look, domain_verification
from lifecycle.ledger.service import ledger
from lifecycle.notifications.notifier import notifier, outbox
from lifecycle.observability import invocations, measures, state
from lifecycle.registration import keep_registered
from lifecycle.rotation import key_rotation
from lifecycle.scheduler.projects import project_service
from lifecycle.scheduler.purge import project_deletion
from lifecycle.scheduler.reconciler import reconciler
from lifecycle.settings import Settings

SERVICES = (
    project_service,
    project_deletion,
    deployment_service,
    rollout,
    routing_service,
    standby_service,
    instance_service,
    domain_verification,
    domain_look,
    certificate_service,
    issuance,
    renewal_info,
    revocation,
    abandonment,
    certificate_upkeep,
    authority_service,
    key_rotation,
    ledger,
    notifier,
    outbox,
    reconciler,
)


def release() -> str:
    """The digest of this package's code.

    It is part of the URL under which a worker registers, so that the engine takes other code for another
    deployment: running invocations stay with the code that began them, delayed calls fire on the newest.
    """
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def registered_url(settings: Settings) -> str:
    """The URL under which the engine knows this worker."""
    return f"{settings.worker_public_url.rstrip('/')}/{release()}"


def worker(settings: Settings) -> Starlette:
    """The ASGI application of the worker. It registers itself for as long as it runs."""
    invocations.watch(SERVICES)
    services = restate.app(SERVICES, identity_keys=list(settings.restate_identity_keys) or None)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        # The SDK takes SIGTERM for itself and so from the ASGI server, which would go on for ever; SIGINT it leaves.
        with contextlib.suppress(RuntimeError, ValueError):  # not in the main thread: there are no signals to pass on
            install_shutdown_hook(asyncio.get_running_loop(), partial(signal.raise_signal, signal.SIGINT))
        async with resources.opened(settings) as available, Client.opened(settings) as client:
            registration = asyncio.create_task(keep_registered(available, client, registered_url(settings)))
            async with available.precedence.collecting():
                yield
            registration.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await registration

    return Starlette(lifespan=lifespan, routes=[Route("/metrics", _metrics), Mount("/", app=services)])


async def _metrics(_: Request) -> Response:
    """What this worker counted, and what it sees of certificates, rate limits and its gateway."""
    available = resources.current()
    registry = CollectorRegistry()
    parts = (available.db, available.authorities, available.gateway)
    await state.of_worker(*parts, registry, now=clock.now())
    text = generate_latest(registry) + generate_latest(measures.REGISTRY)
    return Response(text, media_type=CONTENT_TYPE_LATEST)

"""Runs and looks at the instances of a deployment, in every region. What happened comes back as a verdict."""

import asyncio
import json
import logging
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Any, TypeVar

import aiohttp

from lifecycle import clock, resources
from lifecycle.deploy import store
from lifecycle.deploy.model import Spec
from lifecycle.deploy.platforms.platform import (
    InstanceSpec,
    InstanceStatus,
    Platform,
    PlatformDownError,
    Refused,
    Running,
)
from lifecycle.models import Durable

T = TypeVar("T")
_log = logging.getLogger(__name__)

_HEALTH_DEADLINE = timedelta(seconds=2)
# How long one look waits for instances that are about to be ready; a step of its own for each glance would fill the
# journal.
_LOOK_FOR = timedelta(seconds=3)
_LOOK_EVERY = timedelta(milliseconds=50)
_STOP_GRACE = timedelta(seconds=10)
_LOG_LINES = 20
# A platform starts an instance again that ended; one that ends so often in a rollout will not stay.
_MOST_RESTARTS = 3
_LARGEST_OPENAPI = 2 * 1024 * 1024
# So much of an answer to a health check is read: hanging up on it would leave an error in the log of the instance.
_LARGEST_HEALTH = 64 * 1024


class Launch(Durable):
    """What became of a start. `refused` says why nothing of it can run; empty when all was started."""

    refused: str = ""


class Health(Durable):
    """How the instances are. `gone` says that waiting is of no use; `message` is for the user."""

    ready: bool
    gone: bool = False
    message: str = ""


async def start(spec: Spec) -> Launch:
    """Start every instance, or find that it runs.

    Raises:
        PlatformDownError: a platform does not answer.
    """
    available = resources.current()
    if await store.is_over(available.db, spec.id):
        return Launch(refused="It has ended.")
    listing = await store.find(available.db, spec.id)
    # Of the row: since the rollout began, the variables may have been sealed anew under another key.
    sealed = (spec if listing is None else listing.spec).sealed_variables
    variables = json.loads(available.vault.open(sealed, bound_to=spec.id)) if sealed else {}
    image = spec.image if listing is None else listing.image
    wanted = [
        InstanceSpec(
            id=f"{spec.id}.{region}.{number}",
            project=spec.project,
            deployment=spec.id,
            region=region,
            image=image,
            command=spec.command,
            directory=spec.directory,
            port=spec.port,
            memory_mib=spec.memory_mib,
            cpu_millicores=spec.cpu_millicores,
        )
        for region in spec.regions
        for number in range(spec.replicas)
    ]
    regions = {one.id: one.region for one in wanted}
    await store.want_instances(available.db, spec.id, spec.project, regions, clock.now())
    started = await _all([_platform(one.region).start(one, variables) for one in wanted])
    refused = [verdict.why for verdict in started if isinstance(verdict, Refused)]
    if refused:
        return Launch(refused=refused[0])
    await store.place_instances(
        available.db,
        {one.id: verdict.address for one, verdict in zip(wanted, started, strict=True) if isinstance(verdict, Running)},
    )
    return Launch()


async def look(spec: Spec) -> Health:
    """Whether the instances are ready; waits a few seconds for it.

    One region may be missing where there are several: the others serve.
    """
    latest = asyncio.get_running_loop().time() + _LOOK_FOR.total_seconds()
    while True:
        health = await glance(spec)
        if health.ready or health.gone or asyncio.get_running_loop().time() > latest:
            return health
        await asyncio.sleep(_LOOK_EVERY.total_seconds())


async def glance(spec: Spec) -> Health:
    """How the instances are at this moment."""
    instances = await store.instances(resources.current().db, deployment=spec.id)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_HEALTH_DEADLINE.total_seconds())) as session:
        looks = await _all([_look_at(session, spec, instance) for instance in instances])
    regions = {instance.region for instance in instances}
    ill = {instance.region for instance, health in zip(instances, looks, strict=True) if not health.ready}
    if instances and len(regions - ill) >= max(len(regions) - 1, 1):
        return Health(ready=True)
    first = next((health for health in looks if not health.ready), Health(ready=False, message="Nothing was started."))
    return first.model_copy(update={"gone": any(health.gone for health in looks)})


async def stop(deployment: str) -> None:
    """Remove every instance of a deployment, and look that none is left.

    Raises:
        PlatformDownError: a platform does not answer, or still has one.
    """
    await _remove_all(deployment=deployment)


async def stop_project(project: str) -> None:
    """Remove every instance of a project, and look that none is left.

    Raises:
        PlatformDownError: a platform does not answer, still has one, or is not known here although it should have one.
    """
    for instance in await store.instances(resources.current().db, project=project):
        _platform(instance.region)
    await _remove_all(project=project)


async def count_project(project: str) -> int:
    """How many instances of the project any platform has."""
    found = await _all([platform.find(project=project) for platform in resources.current().platforms.values()])
    return sum(len(instances) for instances in found)


async def missing() -> Sequence[tuple[str, str]]:
    """Project and id of every ready deployment that lacks an instance, or has it at another address.

    Regions that this worker cannot reach now are left out.
    """
    wanted = await store.ready_instances(resources.current().db)
    lacking: dict[tuple[str, str], None] = {}
    for region, platform in resources.current().platforms.items():
        try:
            running = {found.id: found.address for found in await platform.find()}
        except PlatformDownError as error:
            _log.warning("region %s cannot be looked at: %s", region, error)
            continue
        for project, instance in wanted:
            if instance.region == region and (instance.address is None or running.get(instance.id) != instance.address):
                lacking[project, instance.deployment] = None
    return list(lacking)


async def openapi(spec: Spec) -> str | None:
    """The OpenAPI document of the first instance that serves one; None when none does, or it is too large."""
    timeout = aiohttp.ClientTimeout(total=_HEALTH_DEADLINE.total_seconds())
    async with aiohttp.ClientSession(timeout=timeout) as session:
        for instance in await store.instances(resources.current().db, deployment=spec.id):
            for path in ("/openapi.json", "/openapi.yaml"):
                document = await _document(session, f"http://{instance.address}{path}")
                if document is not None:
                    return document
    return None


async def tail(deployment: str, *, lines: int = _LOG_LINES) -> str:
    """The last lines of what the instances of a deployment printed."""
    instances = await store.instances(resources.current().db, deployment=deployment)
    logs = await _all([_platform(instance.region).logs(instance.id, lines=lines) for instance in instances])
    return "\n".join(log for log in logs if log)


async def _look_at(session: aiohttp.ClientSession, spec: Spec, instance: store.Instance) -> Health:
    found = await _platform(instance.region).inspect(instance.id)
    if found is None:
        return Health(ready=False, gone=True, message="An instance has vanished.")
    if found.status is InstanceStatus.EXITED or found.restarts >= _MOST_RESTARTS:
        code = "" if found.exit_code is None else f" with code {found.exit_code}"
        return Health(ready=False, gone=True, message=f"An instance ended{code} instead of serving.")
    if found.address is None:
        return Health(ready=False, message="An instance has no address yet.")
    await store.place_instances(resources.current().db, {instance.id: found.address})
    try:
        async with session.get(f"http://{found.address}{spec.health_path}", allow_redirects=False) as response:
            await response.content.read(_LARGEST_HEALTH)
            if response.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                return Health(ready=True)
            return Health(ready=False, message=f"GET {spec.health_path} answers {response.status}.")
    except (aiohttp.ClientError, TimeoutError):
        return Health(ready=False, message=f"Nothing answers GET {spec.health_path}.")


async def _document(session: aiohttp.ClientSession, url: str) -> str | None:
    try:
        async with session.get(url, allow_redirects=False) as response:
            if response.status != HTTPStatus.OK:
                return None
            content = await response.content.read(_LARGEST_OPENAPI + 1)
            return None if len(content) > _LARGEST_OPENAPI else content.decode()
    except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError):
        return None


async def _remove_all(*, project: str | None = None, deployment: str | None = None) -> None:
    for region, platform in resources.current().platforms.items():
        found = await platform.find(project=project, deployment=deployment)
        await _all([platform.remove(instance.id, grace=_STOP_GRACE) for instance in found])
        left = await platform.find(project=project, deployment=deployment)
        if left:
            raise PlatformDownError(f"{region} still has {left[0].id}; it is removed again")


def _platform(region: str) -> Platform:
    try:
        return resources.current().platforms[region]
    except KeyError:
        raise PlatformDownError(f"this worker does not know the region {region}; see LIFECYCLE_REGIONS") from None


async def _all(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Everything side by side; when a platform is down the others are waited for all the same."""

    async def one(coroutine: Coroutine[Any, Any, T]) -> T | PlatformDownError:
        try:
            return await coroutine
        except PlatformDownError as error:
            return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(coroutine)) for coroutine in work]
    results: list[T] = []
    for task in tasks:
        result = task.result()
        if isinstance(result, PlatformDownError):
            raise result
        results.append(result)
    return results

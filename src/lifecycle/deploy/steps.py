"""The steps of a rollout as people see them: name, order, duration, and the trouble of one that goes on."""

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import TypeVar

from lifecycle import clock, resources
from lifecycle.db import DatabaseDownError
from lifecycle.deploy import store
from lifecycle.deploy.gateway import GatewayDownError
from lifecycle.deploy.model import Status
from lifecycle.deploy.platforms.platform import PlatformDownError

T = TypeVar("T")


class Step(Enum):
    """Each step of a rollout, with the status that the deployment has meanwhile."""

    BUILD = ("build", Status.BUILDING)
    START = ("start-instances", Status.STARTING)
    READY = ("wait-until-ready", Status.DEPLOYING)
    ASSIGN = ("assign-domains", Status.NETWORK)
    SCRAPE = ("scrape-openapi", Status.NETWORK)
    ACTIVATE = ("activate", Status.NETWORK)
    FINALIZE = ("finalize", Status.FINALIZING)

    @property
    def title(self) -> str:
        """Its name; readable, and never changed."""
        return self.value[0]


async def begin(deployment: str, step: Step) -> None:
    """Say that the step has begun, or begins again."""
    await store.begin_step(
        resources.current().db,
        deployment,
        name=step.title,
        position=list(Step).index(step),
        status=step.value[1],
        now=clock.now(),
    )


async def end(deployment: str, step: Step, error: str = "") -> None:
    """Say that the step has ended, with what was wrong."""
    await store.end_step(resources.current().db, deployment, name=step.title, now=clock.now(), error=error)


async def recorded(
    deployment: str, step: Step, work: Callable[[], Awaitable[T]], *, error: Callable[[T], str] = lambda _: ""
) -> T:
    """Do the work of a step that is one piece. While something it needs is down, the step says so and is retried."""
    await begin(deployment, step)
    result = await showing_trouble(deployment, step, work)
    await end(deployment, step, error(result))
    return result


async def showing_trouble(deployment: str, step: Step, work: Callable[[], Awaitable[T]]) -> T:
    """Do a part of a step's work; what it cannot reach is shown on the step."""
    try:
        return await work()
    except (PlatformDownError, GatewayDownError, DatabaseDownError) as trouble:
        await store.trouble(resources.current().db, deployment, name=step.title, error=str(trouble))
        raise

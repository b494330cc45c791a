"""Health: what `lifecycle doctor` says, what the reconciler has found, and whether people are told of things.

What concerns the whole installation is for the workspace that acts for it; the others see whether the parts work, and
what was found of their own.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from fastapi import APIRouter, Response

from lifecycle import certificate_health, clock, health
from lifecycle.api import deliveries, webhooks
from lifecycle.api.context import Context, ContextOf
from lifecycle.api.shapes.notifications import DeliveryAnswer, WebhookAnswer
from lifecycle.console.pages import PageRoute, page
from lifecycle.console.sessions import VisitorOf
from lifecycle.db import DatabaseDownError
from lifecycle.errors import LifecycleError
from lifecycle.health import Check
from lifecycle.models import Actor, Role
from lifecycle.notifications.model import State, WebhookState

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_FINDING = "finding "
_RECENT = timedelta(days=1)
_MOST_SHOWN = 20
_LOOK_UP_SECONDS = 1


class Group(NamedTuple):
    """Checks that belong together."""

    title: str
    checks: Sequence[Check]

    @property
    def bad(self) -> int:
        """How many are not well."""
        return sum(not one.ok for one in self.checks)


class Told(NamedTuple):
    """Whether people of the workspace are told of what happens.

    Attributes:
        hooks: webhooks that get nothing, or to which nothing gets through.
        given_up: deliveries of the last day that nobody tries any more.
        late: deliveries that did not get through yet.
        problem: why this is not known.
    """

    hooks: Sequence[WebhookAnswer] = ()
    given_up: Sequence[DeliveryAnswer] = ()
    late: Sequence[DeliveryAnswer] = ()
    problem: str = ""

    @property
    def bad(self) -> int:
        """How many things are not well."""
        return len(self.hooks) + len(self.given_up) + bool(self.problem)


@router.get("/health")
async def show(context: ContextOf, visitor: VisitorOf) -> Response:
    """The page. It asks anew each time it is opened, and waits for about five seconds at most."""
    actor = visitor.actor
    for_platform = await _for_platform(context, actor)
    async with asyncio.TaskGroup() as group:
        parts = group.create_task(_parts(context, for_platform=for_platform))
        findings = group.create_task(_findings(context, actor, for_platform=for_platform))
        told = group.create_task(_told(context, actor))
    groups, found = parts.result(), findings.result()
    return page(
        "health.html",
        visitor,
        groups=groups,
        findings=found,
        told=told.result(),
        for_platform=for_platform,
        bad=sum(one.bad for one in groups) + len(found) + told.result().bad,
    )


async def _parts(context: Context, *, for_platform: bool) -> list[Group]:
    settings, db = context.settings, context.db
    async with asyncio.TaskGroup() as group:
        core = group.create_task(health.check(settings, db, context.engine, context.client))
        if for_platform:
            deployments = group.create_task(health.within("deployments", health.check_deployments(settings, db)))
            certificates = group.create_task(_certificates(context))
    checks = [one for one in core.result() if not one.name.startswith(_FINDING)]
    if not for_platform:
        return [Group("The parts of Lifecycle", [Check(name=one.name, ok=one.ok, detail="") for one in checks])]
    return [
        Group("The parts of Lifecycle", checks),
        Group("What deployments need", deployments.result()),
        Group("What certificates need", certificates.result()),
    ]


async def _certificates(context: Context) -> list[Check]:
    return [check async for check in certificate_health.check_certificates(context.settings, context.db)]


async def _findings(context: Context, actor: Actor, *, for_platform: bool) -> list[Check]:
    """What the reconciler has found: of this workspace, or everything."""
    try:
        async with asyncio.timeout(health.DEADLINE.total_seconds()):
            state = await context.client.findings()
    except (LifecycleError, TimeoutError):
        return []  # that nobody answers is among the parts
    return [
        Check(name=one.kind, ok=False, detail=f"{one.subject}: {one.detail}", hint=one.hint)
        for one in state.findings
        if for_platform or one.workspace == actor.workspace
    ]


async def _told(context: Context, actor: Actor) -> Told:
    """Whether webhooks and mail get through."""
    if not actor.role.includes(Role.OPERATOR):
        return Told()
    try:
        async with asyncio.timeout(health.DEADLINE.total_seconds()):
            hooks = await webhooks.list_all(context, actor) if actor.role.includes(Role.ADMINISTRATOR) else None
            failed, waiting = [
                await deliveries.list_all(context, actor, deliveries.Wanted(state=state, limit=_MOST_SHOWN))
                for state in (State.FAILED, State.PENDING)
            ]
    except (DatabaseDownError, TimeoutError):
        return Told(problem="The database does not say what was sent.")
    since = clock.now() - _RECENT
    return Told(
        hooks=[
            one
            for one in (hooks.items if hooks else ())
            if one.state is WebhookState.DISABLED or one.failing_since is not None
        ],
        given_up=[one for one in failed.items if one.created_at > since],
        late=[one for one in waiting.items if one.last_error],
    )


async def _for_platform(context: Context, actor: Actor) -> bool:
    try:
        async with asyncio.timeout(_LOOK_UP_SECONDS):
            return await context.acts_for_platform(actor)
    except (DatabaseDownError, TimeoutError):
        return False

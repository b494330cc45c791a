"""A deployment: how its rollout went, where it serves, what it prints, and what can be done with it."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import NamedTuple

from fastapi import APIRouter, Response

from lifecycle.api import actions, deployments, projects
from lifecycle.api.context import Context, ContextOf, if_match
from lifecycle.api.deployments import DeploymentRef
from lifecycle.api.shapes.actions import ActionAnswer
from lifecycle.api.shapes.deployments import AvailableAction, DeploymentAnswer
from lifecycle.api.shapes.domains import DomainAnswer
from lifecycle.console import bars, notices, rights, verbs
from lifecycle.console import hosts as host_names
from lifecycle.console.notices import DoneOf
from lifecycle.console.pages import PageRoute, page
from lifecycle.console.projects import serving
from lifecycle.console.sessions import SentOf, VisitorOf
from lifecycle.deploy import hosts_store, standby
from lifecycle.deploy.model import Status
from lifecycle.deploy.platforms.platform import PlatformDownError
from lifecycle.errors import CATALOG, Code, LifecycleError
from lifecycle.ledger.entry import ActionState
from lifecycle.models import Actor

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_LOG_LINES = 200
_NEWEST = 20
# The engines of containers hang now and then, and no page may go with them.
_LOG_WITHIN_SECONDS = 2.0
# What colours a terminal (ECMA-48, section 5.4), and what else it would act on.
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b.|[\x00-\x08\x0b-\x1f\x7f]")


class Verb(StrEnum):
    """What can be done with a deployment; all but `KEEP` are `rules.ACTIONS`."""

    CANCEL = "cancel"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    STOP = "stop"
    WAKE = "wake"
    KEEP = "keep"


class Choice(NamedTuple):
    """Something that can be done, and what comes of it; or that cannot: then why, and what to do instead."""

    verb: Verb
    title: str
    outcome: str
    allowed: bool
    reason: str = ""
    hint: str = ""


class Affected(NamedTuple):
    """A host name, and what becomes of it.

    Attributes:
        before: the deployment that it shows now; None: none.
        outcome: what it shows afterwards, in words.
    """

    host: str
    before: str | None
    outcome: str


TITLES: Mapping[Verb, str] = {
    Verb.CANCEL: "Cancel the rollout",
    Verb.PROMOTE: "Promote",
    Verb.ROLLBACK: "Roll back to this",
    Verb.STOP: "Stop",
    Verb.WAKE: "Wake",
    Verb.KEEP: "Keep it running",
}
OUTCOMES: Mapping[Verb, str] = {
    Verb.CANCEL: "Gives it up, and removes what it started; what was live before stays.",
    Verb.PROMOTE: "Makes it live; newer deployments take its domains over again.",
    Verb.ROLLBACK: "Makes it live and keeps it so, until one is promoted.",
    Verb.STOP: "Ends its instances; it can be woken again.",
    Verb.WAKE: "Starts its instances again; it does not become live.",
    Verb.KEEP: "Ends the countdown to its stop.",
}
SAID: Mapping[str, str] = {
    Verb.CANCEL: "The rollout is given up.",
    Verb.PROMOTE: "Promoted: its domains move to it.",
    Verb.ROLLBACK: "Rolling back: it takes the domains over as soon as it is healthy.",
    Verb.STOP: "It is being stopped.",
    Verb.WAKE: "It is being started again.",
    Verb.KEEP: "It goes on running, until somebody stops it.",
}
_ASK: Mapping[Verb, Callable[[str, Context, Actor], Awaitable[DeploymentAnswer]]] = {
    Verb.CANCEL: deployments.cancel,
    Verb.PROMOTE: deployments.promote,
    Verb.ROLLBACK: deployments.rollback,
    Verb.STOP: deployments.stop,
    Verb.WAKE: deployments.wake,
}


@router.get("/deployments/{deployment}")
async def show(deployment: DeploymentRef, context: ContextOf, visitor: VisitorOf, done: DoneOf) -> Response:
    """Everything about one deployment."""
    actor = visitor.actor
    shown = await deployments.show(deployment, context, actor)
    stop = await _stop(context, actor, shown.id)
    log, trouble = await _log(context, actor, shown.id)
    hosts = await host_names.of_deployment(context, shown.project, shown.id)
    own = [host for host in hosts if host.deployment == shown.id]
    newest: Sequence[DeploymentAnswer] = ()
    if shown.live and shown.available_actions:  # the engine answers, and is asked once more
        newest = (await deployments.list_all(shown.project, context, actor, None, _NEWEST)).items
    return page(
        "deployment.html",
        visitor,
        one=shown,
        project=await projects.show(shown.project, context, actor),
        stop=stop,
        choices=choices(shown, stop),
        earlier=serving(shown.environment, hosts, tuple(newest)).earlier,
        hosts=own,
        more_hosts=max(await hosts_store.count_showing(context.db, shown.project, shown.id) - len(own), 0),
        bars=bars,
        log=log,
        log_trouble=trouble,
        may=rights.of(actor),
        said=said(shown, stop, done),
        is_moving=is_moving(shown, done) or not shown.available_actions,
    )


@router.get("/deployments/{deployment}/{verb}")
async def confirm(deployment: DeploymentRef, verb: str, context: ContextOf, visitor: VisitorOf) -> Response:
    """Says which domains an action affects and how, or why it is refused, and asks."""
    wanted, actor = verbs.known(Verb, verb, f"/deployments/{deployment}"), visitor.actor
    shown = await deployments.show(deployment, context, actor)
    stop = await _stop(context, actor, shown.id)
    choice = next((one for one in choices(shown, stop) if one.verb is wanted), None)
    found = affected(wanted, shown, await host_names.of_deployment(context, shown.project, shown.id))
    return page(
        "deployment_confirm.html",
        visitor,
        one=shown,
        project=await projects.show(shown.project, context, actor),
        stop=stop,
        verb=wanted,
        title=TITLES[wanted],
        choice=choice,
        affected=found,
        more_affected=max(await _count_affected(context, wanted, shown) - len(found), 0),
    )


@router.post("/deployments/{deployment}/{verb}")
async def act(deployment: DeploymentRef, verb: str, context: ContextOf, sent: SentOf) -> Response:
    """Does it."""
    wanted, actor = verbs.known(Verb, verb, f"/deployments/{deployment}"), sent.visitor.actor
    if wanted is Verb.KEEP:
        generation = if_match(sent.get("generation") or None)
        await actions.cancel(standby.KIND, deployment, context, actor, generation)
    else:
        await _ASK[wanted](deployment, context, actor)
    return notices.done(f"/deployments/{deployment}", wanted.value)


def choices(shown: DeploymentAnswer, stop: ActionAnswer | None) -> tuple[Choice, ...]:
    """What can be done with a deployment, what is possible first.

    Args:
        shown: the deployment.
        stop: the countdown to its stop, if there is one.
    """
    found = [_choice(one) for one in shown.available_actions]
    if stop is not None:
        found.append(Choice(Verb.KEEP, TITLES[Verb.KEEP], OUTCOMES[Verb.KEEP], allowed=True))
    return tuple(sorted(found, key=lambda one: (not one.allowed, list(Verb).index(one.verb))))


def affected(verb: Verb, shown: DeploymentAnswer, hosts: Sequence[DomainAnswer]) -> tuple[Affected, ...]:
    """The host names that an action changes something for, and what."""
    if verb in (Verb.PROMOTE, Verb.ROLLBACK):
        follow = [
            one for one in hosts if one.environment is shown.environment and one.kind.follows_live and one.status.owns
        ]
        return tuple(
            Affected(one.domain, one.deployment, "stays" if one.deployment == shown.id else "shows this deployment")
            for one in follow
        )
    own = [one for one in hosts if one.deployment == shown.id]
    outcomes = {
        Verb.STOP: "shows nothing until it is woken",
        Verb.WAKE: "shows this deployment again",
        Verb.CANCEL: "goes back to what it showed before, or shows nothing",
    }
    return tuple(Affected(one.domain, shown.id, outcomes[verb]) for one in own) if verb in outcomes else ()


async def _count_affected(context: Context, verb: Verb, shown: DeploymentAnswer) -> int:
    """How many host names an action changes something for."""
    if verb is Verb.KEEP:
        return 0
    if verb in (Verb.PROMOTE, Verb.ROLLBACK):
        return await hosts_store.count_following(context.db, shown.project, shown.environment)
    return await hosts_store.count_showing(context.db, shown.project, shown.id)


def is_moving(shown: DeploymentAnswer, done: str) -> bool:
    """Whether something is under way that people wait for.

    Args:
        shown: the deployment.
        done: what the visitor asked for within the last moments.
    """
    return not shown.status.is_terminal or (done in list(Verb) and not _is_reached(shown, Verb(done)))


def said(shown: DeploymentAnswer, stop: ActionAnswer | None, done: str) -> str:
    """What to say of what the visitor asked for: only as long as it is so.

    Args:
        shown: the deployment.
        stop: the countdown to its stop, if there is one.
        done: what the visitor asked for within the last moments.
    """
    if done not in list(Verb):
        return ""
    verb = Verb(done)
    if verb is Verb.KEEP:
        is_so = stop is None
    else:  # what failed is not under way any more, and says so itself
        is_so = verb is Verb.CANCEL or not (_is_reached(shown, verb) or shown.status is Status.FAILED)
    return SAID[verb] if is_so else ""


def _is_reached(shown: DeploymentAnswer, verb: Verb) -> bool:
    wanted = {
        Verb.PROMOTE: shown.live and bool(shown.domains),
        Verb.ROLLBACK: shown.live and bool(shown.domains),
        Verb.WAKE: shown.running,
        Verb.STOP: shown.status is Status.STOPPED,
    }
    return wanted.get(verb, True)


def plain(log: str) -> str:
    """What was printed, without what only a terminal understands."""
    return _CONTROL.sub("", log.replace("\r\n", "\n").replace("\r", "\n"))


def _choice(available: AvailableAction) -> Choice:
    verb = Verb(available.action)
    return Choice(verb, TITLES[verb], OUTCOMES[verb], available.allowed, available.reason or "", available.hint or "")


async def _stop(context: Context, actor: Actor, deployment: str) -> ActionAnswer | None:
    """The countdown to the stop of a deployment that was replaced."""
    try:
        found = await actions.show(standby.KIND, deployment, context, actor, Response())
    except LifecycleError as error:
        if error.code is not Code.ACTION_NOT_FOUND:
            raise
        return None
    return found if found.state in (ActionState.PENDING, ActionState.BLOCKED) else None


async def _log(context: Context, actor: Actor, deployment: str) -> tuple[str, str]:
    """What it printed last, and why that cannot be read."""
    try:
        async with asyncio.timeout(_LOG_WITHIN_SECONDS):
            return plain(await deployments.logs(deployment, context, actor, _LOG_LINES)), ""
    except TimeoutError:
        return "", f"the platform that runs it did not answer within {_LOG_WITHIN_SECONDS:g} seconds."
    except PlatformDownError as error:
        return "", str(error)
    except LifecycleError as error:
        if CATALOG[error.code].status < HTTPStatus.INTERNAL_SERVER_ERROR:
            raise
        return "", error.message

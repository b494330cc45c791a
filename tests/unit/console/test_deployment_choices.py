"""What the page of a deployment offers, and which domains that affects."""

from typing import Any

import pytest

from lifecycle.api.shapes.actions import ActionAnswer
from lifecycle.api.shapes.deployments import AvailableAction, DeploymentAnswer
from lifecycle.api.shapes.domains import DomainAnswer
from lifecycle.console import deployments, hosts, projects
from lifecycle.console.deployments import Verb
from lifecycle.deploy.domains import Kind
from lifecycle.deploy.model import Environment
from lifecycle.deploy.verification.model import Status
from tests.support.factories import NOW

_EXAMPLE: dict[str, Any] = DeploymentAnswer.model_json_schema()["examples"][0]
STOP = ActionAnswer.model_validate(
    {**ActionAnswer.model_json_schema()["examples"][0], "kind": "standby-stop", "due_at": NOW}
)


def deployment(**changed: Any) -> DeploymentAnswer:
    """A deployment of production that is ready."""
    return DeploymentAnswer.model_validate({**_EXAMPLE, "id": "dep_new", "live": False, **changed})


def host(name: str, kind: Kind, shows: str | None, **changed: Any) -> DomainAnswer:
    """A host name of production."""
    given = {"domain": name, "kind": kind, "environment": Environment.PRODUCTION, "deployment": shows}
    return DomainAnswer.model_validate({"status": Status.VERIFIED, **given, **changed})


HOSTS = (
    host("old.example", Kind.COMMIT, "dep_old"),
    host("shop.example", Kind.LIVE, "dep_old"),
    host("preview.example", Kind.ENVIRONMENT, "dep_preview", environment=Environment.PREVIEW),
    host("www.example.com", Kind.CUSTOM, "dep_old"),
    host("unproved.example.com", Kind.CUSTOM, None, status=Status.PENDING),
    host("new.example", Kind.COMMIT, "dep_new"),
)


def test_what_is_possible_comes_first_and_the_rest_says_why_not() -> None:
    """A button for what can be done; a reason and a hint for what cannot."""
    actions = (
        AvailableAction(action="wake", allowed=False, code="x", reason="It runs.", hint="Leave it."),
        AvailableAction(action="promote", allowed=True),
    )
    shown = deployments.choices(deployment(available_actions=actions), STOP)

    assert [(one.verb, one.allowed) for one in shown] == [
        (Verb.PROMOTE, True),
        (Verb.KEEP, True),
        (Verb.WAKE, False),
    ]
    assert (shown[2].reason, shown[2].hint) == ("It runs.", "Leave it.")


@pytest.mark.parametrize("verb", [Verb.PROMOTE, Verb.ROLLBACK])
def test_a_switch_moves_what_follows_the_environment(verb: Verb) -> None:
    """Exactly the served names that show what is live there; not those of one deployment, nor of a preview."""
    found = deployments.affected(verb, deployment(), HOSTS)

    assert [(one.host, one.before) for one in found] == [("shop.example", "dep_old"), ("www.example.com", "dep_old")]


def test_a_stop_silences_its_own_names() -> None:
    """Whoever stops a deployment is told which addresses answer no more."""
    found = deployments.affected(Verb.STOP, deployment(), HOSTS)

    assert [one.host for one in found] == ["new.example"]
    assert deployments.affected(Verb.KEEP, deployment(), HOSTS) == ()


@pytest.mark.parametrize(
    ("changed", "done", "expected"),
    [
        ({}, "", False),
        ({"status": "deploying"}, "", True),
        ({"status": "stopped", "running": False}, "rollback", True),
        ({"live": True, "domains": ("shop.example",)}, "rollback", False),
        ({"running": False, "status": "stopped"}, "wake", True),
        ({"status": "stopped"}, "stop", False),
        ({}, "keep", False),
        ({}, "<script>", False),
    ],
)
def test_the_page_looks_often_while_somebody_waits(changed: dict[str, Any], done: str, expected: bool) -> None:
    """While a rollout, a wake or a switch is under way, and not afterwards."""
    assert deployments.is_moving(deployment(**changed), done) is expected


@pytest.mark.parametrize(
    ("changed", "stop", "done", "expected"),
    [
        ({"status": "stopped", "running": False}, None, "rollback", "Rolling back"),
        ({"live": True, "domains": ("shop.example",)}, None, "rollback", ""),
        ({"status": "failed", "running": False}, None, "rollback", ""),
        ({"status": "stopped"}, None, "stop", ""),
        ({}, None, "keep", "It goes on running"),
        ({}, STOP, "keep", ""),
        ({}, None, "", ""),
        ({}, None, "<script>", ""),
    ],
)
def test_what_was_asked_for_is_said_while_it_is_so(
    changed: dict[str, Any], stop: ActionAnswer | None, done: str, expected: str
) -> None:
    """“Rolling back…” ends with the rollback, whatever the page was told before."""
    shown = deployments.said(deployment(**changed), stop, done)

    assert shown.startswith(expected)
    assert bool(shown) == bool(expected)


def test_a_log_is_shown_without_what_only_terminals_understand() -> None:
    """Colours and carriage returns go, lines and tabs stay."""
    assert deployments.plain("\x1b[1;32mok\x1b[0m\tone\r\ntwo\r\x07three\x1b]") == "ok\tone\ntwo\nthree"


def test_the_one_to_go_back_to_is_the_newest_before_the_live_one_that_can_serve() -> None:
    """Failed ones are passed over, and so are newer ones and those of the other environment."""
    newest = (
        deployment(id="dep_4"),
        deployment(id="dep_3", live=True),
        deployment(id="dep_2", status="failed"),
        deployment(id="dep_x", environment="preview"),
        deployment(id="dep_1", status="stopped"),
    )
    shown = projects.serving(Environment.PRODUCTION, (), newest)

    assert (shown.deployment, shown.earlier and shown.earlier.id) == ("dep_3", "dep_1")


def test_what_is_live_is_known_when_it_is_too_old_for_the_list() -> None:
    """A pinned deployment of long ago is still named, by what its host names show."""
    shown = projects.serving(Environment.PRODUCTION, HOSTS, (deployment(id="dep_4"),))

    assert (shown.deployment, shown.shown, shown.earlier) == ("dep_old", None, None)
    assert [one.domain for one in shown.hosts] == ["shop.example", "www.example.com"]


def test_host_names_that_people_know_come_first() -> None:
    """Their own domains, then what is live, and names of one deployment last."""
    assert [one.kind for one in hosts.known_first(HOSTS)] == [
        Kind.CUSTOM,
        Kind.CUSTOM,
        Kind.LIVE,
        Kind.ENVIRONMENT,
        Kind.COMMIT,
        Kind.COMMIT,
    ]

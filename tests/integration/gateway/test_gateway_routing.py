"""What a visitor sees: the deployment of the host, or a page that says why there is none."""

import json
from datetime import UTC, datetime

import pytest

from lifecycle.deploy.gateway import STOPPED, Change, suspended
from tests.integration.gateway.conftest import Site

_DUE = datetime(2026, 11, 24, 7, 36, 15, tzinfo=UTC)


async def test_each_host_is_answered_by_its_deployment(site: Site) -> None:
    """My address shows my deployment, and nobody else's."""
    await site.serve("blue.example.com", "dep_blue", site.addresses["blue"], generation=1)
    await site.serve("green.example.com", "dep_green", site.addresses["green"], generation=1, project="prj_b")

    assert await site.name("blue.example.com") == "blue"
    assert await site.name("green.example.com") == "green"


@pytest.mark.parametrize("host", ["APP.Example.com", "app.example.com:8080", "app.example.com."])
async def test_a_host_is_known_however_it_is_written(site: Site, host: str) -> None:
    """Capital letters, a port or the final dot make no other address."""
    await site.serve("app.example.com", "dep_1", site.addresses["blue"], generation=1)

    assert await site.name(host) == "blue"


async def test_an_unknown_host_is_told_so(site: Site) -> None:
    """A mistyped address shows a short page, not somebody's deployment."""
    status, page = await site.get("nobody.example.com")

    assert status == 404
    assert "Nothing is served here" in page


async def test_a_suspended_host_says_until_when_and_how_to_undo(site: Site) -> None:
    """Whoever opens a project that is going to be deleted learns when, and what an administrator can do."""
    await site.gateway.apply(Change(project="prj_a", generation=1, hosts={"a.example.com": suspended(_DUE)}))
    status, page = await site.get("a.example.com", "/any/where")

    assert status == 410
    assert "2026-11-24 at 07:36 UTC" in page
    assert "lifecycle project cancel-delete" in page
    assert "%[" not in page


async def test_a_stopped_deployment_says_that_it_is_stopped(site: Site) -> None:
    """An old address shows that its deployment was stopped, and not an error without a reason."""
    await site.gateway.apply(Change(project="prj_a", generation=1, hosts={"a.example.com": STOPPED}))
    status, page = await site.get("a.example.com")

    assert status == 503
    assert "This deployment is stopped" in page


async def test_a_deployment_without_instances_says_so(site: Site) -> None:
    """While nothing runs behind an address, visitors are asked to come back."""
    await site.gateway.apply(Change(project="prj_a", generation=1, hosts={"a.example.com": "dep_1"}))
    without_target = await site.get("a.example.com")
    await site.serve("a.example.com", "dep_1", f"127.0.0.1:{site.free['one']}", generation=2)
    with_dead_instance = await site.get("a.example.com")

    for status, page in (without_target, with_dead_instance):
        assert status == 503
        assert "No instance answers" in page


@pytest.mark.parametrize(
    "host", ["live.example.com", "suspended.example.com", "stopped.example.com", "new.example.com"]
)
async def test_an_acme_challenge_is_always_answered(site: Site, host: str) -> None:
    """A certificate can be issued for every host, also before it is served and while it is suspended."""
    await site.serve("live.example.com", "dep_1", site.addresses["blue"], generation=1)
    gone = {"suspended.example.com": suspended(_DUE), "stopped.example.com": STOPPED}
    await site.gateway.apply(Change(project="prj_a", generation=2, hosts=gone))
    status, body = await site.get(host, "/.well-known/acme-challenge/some-token_1")

    assert (status, json.loads(body)["name"]) == (200, "api")
    assert json.loads(body)["path"] == "/.well-known/acme-challenge/some-token_1"


@pytest.mark.parametrize("path", ["/.well-known/acme-challenge/a%2f..%2fv1", "/.well-known/acme-challenge/a/b"])
async def test_the_challenge_path_leads_nowhere_else_in_the_api(site: Site, path: str) -> None:
    """Nobody reaches other parts of the API through the address of a deployment."""
    status, _ = await site.get("new.example.com", path)

    assert status == 404


async def test_the_deployment_learns_who_asked_and_nobody_can_pretend(site: Site) -> None:
    """An application may trust the forwarding headers: what a visitor writes into them does not arrive."""
    await site.serve("a.example.com", "dep_1", site.addresses["blue"], generation=1)
    _, body = await site.get(
        "a.example.com",
        X_Forwarded_For="6.6.6.6",
        X_Forwarded_Proto="https",
        X_Forwarded_Host="evil.example.com",
        X_Forwarded_Port="1",
        X_Real_IP="6.6.6.6",
        Forwarded="for=6.6.6.6",
    )
    headers = json.loads(body)["headers"]

    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "http"
    assert headers["x-forwarded-host"] == "a.example.com"
    assert not {"x-forwarded-port", "x-real-ip", "forwarded"} & headers.keys()


async def test_a_websocket_goes_on_across_a_switch(site: Site) -> None:
    """A connection that was open before a switch is not cut by it."""
    await site.serve("a.example.com", "dep_blue", site.addresses["blue"], generation=1)
    async with site.session.ws_connect(f"{site.haproxy.url}/socket", headers={"Host": "a.example.com"}) as connection:
        await connection.send_str("before")
        before = await connection.receive_str()
        await site.serve("a.example.com", "dep_green", site.addresses["green"], generation=2)
        await connection.send_str("after")
        after = await connection.receive_str()

    assert (before, after) == ("blue: before", "blue: after")
    assert await site.name("a.example.com") == "green"


async def test_what_is_posted_arrives(site: Site) -> None:
    """Bodies larger than the gateway's own memory for a request pass through it."""
    await site.serve("a.example.com", "dep_1", site.addresses["blue"], generation=1)
    text = "x" * 500_000
    async with site.session.post(site.haproxy.url, headers={"Host": "a.example.com"}, data=text) as response:
        answer = await response.json()

    assert answer["body"] == text

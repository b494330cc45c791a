"""Custom domains with verification: who gets one, by which record, and what the others see."""

import asyncio
from datetime import timedelta

import aiohttp
import pytest

from lifecycle.deploy.verification import store as verification_store
from lifecycle.engine import Engine
from tests.integration.domains.conftest import ADDRESS, Land
from tests.support.waiting import eventually


async def test_a_cname_to_my_target_verifies_and_only_then_am_i_served(land: Land, slug: str) -> None:
    """What I add leads nowhere until the record that I am shown is set; then it shows what is live."""
    shop = await land.shop(slug)
    await shop.deploy("v1")
    host = f"www.{slug}.example"
    added = await land.add(shop.id, host)
    before = await shop.visit(host=host)
    looked = await land.verify(shop.id, host)
    await land.set(added, "routing")
    verified = await land.until(shop.id, host, "verified")
    served = await shop.serves("v1", host=host)

    assert (added["status"], added["deployment"], before.status) == ("pending", None, 404)
    assert [(one["type"], one["required"]) for one in added["records"]] == [("TXT", False), ("CNAME", True)]
    assert [one["state"] for one in looked["records"]] == ["missing", "wrong"]
    assert looked["records"][1]["found"] == "It leads to 127.0.0.1, which is not ours."
    assert looked["next_check_at"] > looked["checked_at"]
    assert [one["state"] for one in verified["records"]] == ["missing", "ok"]
    assert served.status == 200
    assert await eventually(lambda: _actions(land, shop.id, 2), within=10) == ["domain.added", "domain.verified"]


async def test_an_apex_domain_takes_the_txt_record_as_well(land: Land, slug: str) -> None:
    """A registered domain cannot have a CNAME, and an address does not say for whom it was set: TXT does."""
    shop = await land.shop(slug)
    added = await land.add(shop.id, f"{slug}.example")
    await land.set(added, "routing")
    addressed = await land.verify(shop.id, f"{slug}.example")
    await land.set(added, "ownership")
    verified = await land.verify(shop.id, f"{slug}.example")

    assert [(one["type"], one["value"]) for one in added["records"][1:]] == [("A", ADDRESS)]
    assert [one["required"] for one in added["records"]] == [True, True]
    assert (addressed["status"], addressed["records"][1]["state"]) == ("pending", "ok")
    assert "the same for every project" in addressed["reason"]
    assert verified["status"] == "verified"


async def test_an_address_that_was_left_behind_gives_the_domain_to_nobody(land: Land, slug: str) -> None:
    """I gave my domain back and forgot its A record: a stranger who adds it is not served under my name."""
    owner, stranger = await land.shop(slug), await land.shop(f"{slug}-2")
    await stranger.deploy("stranger")
    host = f"{slug}.example"
    mine = await land.add(owner.id, host)
    await land.set(mine, "routing")
    await land.set(mine, "ownership")
    await land.until(owner.id, host, "verified")
    await land.remove(owner.id, host)
    await land.add(stranger.id, host)
    looked = await land.verify(stranger.id, host)
    visited = await stranger.visit(host=host)

    assert (looked["status"], looked["records"][1]["state"], visited.status) == ("pending", "ok", 404)


async def test_a_domain_of_another_project_is_taken_over_by_txt_and_by_nothing_else(land: Land, slug: str) -> None:
    """While I have a domain nobody takes it by a CNAME; whoever controls its DNS does by TXT, and I see why."""
    owner, claimant = await land.shop(slug), await land.shop(f"{slug}-2")
    await owner.deploy("owner")
    await claimant.deploy("claimant")
    host = f"www.{slug}.example"
    await land.set(await land.add(owner.id, host), "routing")
    await land.until(owner.id, host, "verified")
    wanted = await land.add(claimant.id, host)
    await land.set(wanted, "routing")
    by_route = await land.verify(claimant.id, host)
    still = await owner.serves("owner", host=host)
    await land.set(wanted, "ownership")
    by_text = await land.verify(claimant.id, host)
    now = await claimant.serves("claimant", host=host)
    former = await land.until(owner.id, host, "lost")

    assert [one["required"] for one in wanted["records"]] == [True, True]
    assert (by_route["status"], by_route["records"][1]["state"], still.status) == ("pending", "ok", 200)
    assert "needed because another project has this domain" in by_route["reason"]
    assert (by_text["status"], now.status) == ("verified", 200)
    assert former["reason"] == "Another project proved with a TXT record that it controls the domain."
    assert former["deployment"] is None
    assert await eventually(lambda: _actions(land, owner.id, 3), within=10) == [
        *("domain.added", "domain.verified", "domain.lost")
    ]
    assert await eventually(lambda: _actions(land, claimant.id, 2), within=10) == ["domain.added", "domain.verified"]


async def test_two_projects_at_the_same_moment_settle_to_one_owner(land: Land, slug: str) -> None:
    """However close together both prove control, the domain has one owner, who is served."""
    shops = [await land.shop(slug), await land.shop(f"{slug}-2")]
    host = f"www.{slug}.example"
    added = [await land.add(one.id, host) for one in shops]
    for shown in added:
        await land.set(shown, "ownership")
    for _ in range(5):
        async with asyncio.TaskGroup() as group:
            for one in shops:
                group.create_task(land.verify(one.id, host))
        rows = await land.db.all(
            "SELECT d.project_id, r.project_id AS routed FROM domains d LEFT JOIN routes r ON r.hostname = d.hostname "
            "WHERE d.hostname = %s AND d.status IN ('verified', 'dangling')",
            host,
        )
        assert len(rows) == 1
        assert rows[0]["project_id"] == rows[0]["routed"]


async def test_a_domain_that_is_given_back_is_free_and_begins_anew(land: Land, slug: str) -> None:
    """After a removal nothing is routed, another project gets it without TXT, and adding it again takes new proof."""
    owner, next_one = await land.shop(slug), await land.shop(f"{slug}-2")
    await owner.deploy("v1")
    host = f"www.{slug}.example"
    first = await land.add(owner.id, host)
    await land.set(first, "routing")
    await land.until(owner.id, host, "verified")
    await owner.serves("v1", host=host)
    removed = await land.remove(owner.id, host)
    gone = await owner.visit(host=host)
    taken = await land.add(next_one.id, host)
    await land.set(taken, "routing")
    theirs = await land.verify(next_one.id, host)
    again = await land.add(owner.id, host)

    assert (removed.status, gone.status, theirs["status"]) == (204, 404, "verified")
    assert [one["required"] for one in taken["records"]] == [False, True]
    assert again["records"][0]["value"] != first["records"][0]["value"]
    assert again["status"] == "pending"


async def test_verify_answers_with_its_own_look(land: Land, slug: str) -> None:
    """A look that was under way before I set the record, and ends after I asked, is not what I am told."""
    shop = await land.shop(slug)
    host = f"www.{slug}.example"
    with land.points.death_at("DomainLook/look/settle", "before"):
        added = await land.add(shop.id, host)
        await eventually(land.points.has_died, within=20)
        await land.set(added, "ownership")
        looked = await land.verify(shop.id, host)

    assert (looked["status"], looked["records"][0]["state"]) == ("verified", "ok")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["ask-dns", "settle", "note-told"])
async def test_a_worker_that_dies_while_it_looks_loses_nothing(land: Land, slug: str, step: str, when: str) -> None:
    """Wherever the worker is killed in a takeover: one owner, who is served, and the former one is told."""
    owner, claimant = await land.shop(slug), await land.shop(f"{slug}-2")
    await owner.deploy("owner")
    await claimant.deploy("claimant")
    host = f"www.{slug}.example"
    await land.set(await land.add(owner.id, host), "routing")
    await land.until(owner.id, host, "verified")
    wanted = await land.add(claimant.id, host)
    await land.set(wanted, "ownership")
    with land.points.death_at(f"DomainLook/look/{step}", when):
        await land.api.post(f"/v1/projects/{claimant.id}/domains/{host}/verify")
        await land.until(claimant.id, host, "verified", within=30)
        await claimant.serves("claimant", host=host, within=30)
    former = await eventually(lambda: _actions(land, owner.id, 3), within=20)

    assert former == ["domain.added", "domain.verified", "domain.lost"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["add_domain/claim-domain", "remove_domain/release-domain"])
async def test_a_worker_that_dies_while_i_add_or_remove_a_domain(land: Land, slug: str, step: str, when: str) -> None:
    """Wherever the worker is killed, what I asked for is done, once, and is in the audit log."""
    shop = await land.shop(slug)
    host = f"www.{slug}.example"
    path = f"/v1/projects/{shop.id}/domains"
    with land.points.death_at(f"RoutingService/{step}", when):
        await land.api.post(path, {"domain": host})
        await eventually(lambda: _actions(land, shop.id, 1), within=30)
        await land.remove(shop.id, host)
        told = await eventually(lambda: _actions(land, shop.id, 2), within=30)

    assert told == ["domain.added", "domain.removed"]
    assert (await land.api.get(f"{path}/{host}")).status == 404


async def test_a_lost_wake_up_is_made_up_for(land: Land, slug: str) -> None:
    """Somebody removes timers from the engine behind our back: the domain is looked at all the same."""
    shop = await land.shop(slug)
    host = f"www.{slug}.example"
    added = await land.add(shop.id, host)
    domain = verification_store.identity(shop.id, host)
    await eventually(lambda: _timers(land, domain, 2), within=10)  # the first look's, which is stale, and the next
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        for timer in await _timers(land, domain, 2) or ():
            async with session.patch(f"{land.stack.engine.admin_url}/invocations/{timer}/kill"):
                pass
    # The reconciler waits for a quarter of an hour; the test does not.
    await land.db.execute("UPDATE domains SET next_check_at = '2026-01-01' WHERE id = %s", domain)
    await land.set(added, "routing")

    assert (await land.until(shop.id, host, "verified", within=30))["status"] == "verified"


async def test_a_deleted_project_leaves_its_domains_free(land: Land, slug: str) -> None:
    """The purge takes claims away, proved or not; its looks end, and the next project needs no TXT."""
    shop, heir = await land.shop(slug), await land.shop(f"{slug}-2")
    hosts = [f"www.{slug}.example", f"shop.{slug}.example"]
    await land.set(await land.add(shop.id, hosts[0]), "routing")
    await land.until(shop.id, hosts[0], "verified")
    await land.add(shop.id, hosts[1])
    await land.api.schedule(shop.id, slug, "1s")
    await eventually(lambda: _is_deleted(land, shop.id), within=30)
    claims = await land.db.all("SELECT 1 AS one FROM domains WHERE project_id = %s", shop.id)
    added = [await land.add(heir.id, one) for one in hosts]

    assert claims == []
    assert [one["records"][0]["required"] for one in added] == [False, False]


async def _actions(land: Land, project: str, count: int) -> list[str] | None:
    found = await land.actions(project)
    return found if len(found) >= count else None


async def _is_deleted(land: Land, project: str) -> bool:
    return (await land.api.get(f"/v1/tombstones/{project}")).status == 200


async def _timers(land: Land, domain: str, count: int) -> list[str] | None:
    """The wake-ups of a claim that are still to come."""
    engine = Engine(land.stack.engine.admin_url, timeout=timedelta(seconds=5))
    try:
        rows = await engine.query(
            f"SELECT id FROM sys_invocation WHERE target_service_key = '{domain}' AND target_handler_name = 'check' "
            "AND status = 'scheduled'"
        )
    finally:
        await engine.close()
    return [row["id"] for row in rows] if len(rows) == count else None

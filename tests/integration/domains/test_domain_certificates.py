"""A verified domain gets its certificate by itself, and whoever loses or removes it gets no more of them."""

from typing import Any

from lifecycle.models import Role
from tests.integration.domains.conftest import Land
from tests.support.inside import key_of
from tests.support.shop import Shop
from tests.support.waiting import eventually

_STOPPED = "certificate.renewal_stopped"


async def test_a_verified_domain_gets_a_certificate_by_itself(land: Land, slug: str) -> None:
    """I set one CNAME; a minute later my domain is served with a certificate that nobody had to ask for."""
    shop = await land.shop(slug)
    host = f"www.{slug}.example"
    added = await land.add(shop.id, host)
    unasked = await _certificate(land, host)
    await land.set(added, "routing")
    await land.verify(shop.id, host)
    issued = await eventually(lambda: _issued(land, host), within=40)

    assert unasked is None
    assert (issued["project_id"], issued["challenge"]) == (shop.id, "http-01")
    assert await land.db.all(
        "SELECT 1 AS one FROM audit_log WHERE id LIKE %s AND actor_person = 'lifecycle'", f"{host}.%"
    )


async def test_proof_by_txt_alone_waits_with_the_certificate_until_visitors_are_led_here(land: Land, slug: str) -> None:
    """No order is wasted at the CA on a name that does not lead here yet."""
    shop = await land.shop(slug)
    host = f"www.{slug}.example"
    added = await land.add(shop.id, host)
    await land.set(added, "ownership")
    proved = await land.verify(shop.id, host)
    unasked = await _certificate(land, host)
    await land.set(added, "routing")
    await land.verify(shop.id, host)

    assert (proved["status"], proved["reason"]) == ("verified", "It leads to 127.0.0.1, which is not ours.")
    assert unasked is None
    assert await eventually(lambda: _certificate(land, host), within=20)


async def test_a_removed_domain_is_renewed_no_more_and_the_next_owner_gets_a_certificate(land: Land, slug: str) -> None:
    """What I give back expires by itself; a project of other people who verify it then is not kept waiting for that."""
    shop = await land.shop(slug)
    host = f"www.{slug}.example"
    await land.set(await land.add(shop.id, host), "routing")
    await land.verify(shop.id, host)
    await eventually(lambda: _issued(land, host), within=40)
    await land.remove(shop.id, host)
    lapsing = await eventually(lambda: _lapsing(land, host), within=20)
    theirs, heir = await _stranger(land, f"{slug}-2")
    await theirs.set(await theirs.add(heir.id, host), "routing")
    await theirs.verify(heir.id, host)
    issued = await eventually(lambda: _issued(land, host, project=heir.id), within=40)
    await theirs.api.close()

    assert lapsing["project_id"] == shop.id
    assert issued["next_renewal_at"] is not None


async def test_who_takes_a_domain_over_gets_a_certificate_of_their_own(land: Land, slug: str) -> None:
    """A domain that moves to other people by TXT takes no certificate along, and leaves none that is renewed."""
    shop = await land.shop(slug)
    host = f"www.{slug}.example"
    await land.set(await land.add(shop.id, host), "routing")
    await land.verify(shop.id, host)
    await eventually(lambda: _issued(land, host), within=40)
    theirs, heir = await _stranger(land, f"{slug}-2")
    wanted = await theirs.add(heir.id, host)
    await theirs.set(wanted, "ownership")
    await theirs.set(wanted, "routing")
    taken = await theirs.verify(heir.id, host)
    issued = await eventually(lambda: _issued(land, host, project=heir.id), within=40)
    owners = await land.db.all("SELECT project_id FROM domains WHERE owned_hostname = %s", host)
    await theirs.api.close()

    assert taken["status"] == "verified"
    assert issued["project_id"] == heir.id
    assert [one["project_id"] for one in owners] == [heir.id]


async def test_a_lost_name_among_others_is_renewed_no_more_by_who_lost_it(land: Land, slug: str) -> None:
    """My certificate has a name that others proved to be theirs: it is not revoked, and I read what to ask for now."""
    shop = await land.shop(slug)
    mine, lost = f"www.{slug}.example", f"shop.{slug}.example"
    await _certified(land, shop, mine, lost)
    theirs, heir = await _stranger(land, f"{slug}-2")
    wanted = await theirs.add(heir.id, lost)
    await theirs.set(wanted, "ownership")
    await theirs.verify(heir.id, lost)
    stopped = await eventually(lambda: _lapsing(land, mine), within=20)
    refused = await land.api.post(f"/v1/certificates/{mine}/renew")
    [told] = await land.db.all("SELECT detail FROM audit_log WHERE id LIKE %s AND action = %s", f"{mine}.%", _STOPPED)
    await theirs.api.close()

    assert (stopped["status"], stopped["project_id"]) == ("active", shop.id)
    assert (
        f"because {lost} belongs to somebody else now. Ask for a certificate for {mine} alone." in stopped["last_error"]
    )
    assert f"Ask for a certificate for {mine} alone." in told["detail"]
    assert (refused.status, refused.body["code"]) == (409, "certificate_name_lost")
    again = await land.api.post(f"/v1/certificates/{mine}/issue", {"challenge": "http-01", "force": True})
    anew = await eventually(lambda: _alone(land, mine), within=40)
    assert again.status == 202, again
    assert (anew["next_renewal_at"] is not None, anew["last_error"]) == (True, "")


async def test_who_takes_the_first_of_several_names_gets_a_certificate_soon(land: Land, slug: str) -> None:
    """The certificate of whoever had the domain is stopped at once, and gives way when it is looked again."""
    shop = await land.shop(slug)
    lost, kept = f"www.{slug}.example", f"shop.{slug}.example"
    await _certified(land, shop, lost, kept)
    theirs, heir = await _stranger(land, f"{slug}-2")
    wanted = await theirs.add(heir.id, lost)
    await theirs.set(wanted, "ownership")
    await theirs.set(wanted, "routing")
    await theirs.verify(heir.id, lost)
    stopped = await eventually(lambda: _lapsing(land, lost), within=20)
    await theirs.verify(heir.id, lost)
    issued = await eventually(lambda: _issued(land, lost, project=heir.id), within=40)
    await theirs.api.close()

    assert f"Ask for a certificate for {kept} alone." in stopped["last_error"]
    assert (issued["project_id"], issued["names"]) == (heir.id, f'["{lost}"]')


async def test_a_certificate_that_is_refused_is_told(land: Land, slug: str) -> None:
    """What is asked for by itself has nobody who waits for the answer: the audit log has the refusal."""
    shop = await land.shop(slug)
    host = f"www.{slug}.example"
    theirs, heir = await _stranger(land, f"{slug}-2")
    await theirs.set(await theirs.add(heir.id, host), "routing")
    await theirs.verify(heir.id, host)
    await eventually(lambda: _issued(land, host, project=heir.id), within=40)
    # The list has lost sight of it; the certificate itself is still that of others.
    await land.db.execute("DELETE FROM certificate_domains WHERE domain = %s", host)
    wanted = await land.add(shop.id, host)
    await land.set(wanted, "routing")
    await land.set(wanted, "ownership")
    await land.verify(shop.id, host)
    actions = await eventually(lambda: _told(land, shop.id, "domain.certificate_refused"), within=20)
    await theirs.api.close()

    assert actions == ["domain.added", "domain.verified", "domain.certificate_refused"]


async def test_others_do_not_see_and_verify_my_domains(land: Land, slug: str) -> None:
    """A domain of another workspace does not exist for me, whatever I ask of it."""
    shop = await land.shop(slug)
    host = f"www.{slug}.example"
    await land.add(shop.id, host)
    theirs, _ = await _stranger(land, f"{slug}-2")
    path = f"/v1/projects/{shop.id}/domains/{host}"
    answers = [await theirs.api.get(path), await theirs.api.post(f"{path}/verify"), await theirs.api.delete(path)]
    await theirs.api.close()

    assert [(one.status, one.body["code"]) for one in answers] == [(404, "project_not_found")] * 3
    assert (await land.show(shop.id, host))["status"] == "pending"


async def _stranger(land: Land, slug: str) -> tuple[Land, Shop]:
    """The same stack as people of another workspace see it, with a project of theirs."""
    key = await key_of(land.stack, workspace=f"ws-{slug}", person="eve@example.org", role=Role.OPERATOR)
    theirs = land._replace(api=land.api.with_key(key))
    return theirs, await theirs.shop(slug)


async def _certified(land: Land, shop: Shop, domain: str, *names: str) -> None:
    """Have domains verified, and one certificate for all of them."""
    for host in (domain, *names):
        await land.set(await land.add(shop.id, host), "routing")
        await land.verify(shop.id, host)
    await eventually(lambda: _issued(land, domain), within=40)
    asked = await land.api.post(
        f"/v1/certificates/{domain}/issue", {"challenge": "http-01", "names": list(names), "force": True}
    )
    assert asked.status == 202, asked

    async def together() -> bool:
        row = await _issued(land, domain)
        assert row["names"].count(",") == len(names), row
        return True

    await eventually(together, within=40)


async def _alone(land: Land, domain: str) -> dict[str, Any]:
    """The certificate, once it is for this name alone."""
    row = await _issued(land, domain)
    assert row["names"] == f'["{domain}"]', row
    return row


async def _told(land: Land, project: str, action: str) -> list[str]:
    """The actions of a project's domains, once this one is among them."""
    actions = await land.actions(project)
    assert action in actions, actions
    return actions


async def _certificate(land: Land, host: str) -> dict[str, Any] | None:
    row = await land.db.one("SELECT * FROM certificate_domains WHERE domain = %s", host)
    return None if row is None else dict(row)


async def _issued(land: Land, host: str, *, project: str | None = None) -> dict[str, Any]:
    row = await _certificate(land, host)
    assert row is not None
    assert row["status"] == "active", row
    assert project in {None, row["project_id"]}, row
    return row


async def _lapsing(land: Land, host: str) -> dict[str, Any]:
    row = await _certificate(land, host)
    assert row is not None
    assert row["next_renewal_at"] is None, row
    return row

"""After everything was used, no secret is anywhere in clear but where it must be."""

from tests.integration.certs.authority import new_key
from tests.support.certified import Site
from tests.support.secret_search import Leak, forms_of_key, leaks, places_of, secrets_of
from tests.support.waiting import eventually


async def test_no_secret_is_written_anywhere_in_clear(site: Site, slug: str) -> None:
    """No key, no secret of DNS or of a CA, no API key: not in the database, the journal, a log or a metric."""
    await _use_everything(site, slug)

    secrets = await secrets_of(site)
    searched = {place.name: (len(place.content), leaks(place, secrets)) async for place in places_of(site)}

    assert [leak for _, found in searched.values() for leak in found] == []
    # It was searched where something is.
    for name in ("table certificates", "table audit_log", "engine's sys_journal", "engine's state", "log worker.log"):
        assert searched[name][0] > 1000, searched
    assert sum(name.startswith("key of") for name in secrets) >= 5


async def test_the_search_finds_what_is_there(site: Site, slug: str) -> None:
    """A key that somebody writes into a reason is found in the database, in the journal and in the state."""
    pem = new_key()
    planted = {"planted": forms_of_key(pem)}
    line = max(pem.decode().splitlines(), key=len)
    second = pem.decode().splitlines()[2]
    project = await site.api.project(slug)
    asked = await site.api.schedule(project, slug, "72h", reason=f"{line} {second}")
    assert asked.status == 202, asked
    log = site.stack.root / "logs" / "planted.log"
    log.write_bytes(pem)

    async def found() -> set[str]:
        places = {leak.place async for place in places_of(site) for leak in leaks(place, planted)}
        assert places >= {"table audit_log", "engine's sys_journal", "engine's state", "log planted.log"}, places
        return places

    try:
        assert await eventually(found, within=20)
        assert Leak("log planted.log", "some private key") in [
            leak async for place in places_of(site) for leak in leaks(place, planted)
        ]
    finally:
        log.unlink()


async def _use_everything(site: Site, slug: str) -> None:
    """Every challenge, every CA, a renewal, a disclosed key, a download, a change of an account's key."""
    plain, alpn, wild, strict = (f"{word}.{slug}.example.test" for word in ("plain", "alpn", "wild", "strict"))
    await site.issue(plain, "http-01")
    await site.issue(alpn, "tls-alpn-01")
    wild = f"*.{slug}.dyn.test"
    await site.issue(wild, "dns-01")
    await site.issue(strict, "http-01", ca="strict")
    await site.issue(f"c.{strict}", "http-01", ca="careful")
    await site.api.post(f"/v1/certificates/{plain}/renew")
    await site.until(plain, lambda shown: shown["versions"][0]["number"] == 2 and shown["status"] == "active")
    await site.api.post(f"/v1/certificates/{alpn}/revoke", {"reason": "key_compromise"})
    await site.until(alpn, lambda shown: shown["versions"][0]["number"] == 2 and shown["status"] == "active")
    taken = await site.api.post(f"/v1/certificates/{plain}/key")
    assert taken.status == 200, taken
    changed = await site.api.post("/v1/authorities/strict/account/rollover")
    assert changed.status == 200, changed

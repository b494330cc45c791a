"""TXT records in a real BIND: published, seen, removed; and everything that stands in the way."""

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lifecycle.certs.configuration import Certificates, Zone
from lifecycle.certs.dns import (
    NotVisible,
    Published,
    Publisher,
    Reason,
    Removed,
    Unpublishable,
    Unreachable,
    Visible,
)
from lifecycle.errors import Code, LifecycleError
from tests.integration.certs.authority import expect
from tests.support.dns import Served, served


@pytest.fixture(scope="module")
async def name_server() -> AsyncIterator[Served]:
    """A BIND with the zones of `tests.support.dns`."""
    async with served() as opened:
        yield opened


@pytest.fixture
def publisher(name_server: Served) -> Publisher:
    """May publish in two of them."""
    return Publisher(name_server.configuration)


def _only(zone: Zone, name_server: Served) -> Publisher:
    return Publisher(Certificates(resolvers=(name_server.bind.address,), zone=(zone,)))


async def test_a_value_is_published_seen_and_removed(publisher: Publisher) -> None:
    """What is published is on the authoritative server at once, and is gone when it is removed."""
    published = expect(Published, await publisher.publish("_acme-challenge.dyn.test", "proof"))

    assert published == Published(record="_acme-challenge.dyn.test", zone="dyn.test")
    assert expect(Visible, await publisher.is_visible(published.record, "proof")).servers == ("ns.dyn.test",)

    expect(Removed, await publisher.remove(published.record, published.zone, "proof"))

    assert "has no TXT record" in expect(NotVisible, await publisher.is_visible(published.record, "proof")).why
    expect(Removed, await publisher.remove(published.record, published.zone, "proof"))


async def test_values_stand_side_by_side_and_go_one_by_one(publisher: Publisher) -> None:
    """A name and its wildcard are proved at the same record; removing one proof leaves the other."""
    name = "_acme-challenge.dyn.test"
    await publisher.publish(name, "of-the-name")
    await publisher.publish(name, "of-the-wildcard")

    await publisher.remove(name, "dyn.test", "of-the-name")

    expect(Visible, await publisher.is_visible(name, "of-the-wildcard"))
    assert "not among them" in expect(NotVisible, await publisher.is_visible(name, "of-the-name")).why
    await publisher.remove(name, "dyn.test", "of-the-wildcard")


async def test_publishing_again_changes_nothing(publisher: Publisher) -> None:
    """A step that was carried out and forgotten may be repeated, fifty times if need be."""
    name = "_acme-challenge.dyn.test"

    for _ in range(50):
        expect(Published, await publisher.publish(name, "the-same"))

    expect(Visible, await publisher.is_visible(name, "the-same"))
    expect(Removed, await publisher.remove(name, "dyn.test", "the-same"))
    expect(NotVisible, await publisher.is_visible(name, "the-same"))


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("_acme-challenge.www.corp.test", "www.corp.test.acme.test"),
        ("_acme-challenge.two.corp.test", "two.corp.test.acme.test"),
    ],
)
async def test_a_cname_leads_to_the_zone_that_we_may_change(publisher: Publisher, name: str, record: str) -> None:
    """Whoever delegates the validation name needs to give us no power over the zone itself."""
    published = expect(Published, await publisher.publish(name, "proof"))

    assert published == Published(record=record, zone="acme.test")
    expect(Visible, await publisher.is_visible(published.record, "proof"))
    expect(Removed, await publisher.remove(published.record, published.zone, "proof"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("_acme-challenge.corp.test", "No zone of ours holds _acme-challenge.corp.test."),
        (
            "_acme-challenge.lost.corp.test",
            "No zone of ours holds lost.elsewhere.example, where _acme-challenge.lost.corp.test leads.",
        ),
    ],
)
async def test_a_name_in_no_zone_of_ours_is_refused_before_the_ca_is_asked(
    publisher: Publisher, name: str, text: str
) -> None:
    """The refusal names the record, and says what to set."""
    with pytest.raises(LifecycleError, match="holds") as refused:
        await publisher.zone_for(name)

    assert refused.value.code is Code.CERTIFICATE_ZONE_MISSING
    assert str(refused.value) == text
    verdict = expect(Unpublishable, await publisher.publish(name, "proof"))
    assert (verdict.reason, verdict.why.startswith(text), "CNAME" in verdict.why) == (Reason.NO_ZONE, True, True)


async def test_the_longest_zone_is_chosen(name_server: Served) -> None:
    """Of two zones of ours that hold a name, the nearer one is changed."""
    parent = Zone(name="test", server="127.0.0.1:1", key_name="x", key_file=name_server.bind.key_file("dyn-key"))
    configuration = Certificates(
        resolvers=(name_server.bind.address,), zone=(parent, name_server.zone("dyn.test", "dyn-key"))
    )

    assert expect(Published, await Publisher(configuration).publish("_acme-challenge.dyn.test", "a")).zone == "dyn.test"
    await Publisher(configuration).remove("_acme-challenge.dyn.test", "dyn.test", "a")


@pytest.mark.parametrize("content", [None, "", "not base64!", b"\xff\xfe"])
async def test_a_key_file_that_holds_no_key_is_refused_early(
    name_server: Served, content: str | bytes | None, tmp_path: Path
) -> None:
    """It is said which file it is, and never what is in it."""
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    zone = name_server.zone("dyn.test", "dyn-key").model_copy(update={"key_file": file})

    with pytest.raises(LifecycleError, match=str(file)) as refused:
        await _only(zone, name_server).zone_for("_acme-challenge.dyn.test")

    assert refused.value.code is Code.CERTIFICATE_ZONE_CREDENTIALS
    assert "not base64!" not in str(refused.value)
    verdict = await _only(zone, name_server).publish("_acme-challenge.dyn.test", "proof")
    assert expect(Unpublishable, verdict).reason is Reason.NO_CREDENTIALS


async def test_a_zone_without_a_server_is_refused_early(name_server: Served) -> None:
    """A zone that lacks something in the file is found before the CA is asked."""
    with pytest.raises(LifecycleError, match="lacks its server, key_name or key_file"):
        await _only(Zone(name="dyn.test"), name_server).zone_for("_acme-challenge.dyn.test")


async def test_a_key_name_that_is_none_is_refused_early(name_server: Served) -> None:
    """A slip in the file is said to be one."""
    zone = name_server.zone("dyn.test", "dyn-key").model_copy(update={"key_name": "a..b"})

    verdict = expect(Unpublishable, await _only(zone, name_server).publish("_acme-challenge.dyn.test", "proof"))

    assert "key_name a..b is no name" in verdict.why


async def test_a_key_may_change_what_it_was_granted_and_nothing_else(publisher: Publisher) -> None:
    """What the server's policy does not grant is refused for good, with the line that would grant it."""
    verdict = expect(Unpublishable, await publisher.publish("_acme-challenge.further.dyn.test", "proof"))

    assert verdict.reason is Reason.REFUSED
    assert "grant dyn-key name _acme-challenge.further.dyn.test. TXT" in verdict.why


async def test_another_secret_is_refused(name_server: Served, tmp_path: Path) -> None:
    """A wrong secret is told from a wrong name, and appears nowhere."""
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    (tmp_path / "key").write_text(secret)
    zone = name_server.zone("dyn.test", "dyn-key").model_copy(update={"key_file": tmp_path / "key"})

    verdict = expect(Unpublishable, await _only(zone, name_server).publish("_acme-challenge.dyn.test", "proof"))

    assert verdict.reason is Reason.REFUSED
    assert "another secret for the key dyn-key" in verdict.why
    assert secret not in repr((verdict, zone, _only(zone, name_server)))


@pytest.mark.parametrize(
    "change", [{"key_name": "nobody"}, {"key_algorithm": "hmac-sha512"}], ids=["name", "algorithm"]
)
async def test_an_unknown_key_is_refused(name_server: Served, change: dict[str, str]) -> None:
    """A key that the server does not have is said to be unknown."""
    zone = name_server.zone("dyn.test", "dyn-key").model_copy(update=change)

    verdict = expect(Unpublishable, await _only(zone, name_server).publish("_acme-challenge.dyn.test", "proof"))

    assert "does not know the key" in verdict.why


async def test_a_zone_that_the_server_does_not_have(name_server: Served) -> None:
    """A zone whose name is not that of a real zone is said to be none."""
    zone = name_server.zone("sub.dyn.test", "dyn-key")

    verdict = expect(Unpublishable, await _only(zone, name_server).publish("_acme-challenge.sub.dyn.test", "proof"))

    assert "does not hold this zone" in verdict.why


async def test_a_server_that_is_away_may_be_back(name_server: Served) -> None:
    """Nobody there is no refusal: the same may work later."""
    zone = name_server.zone("dyn.test", "dyn-key").model_copy(update={"server": "127.0.0.1:1"})

    verdict = await _only(zone, name_server).publish("_acme-challenge.dyn.test", "proof")

    assert "cannot be reached" in expect(Unreachable, verdict).why


async def test_an_answer_that_anybody_could_have_sent_is_not_believed(name_server: Served) -> None:
    """A good answer without the server's signature is as good as none."""

    async def agree(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(2), "big")
        question = await reader.readexactly(length)
        # NOERROR to an update, and the zone that it is about.
        answer = question[:2] + b"\xa8\0" + b"\0\1" + bytes(6) + b"\3dyn\4test\0\0\6\0\1"
        writer.write(len(answer).to_bytes(2, "big") + answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(agree, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    zone = name_server.zone("dyn.test", "dyn-key").model_copy(update={"server": f"127.0.0.1:{port}"})
    async with server:
        verdict = await _only(zone, name_server).publish("_acme-challenge.dyn.test", "proof")

    assert "cannot be trusted: response requires a TSIG" in expect(Unreachable, verdict).why


async def test_more_values_than_a_datagram_holds(publisher: Publisher) -> None:
    """Values that were left behind, however many, hide none."""
    name = "_acme-challenge.dyn.test"
    values = [f"{number:043}" for number in range(60)]

    for value in values:
        await publisher.publish(name, value)

    for value in values[:3] + values[-3:]:
        expect(Visible, await publisher.is_visible(name, value))
    for value in values:
        expect(Removed, await publisher.remove(name, "dyn.test", value))


async def test_removal_of_a_zone_that_is_no_longer_ours(name_server: Served) -> None:
    """A zone that was taken out of the file is no reason to try for ever."""
    verdict = await Publisher(Certificates(resolvers=(name_server.bind.address,))).remove("a.test", "test", "proof")

    assert expect(Unpublishable, verdict).reason is Reason.NO_ZONE


async def test_a_rehearsal_changes_nothing(publisher: Publisher) -> None:
    """Whether we may publish is found out without publishing."""
    allowed = await publisher.zone_for("_acme-challenge.dyn.test")
    forbidden = await publisher.zone_for("_acme-challenge.further.dyn.test")
    assert not isinstance(allowed, Unreachable)
    assert not isinstance(forbidden, Unreachable)

    assert await publisher.rehearse(allowed) is None
    assert "does not let the key" in expect(Unpublishable, await publisher.rehearse(forbidden)).why

"""Whatever dies or is changed behind our back, visitors get the certificates of the database, or get them again."""

import shutil
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import pytest

from lifecycle.deploy.gateway import Bundle, Difference, Differences, GatewayDownError
from lifecycle.deploy.gateway.runtime import Runtime
from tests.integration.gateway.conftest import Site
from tests.integration.gateway.issued import bundle, serial

_HOST = "www.example.com"


class Kept:
    """The database: the wanted certificates, and which of them had to be opened."""

    def __init__(self, *bundles: Bundle) -> None:
        self.bundles = {one.name: one for one in bundles}
        self.opened: list[str] = []
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def read(self) -> Mapping[str, int]:
        """The wanted versions."""
        versions = {name: one.version for name, one in self.bundles.items()}
        if self.meanwhile is not None:
            await self.meanwhile()
        return versions

    async def open(self, name: str) -> Bundle | None:
        """One certificate with its key."""
        self.opened.append(name)
        return self.bundles.get(name)


def _paths(site: Site, name: str) -> Iterator[Path]:
    return (site.haproxy.folder / "certificates").glob(f"{name.replace('*', '_')}.*.pem")


def _path(site: Site, name: str) -> str:
    (path,) = _paths(site, name)
    return str(path)


def _tell(site: Site, *words: str, text: str | None = None) -> None:
    """What a person with the socket might do."""
    with Runtime(site.haproxy.folder).opened(time.monotonic() + 10) as session:
        if text is None:
            session.ask([words])
        else:
            session.hand_over(words, text)


async def _serials(site: Site, kept: Kept) -> dict[str, bool]:
    return {name: await site.serial(name) == serial(one) for name, one in kept.bundles.items()}


@pytest.fixture
async def kept(site: Site) -> Kept:
    """Three certificates, all of them served."""
    made = Kept(bundle(_HOST), bundle("*.example.com", version=7), bundle("example.com", "a.example.com", version=2))
    await site.gateway.certificates.synchronise(made.read, made.open)
    made.opened.clear()
    return made


async def test_nothing_differs_after_synchronising(site: Site, kept: Kept) -> None:
    """What was brought in order stays so: the next look finds nothing, and opens no key."""
    assert await _serials(site, kept) == dict.fromkeys(kept.bundles, True)
    assert await site.gateway.certificates.compare(kept.read) == Differences()
    assert await site.gateway.certificates.synchronise(kept.read, kept.open) == Differences()
    assert kept.opened == []


async def test_a_restart_alone_shows_the_same(site: Site, kept: Kept) -> None:
    """The gateway is killed and started again while our control plane is not there: every certificate is there."""
    await site.gateway.close()
    await site.haproxy.child.kill()
    await site.haproxy.start_alone()

    assert await _serials(site, kept) == dict.fromkeys(kept.bundles, True)


async def test_a_renewal_while_it_is_down_counts_from_its_start(site: Site, kept: Kept) -> None:
    """A certificate that the gateway could not be told is shown when it is started again, with nobody's help."""
    await site.haproxy.child.kill()
    kept.bundles[_HOST] = bundle(_HOST, version=2)
    with pytest.raises(GatewayDownError, match=r"admin\.sock"):
        await site.gateway.certificates.install(kept.bundles[_HOST])
    with pytest.raises(GatewayDownError):
        await site.gateway.certificates.remove("*.example.com")
    with pytest.raises(GatewayDownError, match="no TLS handshake"):
        await site.serial(_HOST)
    with pytest.raises(GatewayDownError):
        await site.gateway.certificates.compare(kept.read)
    await site.haproxy.start_alone()
    del kept.bundles["*.example.com"]

    assert await site.serial("b.example.com") is None
    assert await _serials(site, kept) == dict.fromkeys(kept.bundles, True)
    assert await site.gateway.certificates.compare(kept.read) == Differences()


async def test_files_are_mended_while_it_is_down(site: Site, kept: Kept) -> None:
    """While the gateway is down, the files are brought in order for its next start."""
    await site.haproxy.child.kill()
    kept.bundles["new.example.org"] = bundle("new.example.org")
    kept.bundles[_HOST] = bundle(_HOST, version=2)
    del kept.bundles["*.example.com"]
    with pytest.raises(GatewayDownError):
        await site.gateway.certificates.synchronise(kept.read, kept.open)
    await site.haproxy.start_alone()

    assert await _serials(site, kept) == dict.fromkeys(kept.bundles, True)
    assert await site.gateway.certificates.compare(kept.read) == Differences()


async def test_what_changed_in_the_database_follows(site: Site, kept: Kept) -> None:
    """Renewals, new certificates and removals that the gateway missed are brought to it; only these are opened."""
    kept.bundles["new.example.org"] = bundle("new.example.org")
    kept.bundles[_HOST] = bundle(_HOST, version=2)
    del kept.bundles["*.example.com"]
    compared = await site.gateway.certificates.compare(kept.read)
    found = (await site.gateway.certificates.synchronise(kept.read, kept.open)).found

    assert compared.found == (
        Difference("files", "certificates", "*.example.com", None, "7"),
        Difference("files", "certificates", "new.example.org", "1", None),
        Difference("files", "certificates", _HOST, "2", "1"),
    )
    assert set(compared.found) < set(found)
    assert {(one.key, one.wanted, one.found) for one in found if one.place == "haproxy"} == {
        ("*.example.com", None, "7"),
        ("new.example.org", "1", None),
        (_HOST, "2", "1"),
    }
    assert sorted(kept.opened) == ["new.example.org", _HOST]
    assert await _serials(site, kept) == dict.fromkeys(kept.bundles, True)
    assert await site.serial("b.example.com") is None


async def test_what_somebody_changed_in_haproxy_is_mended(site: Site, kept: Kept) -> None:
    """Whatever is changed in the running gateway by hand is found, named, and put right from its files."""
    folder, listed = site.haproxy.folder, f"{site.haproxy.folder}/certificates.list"
    path, foreign = _path(site, _HOST), bundle(_HOST)
    for words, text, key in (
        (("del", "ssl", "crt-list", listed, path), None, _HOST),
        (("add", "ssl", "crt-list", listed), f"{path} more.example.com\n", _HOST),
        (("set", "ssl", "cert", path), foreign.pem.decode(), _HOST),
        (("new", "ssl", "cert", f"{folder}/certificates/x.pem"), None, f"{folder}/certificates/x.pem"),
    ):
        _tell(site, *words, text=text)
        if words[0] == "set":
            _tell(site, "commit", *words[1:])
        compared = await site.gateway.certificates.compare(kept.read)
        mended = await site.gateway.certificates.synchronise(kept.read, kept.open)

        assert [(one.place, one.key) for one in compared.found] == [("haproxy", key)], words
        assert mended == compared
        assert await site.gateway.certificates.compare(kept.read) == Differences()
        assert await _serials(site, kept) == dict.fromkeys(kept.bundles, True)
        assert await site.serial("more.example.com") == serial(kept.bundles["*.example.com"])
    assert kept.opened == []


def _remove(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    path.write_text("")


def _confuse(path: Path) -> None:
    path.write_text("nonsense\n\x00\n")


def _expose(path: Path) -> None:
    path.chmod(0o644)


@pytest.mark.parametrize("damage", [_remove, _empty, _confuse, _expose])
async def test_a_damaged_file_is_mended(site: Site, kept: Kept, damage: Callable[[Path], None]) -> None:
    """A file that was lost, overwritten or shown to others is written anew, so that the next start is right."""
    damage(Path(_path(site, _HOST)))
    found = (await site.gateway.certificates.synchronise(kept.read, kept.open)).found

    assert found == (Difference("files", "certificates", _HOST, "1", "damaged"),)
    assert kept.opened == [_HOST]
    assert Path(_path(site, _HOST)).stat().st_mode & 0o777 == 0o600
    await _restart_and_compare(site, kept)


@pytest.mark.parametrize("damage", [_remove, _empty, _confuse])
async def test_a_damaged_list_is_mended(site: Site, kept: Kept, damage: Callable[[Path], None]) -> None:
    """The same for the list of all certificates."""
    damage(site.haproxy.folder / "certificates.list")
    found = (await site.gateway.certificates.synchronise(kept.read, kept.open)).found

    assert {one.key for one in found} >= {*kept.bundles, "certificates.list"}
    await _restart_and_compare(site, kept)


async def test_a_line_in_the_list_and_a_file_that_are_not_ours_are_removed(site: Site, kept: Kept) -> None:
    """What somebody, or a killed worker, left in the folder does not stay."""
    folder = site.haproxy.folder
    shutil.copy(_path(site, _HOST), folder / "certificates" / "left.pem.part")
    with (folder / "certificates.list").open("a") as file:
        file.write(f"{_path(site, _HOST)} more.example.org\n")
    found = (await site.gateway.certificates.synchronise(kept.read, kept.open)).found

    assert {one.key for one in found} == {"certificates.list", "left.pem.part"}
    assert not (folder / "certificates" / "left.pem.part").exists()
    await _restart_and_compare(site, kept)


async def _restart_and_compare(site: Site, kept: Kept) -> None:
    assert await site.gateway.certificates.compare(kept.read) == Differences()
    await site.haproxy.child.kill()
    await site.haproxy.start_alone()
    assert await site.gateway.certificates.compare(kept.read) == Differences()
    assert await _serials(site, kept) == dict.fromkeys(kept.bundles, True)


async def test_a_lost_folder_is_made_again(site: Site, kept: Kept) -> None:
    """The whole folder is lost: `lifecycle gateway`, a start, and the next sweep bring everything back."""
    await site.haproxy.child.kill()
    shutil.rmtree(site.haproxy.folder)
    await site.haproxy.start()
    await site.gateway.certificates.synchronise(kept.read, kept.open)

    assert await _serials(site, kept) == dict.fromkeys(kept.bundles, True)


async def test_a_renewal_during_a_sweep_is_not_undone(site: Site, kept: Kept) -> None:
    """The sweep read the database before a renewal, and writes after it: the renewal stays."""
    renewed, new = bundle(_HOST, version=2), bundle("new.example.org")

    async def meanwhile() -> None:
        for one in (renewed, new):
            await site.gateway.certificates.install(one)

    kept.meanwhile = meanwhile
    kept.bundles["other.example.org"] = bundle("other.example.org")
    differences = await site.gateway.certificates.synchronise(kept.read, kept.open)

    assert differences.overtaken == ("new.example.org", _HOST)
    assert {one.key for one in differences.found} == {"other.example.org"}
    assert await site.serial(_HOST) == serial(renewed)
    assert await site.serial("new.example.org") == serial(new)


async def test_a_database_from_a_backup_wins(site: Site, kept: Kept) -> None:
    """After the database was restored, the gateway follows it, also where it had newer certificates."""
    await site.gateway.certificates.install(bundle(_HOST, version=9))
    await site.gateway.certificates.synchronise(kept.read, kept.open)

    assert await _serials(site, kept) == dict.fromkeys(kept.bundles, True)


async def test_one_bad_certificate_does_not_keep_the_others_away(site: Site, kept: Kept) -> None:
    """A certificate that cannot be served is named with every sweep; all others are served, and the gateway starts."""
    good = bundle("good.example.org")
    kept.bundles["bad.example.org"] = Bundle("bad.example.org", 1, good.pem, ("bad.example.org",))
    kept.bundles["good.example.org"] = good
    for _ in range(2):
        found = (await site.gateway.certificates.synchronise(kept.read, kept.open)).found
        assert Difference("files", "certificates", "bad.example.org", "1", None) in found
    await site.haproxy.child.kill()
    await site.haproxy.start_alone()

    assert await site.serial("good.example.org") == serial(good)
    assert await site.serial("bad.example.org") is None


async def test_a_certificate_that_went_while_it_was_to_be_opened(site: Site, kept: Kept) -> None:
    """A domain was deleted during the sweep: it is left alone, and the next sweep finds it in order."""
    kept.bundles["gone.example.org"] = bundle("gone.example.org")

    async def open_bundle(name: str) -> Bundle | None:
        kept.bundles.pop(name)
        return None

    await site.gateway.certificates.synchronise(kept.read, open_bundle)

    assert await site.gateway.certificates.compare(kept.read) == Differences()

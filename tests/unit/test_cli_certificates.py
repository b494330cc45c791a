"""What the command line does with certificates by itself, without a server."""

import stat
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest

from lifecycle import clock
from lifecycle.api import certificates as api
from lifecycle.api.shapes.certificates import RevocationReason
from lifecycle.certs.acme import Reason
from lifecycle.certs.model import Status
from lifecycle.certs.names import ChallengeType
from lifecycle.cli import bulk, certificates, exports, http, issuances, keys, output
from lifecycle.cli.bulk import Line
from lifecycle.cli.http import CommandError
from lifecycle.vault import Vault


def test_the_command_line_knows_the_same_words_as_the_service() -> None:
    """Every challenge and every reason can be named on the command line, and each reason is one that CAs know."""
    assert set(get_args(issuances.Challenge)) == {one.value for one in ChallengeType}
    assert set(get_args(certificates.RevocationReason)) == {one.value for one in RevocationReason}
    assert {one.code for one in RevocationReason} == set(Reason)
    assert set(get_args(certificates.Standing)) == set(get_args(api.ListedStatus)) == {*Status} - {Status.REMOVED}


@pytest.mark.parametrize(
    ("domain", "folder"),
    [("www.example.com", "www.example.com"), ("*.example.com", "_.example.com"), ("192.0.2.7", "192.0.2.7")],
)
def test_a_wildcard_is_exported_into_a_folder_that_a_shell_takes_by_its_word(domain: str, folder: str) -> None:
    """No file name means many, and none is that of another domain: no host name of a certificate has an underscore."""
    assert exports.place(domain) == folder


def test_a_private_file_is_replaced_as_a_whole_and_stays_private(tmp_path: Path) -> None:
    """Whoever reads it meanwhile gets the old or the new one; nobody else may read it; nothing is left beside it."""
    file = tmp_path / "key.pem"
    exports.write_private(file, "old")
    with file.open() as reading:
        exports.write_private(file, "new")
        assert reading.read() == "old"

    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key.pem"]


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    """A folder in the way is an error, and no part of a key lies beside it."""
    (tmp_path / "key.pem" / "x").mkdir(parents=True)
    with pytest.raises(OSError, match=r"key\.pem"):
        exports.write_private(tmp_path / "key.pem", "new")

    assert [path.name for path in tmp_path.iterdir()] == ["key.pem"]


@pytest.mark.parametrize(
    ("away", "said"),
    [
        (timedelta(days=59, hours=3), "in 59 days"),
        (timedelta(hours=5, minutes=3, seconds=0.4), "in 5h 3m"),
        (timedelta(days=-3, minutes=-1), "3 days ago"),
    ],
)
def test_an_expiry_is_told_in_days(away: timedelta, said: str) -> None:
    """Far away in days, near in hours and minutes, and in the past as such."""
    assert output.in_days(clock.rfc3339(clock.now() + away)) == said
    assert output.in_days(None) == ""


def test_a_file_names_a_certificate_in_each_line() -> None:
    """Names are separated as people separate them; comments and empty lines are none, and lines keep their numbers."""
    text = "a.example.com, www.a.example.com\n\n# all of b\n*.b.example.com\tb.example.com  # and itself\r\n,\nc.test"

    assert bulk.lines(text) == (
        Line(1, ("a.example.com", "www.a.example.com")),
        Line(4, ("*.b.example.com", "b.example.com")),
        Line(6, ("c.test",)),
    )


@pytest.mark.parametrize("command", ["'oops", "", " ", "no-such-program-here --now", "/nowhere/reload"])
def test_a_command_that_cannot_be_run_is_refused_before_anything_is_written(tmp_path: Path, command: str) -> None:
    """No key is taken, and no folder made, for an export that could not be finished."""
    with pytest.raises(CommandError, match="Nothing was written") as refused:
        exports.export(tmp_path / "tls", reload=command)

    assert refused.value.refusal
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "a:b", "a b", "a\nb", "#a", "-a", " a", "é", "a" * 65])
def test_a_name_that_would_break_the_key_ring_is_refused(tmp_path: Path, name: str) -> None:
    """A line of the key ring is a name, a colon and the key; a name that would end it earlier makes no key."""
    with pytest.raises(CommandError) as refused:
        keys.new_key(name, tmp_path / "ring")

    assert refused.value.refusal
    assert list(tmp_path.iterdir()) == []


def test_a_new_key_makes_a_key_ring(tmp_path: Path) -> None:
    """What is written can be used at once."""
    keys.new_key("2026-11", tmp_path / "ring")

    assert Vault.parse((tmp_path / "ring").read_text()).keys == ("2026-11",)


@pytest.mark.parametrize("part", ["", ".", ".."])
def test_what_means_a_folder_is_no_id(part: str) -> None:
    """An empty variable of a script, or dots, never lead a command to another resource."""
    with pytest.raises(CommandError) as refused:
        http.quoted(part)

    assert refused.value.refusal


@pytest.mark.parametrize(
    ("status", "error", "away", "said"),
    [
        ("active", "", 59, "renewal in 59 days"),
        ("active", "it failed", 3, "next attempt in 3 days"),
        ("issuing", "it failed", 3, "next attempt in 3 days"),
        ("issuing", "", 0, "under way"),
        ("renewing", "", 0, "under way"),
        ("failed", "it failed", None, ""),
        ("revoked", "", None, ""),
    ],
)
def test_a_list_says_what_comes_next(status: str, error: str, away: int | None, said: str) -> None:
    """Only a renewal is called one: a first certificate, and another attempt, are named as what they are."""
    at = None if away is None else clock.rfc3339(clock.now() + timedelta(days=away, seconds=1 if away else -1))

    assert certificates.next_step({"status": status, "last_error": error, "next_renewal_at": at}) == said

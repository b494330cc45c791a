"""What the command line does with certificates by itself, without a server."""

import stat
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest

from lifecycle import clock
from lifecycle.api.shapes.certificates import RevocationReason
from lifecycle.certs.acme import Reason
from lifecycle.certs.names import ChallengeType
from lifecycle.cli import certificates, exports, output


def test_the_command_line_knows_the_same_words_as_the_service() -> None:
    """Every challenge and every reason can be named on the command line, and each reason is one that CAs know."""
    assert set(get_args(certificates.Challenge)) == {one.value for one in ChallengeType}
    assert set(get_args(certificates.RevocationReason)) == {one.value for one in RevocationReason}
    assert {one.code for one in RevocationReason} == set(Reason)


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

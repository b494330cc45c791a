"""What became of each version of a certificate."""

from datetime import UTC, datetime, timedelta

from lifecycle.api.shapes.certificates import VersionAnswer
from lifecycle.certs.model import Cause
from lifecycle.certs.renewals import Source
from lifecycle.console import lineage

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def version(number: int, *, age: int, in_use: bool = False, life: int = 90) -> VersionAnswer:
    """A version that was issued so many days ago."""
    issued = NOW - age * DAY
    return VersionAnswer(
        number=number,
        ca="pebble",
        issuer="CN=Pebble",
        serial=f"{number:x}",
        not_before=issued,
        not_after=issued + life * DAY,
        issued_at=issued,
        cause=Cause.RENEWAL,
        in_use=in_use,
    )


def states(*versions: VersionAnswer, revoked_at: datetime | None = None) -> list[str]:
    """What became of them, newest first."""
    return [step.state for step in lineage.steps(versions, revoked_at=revoked_at, now=NOW)]


def test_each_version_was_replaced_by_the_next() -> None:
    """The one in use says until when, and every other since when another one took its place."""
    steps = lineage.steps(
        [version(3, age=5, in_use=True), version(2, age=65), version(1, age=125)], revoked_at=None, now=NOW
    )

    assert [step.state for step in steps] == ["in use", "replaced", "replaced"]
    assert [step.at for step in steps] == [NOW + 85 * DAY, NOW - 5 * DAY, NOW - 65 * DAY]


def test_a_version_that_visitors_did_not_get_replaced_nothing() -> None:
    """When the gateway took a new one back, the one before it still counts."""
    assert states(version(2, age=1), version(1, age=60, in_use=True)) == ["not served", "in use"]


def test_what_was_revoked_says_so() -> None:
    """Whether it is still shown as the last one, or not any more."""
    revoked = NOW - DAY

    assert states(version(2, age=9, in_use=True), version(1, age=60), revoked_at=revoked) == ["revoked", "replaced"]
    assert states(version(2, age=9), version(1, age=60), revoked_at=revoked) == ["revoked", "replaced"]


def test_what_nobody_renewed_has_expired() -> None:
    """A version without a follower whose time is over."""
    assert states(version(1, age=120)) == ["expired"]


def test_there_are_words_for_every_cause_and_reason() -> None:
    """No page ever has to show a bare name of ours."""
    assert set(lineage.CAUSES) == set(Cause)
    assert set(lineage.REASONS) == set(Source)

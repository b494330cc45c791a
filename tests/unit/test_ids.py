"""Identifiers are parsed once, at the border."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from lifecycle import ids
from tests.support.profiles import QUICK

SLUG = TypeAdapter[str](ids.Slug)
HOLD = TypeAdapter[str](ids.HoldName)


def test_a_new_id_has_its_prefix_and_is_never_the_same() -> None:
    """Two things never get one id, and newer ids sort behind older ones."""
    made = [ids.new("prj") for _ in range(100)]

    assert len(set(made)) == 100
    assert all(ids.is_project_id(one) for one in made)
    assert made[0][:10] <= made[-1][:10]


@QUICK
@given(st.lists(st.text(max_size=50), min_size=1, max_size=4))
def test_a_derived_id_always_follows_from_its_parts(parts: list[str]) -> None:
    """The same request with the same Idempotency-Key makes the same project."""
    made = ids.derived("prj", *parts)

    assert made == ids.derived("prj", *parts)
    assert ids.is_project_id(made)


def test_other_parts_make_another_id() -> None:
    """Another workspace, key or body is another request, wherever the cut between them is."""
    made = {ids.derived("prj", *parts) for parts in (("a", "b"), ("b", "a"), ("ab",), ("a", "b", ""), ("a",), ())}

    assert len(made) == 6


@pytest.mark.parametrize(
    "text",
    [
        "",
        "shop",
        "prj_",
        "prj_01kahv3q5jc1s6v0n8w2k4m7x",
        "prj_01kahv3q5jc1s6v0n8w2k4m7xzz",
        "PRJ_01KAHV3Q5JC1S6V0N8W2K4M7XZ",
        "prj_01kahv3q5jc1s6v0n8w2k4m7xi",
        "prj_01kahv3q5jc1s6v0n8w2k4m7x/",
        "prj_01kahv3q5jc1s6v0n8w2k4m7xz\n",
        "env_01kahv3q5jc1s6v0n8w2k4m7xz",
        "prj_\u0660\u0661kahv3q5jc1s6v0n8w2k4m7xz",
    ],
)
def test_what_is_no_project_id_never_becomes_a_key(text: str) -> None:
    """Only a well-formed id goes into an address of the engine."""
    assert not ids.is_project_id(text)


@pytest.mark.parametrize("text", ["a", "7", "shop", "my-shop-2", "a" * 40, "a--b"])
def test_a_dns_label_is_a_slug(text: str) -> None:
    """A slug can be part of a host name."""
    assert SLUG.validate_python(text) == text


@pytest.mark.parametrize("text", ["", "-a", "a-", "A", "a_b", "a.b", "a" * 41, "ä", "a b", "shop\n", "xn--é"])
def test_what_no_host_name_can_hold_is_no_slug(text: str) -> None:
    """A slug that would break an address later is refused at once."""
    with pytest.raises(ValidationError):
        SLUG.validate_python(text)


@pytest.mark.parametrize("text", ["a", "legal", "case.17_b-2", "a" * 64])
def test_a_hold_has_a_readable_name(text: str) -> None:
    """Dots, dashes and underscores are fine."""
    assert HOLD.validate_python(text) == text


@pytest.mark.parametrize("text", ["", ".", "a.", "-a", "a/b", "Legal", "a" * 65, "legal\n"])
def test_a_hold_name_that_breaks_a_path_is_refused(text: str) -> None:
    """A name that could not be written into an address is refused."""
    with pytest.raises(ValidationError):
        HOLD.validate_python(text)

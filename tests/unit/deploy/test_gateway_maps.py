"""The text of map files: a change that is cut into it is the same as one made in a table."""

from hypothesis import given
from hypothesis import strategies as st

from lifecycle.deploy.gateway import maps
from tests.support.profiles import QUICK

# Few and alike, so that one is often the beginning or the end of another.
_KEYS = st.sampled_from(["a.b", "aa.b", "a.bb", "b", "a", "b.a.b", "prj_1", "prj_11"])
_VALUES = st.sampled_from(["1", "11", "prj_1/dep_a", "prj_11/dep_a", "prj_1/stopped"])
_ENTRIES = st.dictionaries(_KEYS, _VALUES)


@QUICK
@given(before=_ENTRIES, changes=st.lists(st.dictionaries(_KEYS, st.none() | _VALUES), max_size=4))
def test_any_changes_leave_what_a_table_would_have(
    before: dict[str, str], changes: list[dict[str, str | None]]
) -> None:
    """However hosts are added, moved and removed, the file has exactly what was asked for."""
    text, table = maps.render(before), dict[str, str | None](before)
    for change in changes:
        text = maps.spliced(text, change)
        table |= change
    expected = {key: value for key, value in table.items() if value is not None}

    assert maps.parse(text) == expected
    assert {key: maps.find(text, key) for key in expected} == expected
    assert len(text.splitlines()) == 1 + len(expected)


def test_many_changes_at_once_leave_what_few_would() -> None:
    """Moving thousands of hosts in one change gives the same file as moving them one by one."""
    many = {f"h{n}": f"prj_1/dep_{n}" for n in range(200)}
    gone = dict.fromkeys(list(many)[::2])

    assert maps.parse(maps.spliced(maps.spliced(maps.render({}), many), gone)) == {
        key: value for key, value in many.items() if key not in gone
    }


def test_a_file_in_a_foreign_hand_is_read() -> None:
    """Empty lines, comments, tabs and doubled keys of somebody's editor are read as HAProxy reads them."""
    text = maps.whole("\n# note\na.b \t prj_1/x  \na.b prj_2/y\nalone\n")

    assert maps.parse(text) == {"a.b": "prj_1/x", "alone": ""}


def test_a_target_is_read_as_it_was_written() -> None:
    """Where a deployment's requests go survives the way through the file."""
    for target in (
        maps.Target("prj_1", maps.SINGLE, ("10.0.0.1:80",)),
        maps.Target("prj_1", "pool-0003", ("10.0.0.1:80", "", "10.0.0.2:80")),
    ):
        assert maps.Target.parse(str(target)) == target
    assert maps.Target.parse("nonsense") is None

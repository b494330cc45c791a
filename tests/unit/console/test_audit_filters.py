"""What may be typed into the audit log's field for an action."""

import pytest

from lifecycle.console.audit import action_of
from lifecycle.errors import Code, LifecycleError


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("deletion.scheduled", "deletion.scheduled"),
        ("Deletion scheduled", "deletion.scheduled"),
        (" deletion  scheduled ", "deletion.scheduled"),
        ("Certificate records wanted", "certificate.records_wanted"),
        ("Calendar link created", "calendar_link.created"),
        ("calendar_link.created", "calendar_link.created"),
        ("deletion.*", "deletion.*"),
        ("deletion*", "deletion.*"),
        ("Deletion", "deletion.*"),
        ("calendar link", "calendar_link.*"),
    ],
)
def test_an_action_is_found_as_it_is_written_anywhere(typed: str, meant: str) -> None:
    """As the log shows it, as the API names it, or by its family."""
    assert action_of(typed) == meant


@pytest.mark.parametrize("typed", ["*", "deletion.sch*", "50%", "deletion.scheduled!"])
def test_anything_else_is_explained(typed: str) -> None:
    """What cannot be found is refused with an example, and not with a pattern."""
    with pytest.raises(LifecycleError) as refused:
        action_of(typed)

    assert refused.value.code is Code.INVALID_REQUEST
    assert "write one as 'Deletion scheduled'" in refused.value.message

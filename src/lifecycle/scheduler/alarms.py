"""What the reconciler finds, and whom it has told of it. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from lifecycle.models import Durable


class Finding(Durable):
    """Something that is not as it should be. `hint` says how to mend it.

    Attributes:
        about: which of several that the subject may have one after the other, where that counts.
        untold: nobody could be told of it so far.
    """

    kind: str
    subject: str
    workspace: str | None
    detail: str
    hint: str
    since: datetime
    about: str = ""
    untold: bool = False


class Told(NamedTuple):
    """What a workspace is told: that a finding came, or is gone."""

    action: str
    workspace: str
    finding: Finding


class News(NamedTuple):
    """What people are to be told of now; the findings as they are remembered; what is left."""

    told: Sequence[Told]
    findings: tuple[Finding, ...]
    cleared: tuple[Finding, ...]


def news(
    found: Sequence[Finding], former: Sequence[Finding], *, operators: str | None, operators_unknown: bool
) -> News:
    """What has come and gone since people were last told.

    While nobody can be told, what came stays `untold`, and what went is kept: nobody hears that something is gone of
    which they never heard. Where nobody is to be told, what went is forgotten.

    Args:
        found: what there is now.
        former: what there was, and what is gone since and nobody was told.
        operators: the workspace that is told of what belongs to none.
        operators_unknown: whether that is to be found out later.
    """

    def can_be_told(one: Finding) -> bool:
        return bool(one.workspace or operators)

    def tell(action: str, some: Iterable[Finding]) -> Iterator[Told]:
        for one in some:
            if workspace := one.workspace or operators:
                yield Told(action, workspace, one)

    told = {(one.kind, one.subject): one for one in former if not one.untold}
    present = {(one.kind, one.subject): one for one in found}
    raised = {key: present[key] for key in sorted(present.keys() - told.keys())}
    gone = [told[key] for key in sorted(told.keys() - present.keys())]
    untold = {key for key, one in raised.items() if not can_be_told(one)}
    return News(
        told=[*tell("alarm.raised", raised.values()), *tell("alarm.cleared", gone)],
        findings=tuple(one.model_copy(update={"untold": (one.kind, one.subject) in untold}) for one in found),
        cleared=tuple(one for one in gone if operators_unknown and not can_be_told(one)),
    )

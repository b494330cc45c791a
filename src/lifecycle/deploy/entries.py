"""Turns decisions about deployments into ledger entries. Pure."""

from collections.abc import Iterator, Sequence

from lifecycle.deploy.decision import Transition
from lifecycle.deploy.model import Fleet
from lifecycle.ledger.entry import DeploymentRow, Entry


def entries(project: str, before: Fleet, after: Fleet, transitions: Sequence[Transition]) -> Iterator[Entry]:
    """One entry for each transition; the first one brings the rows of all deployments that changed."""
    changed = tuple(
        DeploymentRow(id=member.id, status=member.status.value, message=member.message)
        for member in after.members
        if before.member(member.id) != member
    )
    for number, transition in enumerate(transitions, start=before.sequence + 1):
        first = number == before.sequence + 1
        yield Entry(
            id=f"{project}.d{number}",
            sequence=number,
            workspace=after.workspace,
            project=project,
            action=transition.action,
            actor=transition.actor,
            at=transition.at,
            detail={"deployment": transition.deployment, **transition.detail},
            deployment_rows=tuple(row.model_copy(update={"sequence": after.sequence}) for row in changed)
            if first
            else (),
        )

"""Turns decisions about projects into ledger entries. Pure."""

from lifecycle.ledger.entry import ActionRow, ActionState, Entry, ProjectRow
from lifecycle.scheduler.deletion_rules import Transition
from lifecycle.scheduler.model import Command, Deletion, Phase, Project

KIND = "project-deletion"


def created_entry(project: Project, command: Command) -> Entry:
    """The first entry of a project."""
    return Entry(
        id=f"{project.id}.1",
        sequence=1,
        workspace=project.workspace,
        project=project.id,
        action="project.created",
        actor=command.actor,
        at=command.now,
        detail={"slug": project.slug, "name": project.name},
    )


def project_entry(project: Project, deletion: Deletion, command: Command) -> Entry:
    """Changed settings."""
    return Entry(
        id=f"{project.id}.{deletion.sequence}",
        sequence=deletion.sequence,
        workspace=project.workspace,
        project=project.id,
        action="project.configured",
        actor=command.actor,
        at=command.now,
        detail={"name": project.name, "protected": project.protected},
        pending_action=_open_action(project, deletion),
        project_row=_project_row(project, deletion),
    )


def deletion_entry(project: Project, before: Deletion, after: Deletion, transition: Transition) -> Entry:
    """A transition of the deletion, with the projections as they stand after it."""
    reminded = transition.action == "deletion.reminded"
    return Entry(
        id=f"{project.id}.{after.sequence}",
        sequence=after.sequence,
        workspace=project.workspace,
        project=project.id,
        action=transition.action,
        actor=transition.actor,
        at=transition.at,
        detail=transition.detail,
        pending_action=_open_action(project, after) or _closed_action(project, before, after),
        # The row is gone when the purge is finished; before that it follows every transition.
        project_row=None if after.phase is Phase.DELETED else _project_row(project, after),
        cancel_generation=after.generation if reminded else None,
    )


def _open_action(project: Project, deletion: Deletion) -> ActionRow | None:
    due_at = deletion.countdown.due_at
    if due_at is None:
        return None
    match deletion.phase:
        case Phase.SCHEDULED:
            state = ActionState.BLOCKED if deletion.blocked_by else ActionState.PENDING
        case Phase.PURGING:
            state = ActionState.RUNNING
        case Phase.DELETED:
            state = ActionState.DONE
        case Phase.NONE:
            return None
    return ActionRow(
        kind=KIND,
        subject=project.id,
        label=project.slug,
        state=state,
        due_at=due_at,
        generation=deletion.generation,
        reason=deletion.reason,
        requested_by=deletion.requested_by.person if deletion.requested_by else "",
    )


def _closed_action(project: Project, before: Deletion, after: Deletion) -> ActionRow | None:
    row = _open_action(project, before)
    if row is None or after.phase is not Phase.NONE:
        return None
    return row.model_copy(update={"state": ActionState.CANCELLED})


def _project_row(project: Project, deletion: Deletion) -> ProjectRow:
    return ProjectRow(
        state=deletion.project_state,
        generation=deletion.generation,
        name=project.name,
        protected=project.protected,
    )

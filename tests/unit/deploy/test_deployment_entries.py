"""What each decision about deployments leaves in the audit log and in the list of deployments."""

from lifecycle.deploy import entries
from lifecycle.deploy.decision import Decision
from lifecycle.deploy.model import Fleet, Status
from lifecycle.ledger.entry import Entry
from tests.support.factories import OLIVIA
from tests.support.fleets import ask, deploy, fleet_of, settle


def recorded(before: Fleet, decision: Decision) -> list[Entry]:
    """The entries of a decision, numbered as the service numbers them."""
    after = decision.fleet.model_copy(update={"sequence": before.sequence + max(1, len(decision.transitions))})
    return list(entries.entries("prj_1", before, after, decision.transitions))


def test_every_transition_has_its_own_entry() -> None:
    """Who did what to which deployment, in order; none is lost when one decision does several things."""
    before = deploy(deploy(Fleet(), 1).fleet, 2, branch="main").fleet.model_copy(update={"sequence": 2})
    found = recorded(before, deploy(before, 3, branch="main"))

    assert [(entry.id, entry.action, entry.sequence) for entry in found] == [
        ("prj_1.d3", "deployment.superseded", 3),
        ("prj_1.d4", "deployment.created", 4),
    ]
    assert [entry.detail["deployment"] for entry in found] == ["dep_2", "dep_3"]
    assert [entry.actor for entry in found] == [None, OLIVIA]
    assert {(entry.workspace, entry.project) for entry in found} == {("ws_1", "prj_1")}


def test_the_first_entry_brings_the_list_up_to_date() -> None:
    """All deployments that changed are written with it, with the number that lets no older state overwrite them."""
    before = deploy(deploy(Fleet(), 1).fleet, 2, branch="main").fleet
    first, second = recorded(before, deploy(before, 3, branch="main"))

    assert [(row.id, row.status, row.sequence) for row in first.deployment_rows] == [
        ("dep_2", Status.SUPERSEDED, 2),
        ("dep_3", Status.QUEUED, 2),
    ]
    assert second.deployment_rows == ()


def test_a_failure_shows_its_message() -> None:
    """People see in the list why a deployment failed."""
    before = deploy(fleet_of(1), 2).fleet
    (entry,) = recorded(before, settle(before, 2, Status.FAILED))

    assert [(row.id, row.status, row.message) for row in entry.deployment_rows] == [("dep_2", "failed", "It is ill.")]


def test_what_changes_nothing_leaves_no_trace() -> None:
    """A repeated click is not recorded again."""
    before = ask("cancel", deploy(Fleet(), 1).fleet, 1).fleet

    assert recorded(before, ask("cancel", before, 1)) == []

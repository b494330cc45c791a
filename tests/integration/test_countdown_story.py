"""Cancel, move, expedite, hold, remind, lose authority: with the real engine and database."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from lifecycle import clock
from lifecycle.access import keys
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Actor, Role
from lifecycle.scheduler import deletion_rules
from lifecycle.scheduler.model import (
    CancelDeletion,
    Deletion,
    ExpediteDeletion,
    Phase,
    PlaceHold,
    Project,
    ReleaseHold,
    RescheduleDeletion,
)
from tests.support.waiting import eventually
from tests.support.workbench import Workbench

SOON = timedelta(seconds=1)
LATER = timedelta(hours=3)


async def test_a_cancelled_deletion_never_runs_and_its_wake_up_is_counted(bench: Workbench) -> None:
    """The wake-up of a cancelled deletion still arrives, and does nothing."""
    project = await bench.project()
    await bench.schedule(project, SOON)
    await _cancel(bench, project)
    deletion = await eventually(lambda: _with_stale(bench, project), within=10)

    assert deletion.phase is Phase.NONE
    assert await bench.audit(project) == ["project.created", "deletion.scheduled", "deletion.cancelled"]


async def test_after_a_cancel_the_same_project_can_be_scheduled_at_once(bench: Workbench) -> None:
    """Cancel, schedule again, and only the second countdown counts."""
    project = await bench.project()
    await bench.schedule(project, SOON)
    await _cancel(bench, project)
    again = await bench.schedule(project, timedelta(seconds=3))
    deleted = await bench.until(project, Phase.DELETED)

    assert again.generation == 3
    assert deleted.generation == 3
    assert deleted.countdown.stale_wakeups == 1
    assert _time(deleted.started_at) >= _time(again.countdown.due_at)


async def test_a_moved_deletion_fires_at_its_new_time_only(bench: Workbench) -> None:
    """Moving leaves the old wake-up behind, in both directions."""
    project = await bench.project()
    await bench.schedule(project, LATER)
    command = RescheduleDeletion(actor=bench.admin, now=clock.now(), grace_seconds=2)
    moved = await bench.client.reschedule_deletion(project.id, command)
    deleted = await bench.until(project, Phase.DELETED)

    assert moved.generation == 2
    assert _time(deleted.started_at) >= _time(moved.countdown.due_at)


async def test_expedite_needs_somebody_else(bench: Workbench) -> None:
    """Delete now is for two people; the receipt names both."""
    project = await bench.project()
    await bench.schedule(project, LATER)
    with pytest.raises(LifecycleError) as refused:
        await bench.client.expedite_deletion(project.id, ExpediteDeletion(actor=bench.admin, now=clock.now()))
    bob = await _administrator(bench, "bob@example.com")
    await bench.client.expedite_deletion(project.id, ExpediteDeletion(actor=bob, now=clock.now()))
    deleted = await bench.until(project, Phase.DELETED)

    assert refused.value.code is Code.SECOND_ADMINISTRATOR_REQUIRED
    assert deleted.expedited_by == bob


async def test_a_hold_stops_the_deletion_and_its_release_gives_fresh_notice(bench: Workbench) -> None:
    """A held deletion stays scheduled past its time; the release never deletes at once."""
    project = await bench.project()
    await bench.schedule(project, SOON)
    hold = PlaceHold(actor=bench.admin, now=clock.now(), name="legal", reason="case 17")
    await bench.client.place_hold(project.id, hold)
    await eventually(lambda: _audited(bench, project, "deletion.blocked"), within=10)
    blocked = await bench.deletion(project)
    released_at = clock.now()
    released = await bench.client.release_hold(
        project.id, ReleaseHold(actor=bench.admin, now=released_at, name="legal")
    )

    assert blocked.phase is Phase.SCHEDULED
    assert blocked.blocked_by == ("legal",)
    assert _time(released.countdown.due_at) == released_at + timedelta(minutes=1)
    await _cancel(bench, project)


async def test_whoever_lost_the_right_does_not_delete(bench: Workbench) -> None:
    """At the due moment the requester must still be an administrator; somebody who is can take over."""
    mallory = await _administrator(bench, "mallory@example.com")
    project = await bench.project()
    await bench._replace(admin=mallory).schedule(project, SOON)
    await keys.revoke(bench.resources.db, key_id=mallory.key, by=bench.admin)
    await eventually(lambda: _audited(bench, project, "deletion.blocked"), within=10)
    blocked = await bench.deletion(project)
    command = RescheduleDeletion(actor=bench.admin, now=clock.now(), grace_seconds=1)
    await bench.client.reschedule_deletion(project.id, command)
    deleted = await bench.until(project, Phase.DELETED)

    assert blocked.blocked_by == ("authority",)
    assert deleted.requested_by == bench.admin


async def test_reminders_go_out_before_the_end_with_a_cancel_link(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """People hear of it twice before it happens, and can cancel with one click."""
    monkeypatch.setattr(deletion_rules, "REMIND_BEFORE", (timedelta(seconds=3), timedelta(seconds=1)))
    project = await bench.project()
    await bench.schedule(project, timedelta(seconds=4))
    deleted = await bench.until(project, Phase.DELETED)
    await eventually(lambda: _audited(bench, project, "deletion.finished"), within=10)
    details = await bench.resources.db.all(
        "SELECT detail FROM audit_log WHERE project_id = %s AND action = 'deletion.reminded'", project.id
    )

    assert [_time(one.sent_at) >= one.at for one in deleted.reminders] == [True, True]
    assert len(details) == 2
    assert all("/cancel/" in row["detail"] for row in details)
    assert deleted.countdown.stale_wakeups == 0


async def test_another_workspace_sees_nothing(bench: Workbench) -> None:
    """A project of another workspace does not exist, for reading and for changing."""
    project = await bench.project()
    stranger = bench.admin.model_copy(update={"workspace": "ws_other"})
    outsider = bench._replace(admin=stranger)
    for attempt in (outsider.deletion(project), outsider.schedule(project, LATER), _cancel(outsider, project)):
        with pytest.raises(LifecycleError) as refused:
            await attempt
        assert refused.value.code is Code.PROJECT_NOT_FOUND


async def _cancel(bench: Workbench, project: Project) -> Any:
    return await bench.client.cancel_deletion(project.id, CancelDeletion(actor=bench.admin, now=clock.now()))


async def _administrator(bench: Workbench, person: str) -> Actor:
    key = await keys.create(
        bench.resources.db, workspace=bench.admin.workspace, person=person, role=Role.ADMINISTRATOR, by=None
    )
    return Actor(workspace=bench.admin.workspace, key=key.id, person=person, role=Role.ADMINISTRATOR)


async def _audited(bench: Workbench, project: Project, action: str) -> bool:
    return action in await bench.audit(project)


async def _with_stale(bench: Workbench, project: Project) -> Deletion | None:
    deletion = await bench.deletion(project)
    return deletion if deletion.countdown.stale_wakeups else None


def _time(moment: datetime | None) -> datetime:
    assert moment is not None
    return moment

"""Alarms of the reconciler reach people."""

from datetime import timedelta

from lifecycle import clock, health
from lifecycle.db import Database
from lifecycle.dev.stack import PERSON, WORKSPACE
from lifecycle.settings import Settings
from tests.integration.notifications.conftest import Post
from tests.support.inside import workspace_named
from tests.support.waiting import eventually


async def test_a_certificate_with_little_life_left_is_told_by_webhook_and_mail(post: Post) -> None:
    """Nobody has to look for it: less than the set share of its life is left, and people hear of it once."""
    hook = await post.webhook("/alarms", "alarm.*")
    db = Database(post.stack.database.url, size=1, deadline=timedelta(seconds=10))
    workspace, now = await workspace_named(post.stack, WORKSPACE), clock.now()
    domain = "ending.example.com"
    try:
        await db.execute(
            "INSERT INTO certificates (id, domain, version, workspace_id, issuance_id, serial, issuer, not_before, "
            "not_after, cause, chain, key_digest, sealed_key, project_id, ca, names, status, created_at) VALUES "
            "('crt_end', %s, 1, %s, 'iss_end', '', '', %s, %s, '', '', '', '', NULL, '', '[]', 'served', %s)",
            domain,
            workspace,
            now - timedelta(days=99),
            now + timedelta(days=1),
            now,
        )
        await db.execute(
            "INSERT INTO certificate_domains (domain, workspace_id, names, challenge, status, next_renewal_at, "
            "last_error, sequence, updated_at) VALUES (%s, %s, '[]', '', 'renewing', %s, 'The CA is down.', 1, %s)",
            domain,
            workspace,
            now,
            now,
        )
        (raised,) = await post.came("/alarms", "alarm.raised")
        (mail,) = await eventually(lambda: post.mail.to(PERSON, "alarm.raised"), within=10)
        await db.execute("DELETE FROM certificates WHERE id = 'crt_end'")
        await post.came("/alarms", "alarm.cleared")
    finally:
        await db.execute("DELETE FROM certificates WHERE id = 'crt_end'")
        await db.execute("DELETE FROM certificate_domains WHERE domain = %s", domain)
        await db.close()

    detail = raised.verified(hook["secret"])["data"]["detail"]
    assert (detail["kind"], detail["subject"]) == ("certificate_running_out", domain)
    assert "The CA is down." in detail["detail"]
    assert mail["Subject"].strip() == f"[Lifecycle] Alarm: certificate_running_out ({domain})"
    assert len(post.receiver.at("/alarms", "alarm.raised")) == 1


async def test_a_workspace_for_alarms_that_there_is_not_is_seen_by_the_doctor(post: Post) -> None:
    """A slip in the setting would otherwise show when an alarm reaches nobody."""
    db = Database(post.stack.database.url, size=1, deadline=timedelta(seconds=10))
    try:
        (right,), (wrong,), none = [
            await health.check_notifications(Settings(notification_workspace=name), db)
            for name in (WORKSPACE, f"{WORKSPACE}x", None)
        ]
    finally:
        await db.close()

    assert (right.ok, wrong.ok, none) == (True, False, [])
    assert wrong.detail == f"there is no workspace {WORKSPACE}x"
    assert "LIFECYCLE_NOTIFICATION_WORKSPACE" in wrong.hint

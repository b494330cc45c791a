"""Looks at the CA's renewal window that got lost in the engine."""

from collections.abc import Sequence

import aiohttp

from tests.support.issuer import Desk, fresh_name
from tests.support.waiting import eventually


async def test_a_look_that_was_removed_from_the_engine_is_armed_again(desk: Desk) -> None:
    """An operator's bulk cancel does not keep us from hearing that the CA wants the certificate renewed."""
    domain = fresh_name()
    await desk.ask(domain)
    await desk.ends(domain)
    before = await eventually(lambda: _timers(desk, domain), within=10)
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        for timer in before:
            async with session.patch(f"{desk.stack.engine.admin_url}/invocations/{timer}/kill"):
                pass
    again = await eventually(lambda: _timers(desk, domain), within=20)

    assert set(before).isdisjoint(again)
    assert len(again) == 1


async def _timers(desk: Desk, domain: str) -> Sequence[str]:
    """The looks at the window of a certificate that are still to come."""
    rows = await desk.places.engine.query(
        f"SELECT id FROM sys_invocation WHERE target_service_key = '{domain}' AND target_handler_name = 'look_due' "
        "AND status = 'scheduled'"
    )
    return [row["id"] for row in rows]

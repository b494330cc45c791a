"""The main story, over HTTP with the real servers."""

from tests.support.api import Api
from tests.support.waiting import eventually


async def test_a_scheduled_deletion_is_carried_out_to_a_receipt(api: Api, slug: str) -> None:
    """What was scheduled happens at its time, and leaves a signed receipt."""
    project = await api.project(slug)
    scheduled = await api.schedule(project, slug, "1s")

    assert scheduled.status == 202
    assert scheduled.body["generation"] == 1
    tombstone = await eventually(lambda: _tombstone(api, project), within=20)
    assert tombstone["slug"] == slug


async def _tombstone(api: Api, project: str) -> dict[str, str] | None:
    answer = await api.get(f"/v1/tombstones/{project}")
    return answer.body if answer.status == 200 else None

"""The same request again: one effect, one answer, and only for whoever asked."""

from collections.abc import AsyncIterator

import pytest

from tests.support.api import Api
from tests.support.waiting import eventually


@pytest.fixture
async def second(api: Api) -> AsyncIterator[Api]:
    """The API with the key of a second administrator."""
    made = await api.post("/v1/api-keys", {"person": "bob@example.com", "role": "administrator"})
    async with api.with_key(made.body["token"]) as client:
        yield client
    await api.delete(f"/v1/api-keys/{made.body['id']}")


async def test_an_answer_is_given_to_nobody_else(api: Api, second: Api, slug: str) -> None:
    """Two people who happen to use one Idempotency-Key each get their own deletion, under their own name."""
    same = {"Idempotency-Key": slug}
    project = await api.project(slug)
    body = {"grace": "72h", "reason": "x", "confirm": slug}
    path = f"/v1/projects/{project}/deletion"
    first = await api.post(path, body, headers=same)
    await api.delete(path)
    other = await second.post(path, body, headers=same)
    repeated = await api.post(path, body, headers=same)

    assert (first.body["generation"], first.body["requested_by"]) == (1, "admin@example.com")
    assert (other.status, other.body["generation"], other.body["requested_by"]) == (202, 3, "bob@example.com")
    assert repeated.body == first.body


async def test_a_project_is_made_once_for_each_person(api: Api, second: Api, slug: str) -> None:
    """Whoever uses the Idempotency-Key of somebody else does not get their project for a new one."""
    same = {"Idempotency-Key": slug}
    made = await api.post("/v1/projects", {"slug": slug}, headers=same)
    other = await second.post("/v1/projects", {"slug": slug}, headers=same)

    assert made.status == 201
    assert (other.status, other.body["code"]) == (409, "slug_taken")


async def test_a_refusal_is_given_to_nobody_else(api: Api, second: Api, slug: str) -> None:
    """That the first administrator may not expedite alone does not keep the second one from it."""
    same = {"Idempotency-Key": slug}
    project = await api.project(slug)
    await api.schedule(project, slug, "72h")
    path = f"/v1/projects/{project}/deletion/expedite"
    refused = await api.post(path, headers=same)
    expedited = await second.post(path, headers=same)

    assert refused.body["code"] == "second_administrator_required"
    assert (expedited.status, expedited.body["expedited_by"]) == (200, "bob@example.com")


async def test_a_project_that_is_gone_is_not_made_again_by_a_repetition(api: Api, slug: str) -> None:
    """A repetition of the request that made a project says what became of it; a new one is asked for with a new key."""
    made = await api.post("/v1/projects", {"slug": slug}, headers={"Idempotency-Key": slug})
    project = made.body["id"]
    await api.schedule(project, slug, "1s")
    await eventually(lambda: _deleted(api, project), within=20)
    again = await api.post("/v1/projects", {"slug": slug}, headers={"Idempotency-Key": slug})
    new = await api.post("/v1/projects", {"slug": slug}, headers={"Idempotency-Key": f"{slug}-2"})

    assert again.body == {**made.body, "state": "deleted"}
    assert (new.status, new.body["state"]) == (201, "active")
    assert new.body["id"] != project


async def _deleted(api: Api, project: str) -> bool:
    deletion = await api.deletion(project)
    return bool(deletion["phase"] == "deleted")

"""Bad input gets a clear problem document, and nothing is scheduled."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from lifecycle.api import paging
from lifecycle.dev.stack import Stack
from lifecycle.models import Role
from tests.support.api import Answer, Api
from tests.support.inside import key_of


@pytest.fixture
async def project(api: Api, slug: str) -> str:
    """A project that nothing happened to."""
    return await api.project(slug)


@pytest.fixture
async def viewer(api: Api) -> AsyncIterator[Api]:
    """The API with the key of a viewer."""
    made = await api.post("/v1/api-keys", {"person": "vera@example.com", "role": "viewer"})
    async with api.with_key(made.body["token"]) as client:
        yield client


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"confirm": "other"}, "confirm_mismatch", "confirm"),
        ({"confirm": None}, "confirm_mismatch", "confirm"),
        ({"grace": "10ms"}, "grace_out_of_range", "grace"),
        ({"grace": "400d"}, "grace_out_of_range", "grace"),
        ({"grace": "-3d"}, "invalid_request", "grace"),
        ({"grace": "999999999999w"}, "invalid_request", "grace"),
        ({"grace": "soon"}, "invalid_request", "grace"),
        ({"grace": 72}, "invalid_request", "grace"),
        ({"grace": True}, "invalid_request", "grace"),
        ({"grace": None, "due_at": "2020-01-01T00:00:00Z"}, "due_in_past", "due_at"),
        ({"grace": None, "due_at": "2999-01-01T00:00:00Z"}, "grace_out_of_range", "due_at"),
        ({"grace": None, "due_at": "2999-01-01T00:00:00"}, "invalid_request", "due_at"),
        ({"grace": None, "due_at": 1999999999}, "invalid_request", "due_at"),
        ({"due_at": "2999-01-01T00:00:00Z"}, "grace_and_due_at", "due_at"),
        ({"graze": "72h"}, "invalid_request", "graze"),
        ({"reason": None}, "invalid_request", "reason"),
        ({"reason": ""}, "invalid_request", "reason"),
        ({"reason": 5}, "invalid_request", "reason"),
        ({"reason": "x" * 5000}, "invalid_request", "reason"),
        ({"reason": "\ud800"}, "invalid_request", "reason"),
        ({"dry_run": "yes"}, "invalid_request", "dry_run"),
        ({"traffic": "explode"}, "invalid_request", "traffic"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_is_scheduled(
    api: Api, project: str, slug: str, change: dict[str, Any], code: str, field: str
) -> None:
    """Whoever sends something wrong learns which field, why, and what to do."""
    body = {"grace": "72h", "reason": "test", "confirm": slug, **change}
    sent = {name: value for name, value in body.items() if value is not None}
    answer = await api.post(f"/v1/projects/{project}/deletion", sent)

    _is_problem(answer, 422, code)
    assert answer.body["field"] == field
    if code == "invalid_request":
        assert answer.body["errors"][0]["pointer"] == f"#/{field}"
        assert answer.body["detail"] == f"The request is not valid: {field}: {answer.body['errors'][0]['detail']}."
    await _nothing_scheduled(api, project)


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"{", 400, "malformed_json"),
        (b"\xff\xfe", 400, "malformed_json"),
        (b"[" * 100_000, 400, "malformed_json"),
        (b"[]", 422, "invalid_request"),
        (b"null", 422, "invalid_request"),
        (b'"text"', 422, "invalid_request"),
        (b'{"reason":"' + b"x" * 1_100_000 + b'"}', 413, "body_too_large"),
    ],
)
async def test_a_body_that_is_no_request_is_refused(api: Api, project: str, raw: bytes, status: int, code: str) -> None:
    """Broken JSON, other JSON and bodies over 1 MiB are refused with their own code."""
    answer = await api.post(f"/v1/projects/{project}/deletion", raw=raw)

    _is_problem(answer, status, code)
    await _nothing_scheduled(api, project)


@pytest.mark.parametrize(
    ("path", "field"),
    [("projects/{}", "name"), ("projects/{}/deletion", "grace"), ("actions/project-deletion/{}", "grace")],
)
async def test_a_change_of_nothing_is_refused(api: Api, project: str, slug: str, path: str, field: str) -> None:
    """An empty PATCH is a mistake, and is told what it could change; it moves nothing and counts as no change."""
    await api.schedule(project, slug, "72h")
    before = await api.deletion(project)
    answer = await api.patch(f"/v1/{path.format(project)}", {})

    _is_problem(answer, 422, "invalid_request")
    assert answer.body["field"] == field
    assert await api.deletion(project) == before


async def test_protection_while_a_deletion_is_scheduled_is_refused(api: Api, project: str, slug: str) -> None:
    """Nobody believes a project to be safe whose deletion goes on; after a cancel it can be protected."""
    await api.schedule(project, slug, "72h")
    refused = await api.patch(f"/v1/projects/{project}", {"protected": True})
    shown = await api.get(f"/v1/projects/{project}")
    await api.delete(f"/v1/projects/{project}/deletion")
    accepted = await api.patch(f"/v1/projects/{project}", {"protected": True})

    _is_problem(refused, 409, "deletion_pending")
    assert not shown.body["protected"]
    assert (accepted.status, accepted.body["protected"]) == (200, True)


async def test_a_second_schedule_returns_the_first(api: Api, project: str, slug: str) -> None:
    """Scheduling again, with whatever grace, changes nothing and says so; PATCH is what changes it."""
    first = await api.schedule(project, slug, "72h")
    second = await api.schedule(project, slug, "24h", reason="other")

    assert (first.status, second.status) == (202, 200)
    assert second.body == {**first.body, "already_scheduled": True}


async def test_a_cancel_of_nothing_is_refused(api: Api, project: str) -> None:
    """There is nothing to cancel where nothing is pending."""
    _is_problem(await api.delete(f"/v1/projects/{project}/deletion"), 409, "deletion_not_scheduled")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "deletion", None),
        ("PATCH", "deletion", {"grace": "48h"}),
        ("POST", "deletion/expedite", None),
    ],
)
async def test_an_outdated_generation_changes_nothing(
    api: Api, project: str, slug: str, method: str, path: str, body: object
) -> None:
    """If-Match acts on exactly the generation that was seen."""
    await api.schedule(project, slug, "72h")
    before = await api.deletion(project)
    answer = await api.call(method, f"/v1/projects/{project}/{path}", body, headers={"If-Match": '"0"'})
    junk = await api.call(method, f"/v1/projects/{project}/{path}", body, headers={"If-Match": "latest"})

    _is_problem(answer, 412, "generation_mismatch")
    _is_problem(junk, 422, "invalid_request")
    assert await api.deletion(project) == before


@pytest.mark.parametrize("key", [None, "nonsense", "lck_" + "0" * 26 + "_" + "A" * 43, "", "ключ"])
async def test_a_missing_or_wrong_key_is_refused(api: Api, project: str, key: str | None) -> None:
    """Without a valid key nothing is answered."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}".encode().decode("latin-1")}
    async with api.with_key(None) as stranger:
        answer = await stranger.delete(f"/v1/projects/{project}/deletion", headers=headers)

    assert answer.status == 401
    assert answer.body["code"] in ("key_missing", "key_invalid")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_a_revoked_key_ends_at_once(api: Api) -> None:
    """A revoked key is refused, and the log says who revoked it."""
    made = await api.post("/v1/api-keys", {"person": "tmp@example.com", "role": "operator"})
    async with api.with_key(made.body["token"]) as client:
        before = await client.get("/v1/projects")
        revoked = await api.delete(f"/v1/api-keys/{made.body['id']}")
        after = await client.get("/v1/projects")
    audit = await api.get("/v1/audit")

    assert (before.status, revoked.status) == (200, 204)
    _is_problem(after, 401, "key_invalid")
    assert audit.body["items"][0]["action"] == "key.revoked"


async def test_a_viewer_reads_and_changes_nothing(api: Api, viewer: Api, project: str, slug: str) -> None:
    """A viewer may look at everything of the workspace, and no more."""
    await api.schedule(project, slug, "72h")
    path = f"/v1/projects/{project}"
    refused = [
        await viewer.schedule(project, slug, "72h"),
        await viewer.delete(f"{path}/deletion"),
        await viewer.patch(f"{path}/deletion", {"grace": "48h"}),
        await viewer.post(f"{path}/deletion/expedite"),
        await viewer.put(f"{path}/holds/legal", {"reason": "x"}),
        await viewer.patch(path, {"name": "x"}),
        await viewer.post("/v1/projects", {"slug": f"{slug}-2"}),
        await viewer.post("/v1/api-keys", {"person": "x", "role": "viewer"}),
        await viewer.get("/v1/api-keys"),
    ]
    shown = await viewer.get(f"{path}/deletion")

    for answer in refused:
        _is_problem(answer, 403, "role_required")
    assert shown.body["phase"] == "scheduled"


async def test_another_workspace_gets_the_body_of_nothing(api: Api, stack: Stack, project: str, slug: str) -> None:
    """An answer never tells that a project of another workspace exists."""
    await api.schedule(project, slug, "72h")
    async with api.with_key(
        await key_of(stack, workspace="other", person="eve@example.com", role=Role.ADMINISTRATOR)
    ) as stranger:
        answers = [
            await stranger.get(f"/v1/projects/{reference}{path}")
            for reference in (project, slug, "prj_00000000000000000000000000", "no-such-project")
            for path in ("", "/deletion")
        ]
        cancel = await stranger.delete(f"/v1/projects/{project}/deletion")
        audit = await stranger.get(f"/v1/audit?project={project}")
        action = await stranger.get(f"/v1/actions/project-deletion/{project}")

    for answer in [*answers, cancel]:
        _is_problem(answer, 404, "project_not_found")
        assert answer.body == answers[0].body
    assert audit.body["items"] == []
    assert action.status == 404
    assert (await api.deletion(project))["phase"] == "scheduled"


@pytest.mark.parametrize(
    "reference",
    [
        "..",
        "%2e%2e",
        "..%2f..%2fetc",
        "a%2Fb",
        "%00",
        "%F0%9F%98%80",
        "x" * 10_000,
        "prj_../x",
        "%25",
        "PRJ_X",
        "%20",
        "'",
    ],
)
async def test_a_path_with_tricks_reaches_no_object(api: Api, reference: str) -> None:
    """Whatever stands in a path, it is either exactly one of our ids or slugs, or nothing."""
    for method, path in (("GET", ""), ("GET", "/deletion"), ("DELETE", "/deletion")):
        answer = await api.call(method, f"/v1/projects/{reference}{path}")
        assert answer.status in (404, 405)
        assert answer.body["code"] in ("project_not_found", "not_found", "method_not_allowed")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("projects/a%2Fb", 404, "project_not_found"),
        ("tombstones/a%2Fb", 404, "tombstone_not_found"),
        ("deployments/a%2Fb", 404, "deployment_not_found"),
        ("authorities/a%2Fb", 404, "authority_unknown"),
        ("actions/project-deletion/a%2Fb", 404, "project_not_found"),
        ("actions/certificate-renewal/https%3A%2F%2Fwww.example.com%2Fx", 422, "certificate_name_invalid"),
        ("certificates/www.example.com%2Fx", 422, "certificate_name_invalid"),
        ("certificates/https%3a%2f%2fwww.example.com", 422, "certificate_name_invalid"),
        ("certificates/https://www.example.com", 404, "not_found"),
    ],
)
async def test_an_id_with_a_slash_is_refused_as_what_it_is(api: Api, path: str, status: int, code: str) -> None:
    """Whoever asks for a thing by a name with a slash hears of that thing, and not of paths; no `%2F` is shown."""
    answer = await api.get(f"/v1/{path}")

    _is_problem(answer, status, code)
    assert "%2F" not in answer.body["detail"]
    if code == "certificate_name_invalid":
        assert "; www.example.com was probably meant" in answer.body["detail"]


@pytest.mark.parametrize(
    "bad", ["", "a b", "-a", "a-", "A", "a" * 41, "a/b", "..", "%41", "ä", "😀", "a\n", "a_b", 5, None, ["a"]]
)
async def test_a_slug_with_tricks_is_refused(api: Api, bad: object) -> None:
    """A slug is a DNS label, so that it can never mean something else anywhere."""
    answer = await api.post("/v1/projects", {"slug": bad})

    _is_problem(answer, 422, "invalid_request")
    assert answer.body["field"] == "slug"


@pytest.mark.parametrize("name", ["Läden & Söhne <b>x</b> 😀", "'; DROP TABLE projects; --", "名前", "%s %d {0}"])
async def test_a_name_of_any_language_is_stored_exactly(api: Api, slug: str, name: str) -> None:
    """What people call their project comes back as they wrote it."""
    made = await api.post("/v1/projects", {"slug": slug, "name": name})
    shown = await api.get(f"/v1/projects/{made.body['id']}")

    assert shown.body["name"] == name


async def test_a_name_of_10_kb_is_refused(api: Api, slug: str) -> None:
    """A name has at most 200 characters."""
    _is_problem(await api.post("/v1/projects", {"slug": slug, "name": "x" * 10_000}), 422, "invalid_request")


async def test_a_taken_slug_is_refused(api: Api, slug: str) -> None:
    """One name has one owner, also when two ask in one moment."""
    await api.project(slug)

    _is_problem(await api.post("/v1/projects", {"slug": slug}), 409, "slug_taken")


@pytest.mark.parametrize(
    "query", ["cursor=x", "cursor=W10", "limit=0", "limit=x", "state=odd", "due_before=now", "limit=99999", "nope=1"]
)
async def test_a_wrong_query_is_refused(api: Api, query: str) -> None:
    """Filters that mean nothing are not taken for no filter."""
    _is_problem(await api.get(f"/v1/actions?{query}"), 422, "invalid_request")


@pytest.mark.parametrize(
    "position",
    [
        ["5"],
        ["2026-11-21T09:00:00Z"],
        ["2026-11-21T09:00:00Z", "x"],
        ["2026-11-21T09:00:00Z", "-1"],
        ["2026-11-21T09:00:00Z", "²"],
        ["2026-11-21T09:00:00", "1"],
        ["never", "1"],
        ["9999-12-31T23:59:59-23:59", "1"],
        ["2026-11-21T09:00:00Z", "1", "1"],
    ],
)
async def test_a_cursor_of_another_list_is_refused(api: Api, position: list[str]) -> None:
    """A cursor that was not given out by the audit log is named as the mistake."""
    answer = await api.get(f"/v1/audit?cursor={paging.encode(*position)}")

    _is_problem(answer, 422, "invalid_request")
    assert answer.body["field"] == "cursor"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("PUT", "/v1/projects", 405),
        ("GET", "/errors/none", 404),
        ("GET", "/v1/projects/", 404),
    ],
)
async def test_a_wrong_address_is_a_problem_document_too(api: Api, method: str, path: str, status: int) -> None:
    """Every error has the same form."""
    answer = await api.call(method, path)

    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"


def _is_problem(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.body["code"]) == (status, code), answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.body["status"] == status
    assert answer.body["type"] == f"/errors/{code}"
    assert answer.body["detail"]
    assert answer.body["hint"]


async def _nothing_scheduled(api: Api, project: str) -> None:
    deletion = await api.deletion(project)
    assert (deletion["phase"], deletion["generation"]) == ("none", 0)

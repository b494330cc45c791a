"""The published description of the API is complete, and the page made from it is current."""

from collections.abc import Iterator

import pytest

from scripts import generate_docs
from scripts.generate_docs import Operation

# Operations without an example, and why there is none to show.
WITHOUT_EXAMPLE = {
    "GET /healthz": "answers one word as plain text",
    "GET /metrics": "answers in the text format of Prometheus",
    "GET /cancel/{token}": "answers with a page",
    "POST /cancel/{token}": "answers with a page",
    "GET /v1/actions.ics": "answers with iCalendar",
    "GET /v1/events": "answers with server-sent events",
    "DELETE /v1/calendar-links/{link}": "takes no body and answers with none",
    "DELETE /v1/api-keys/{key}": "takes no body and answers with none",
    "DELETE /v1/webhooks/{webhook}": "takes no body and answers with none",
    "DELETE /v1/recipients/{address}": "takes no body and answers with none",
    "DELETE /v1/projects/{project}/domains/{domain}": "takes no body and answers with none",
    "GET /v1/deployments/{deployment}/logs": "answers with plain text",
    "GET /v1/deployments/{deployment}/openapi": "answers with plain text",
    "GET /v1/certificates/{domain}/chain.pem": "answers with PEM",
    "POST /v1/certificates/{domain}/key": "takes no body and answers with PEM",
}
DOCUMENT = generate_docs.openapi()
OPERATIONS = {operation.name: operation for operation in generate_docs.operations(DOCUMENT)}


@pytest.fixture(params=OPERATIONS)
def operation(request: pytest.FixtureRequest) -> Operation:
    """Each operation of the API."""
    return OPERATIONS[request.param]


def _references(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"]
        for part in schema.values():
            yield from _references(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _references(part)


def test_every_operation_says_what_it_does(operation: Operation) -> None:
    """Whoever reads the description knows what a call does without trying it."""
    assert operation.summary
    assert operation.description.rstrip().endswith((".", ")"))


def test_every_operation_shows_an_example(operation: Operation) -> None:
    """There is a body to copy, or an answer to expect, or a reason why not."""
    has_one = operation.request is not None or operation.success is not None

    assert has_one or operation.name in WITHOUT_EXAMPLE


def test_every_change_names_the_role_that_it_needs(operation: Operation) -> None:
    """Nobody finds out by a refusal which key to use."""
    if not operation.name.startswith("GET "):
        assert operation.role


def test_every_refusal_is_a_problem_document(operation: Operation) -> None:
    """Programs may rely on one form for everything that goes wrong; pages for people answer with a page as well."""
    forms = {
        kind
        for status, answer in operation.responses.items()
        if status.startswith("4")
        for kind in answer.get("content", {})
    }

    assert forms <= {"application/problem+json", "text/html"}
    assert "application/problem+json" in forms


def test_the_explained_list_is_short_and_current() -> None:
    """An operation that has an example, or is gone, is not excused any more."""
    excused = {name: OPERATIONS[name] for name in WITHOUT_EXAMPLE}

    assert all(one.request is None and one.success is None for one in excused.values())


def test_every_reference_leads_somewhere() -> None:
    """The description can be read by any generator of clients."""
    known = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}

    assert DOCUMENT["openapi"].startswith("3.1")
    assert set(_references(DOCUMENT)) <= known


def test_the_page_of_the_api_is_current() -> None:
    """docs/api.md shows every operation as it is now; `make docs` writes it anew."""
    page = (generate_docs.DOCS / "api.md").read_text(encoding="utf-8")

    assert page == generate_docs.api()
    assert all(f"`{name}`" in page for name in OPERATIONS)

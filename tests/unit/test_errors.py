"""Every refusal has a stable code, a whole sentence and advice; and the page that lists them is current."""

import ast
from collections.abc import Sequence
from functools import cache
from http import HTTPStatus

import pytest
from restate import TerminalError

from lifecycle.api import problems, public
from lifecycle.errors import CATALOG, Code, LifecycleError, parameters
from scripts import generate_docs
from tests.support import tidy


@cache
def _raised() -> Sequence[tuple[str, Code, set[str]]]:
    """Every `LifecycleError(Code.X, …)` in the package: where, which, and the parameters that it gives."""
    found = []
    for source in tidy.package():
        for node in ast.walk(source.tree):
            if not (isinstance(node, ast.Call) and source.name(node.func) == "lifecycle.errors.LifecycleError"):
                continue
            code = source.name(node.args[0])
            if code is not None and all(keyword.arg for keyword in node.keywords):
                given = {str(keyword.arg) for keyword in node.keywords}
                found.append((source.at(node, code), Code[code.rpartition(".")[2]], given))
    return found


@pytest.mark.parametrize("code", Code)
def test_every_code_is_explained(code: Code) -> None:
    """No refusal is a bare number: each has a status, a sentence and advice that can be filled in."""
    row = CATALOG[code]
    values = {name: f"<{name}>" for name in parameters(row.message) | parameters(row.hint)}
    error = LifecycleError(code, **values)

    assert HTTPStatus(row.status) >= HTTPStatus.BAD_REQUEST
    assert row.message.endswith(".")
    assert row.hint.endswith(".")
    assert all(value in error.message + error.hint for value in values.values())


def test_no_code_is_explained_that_does_not_exist() -> None:
    """The table and the list of codes are the same."""
    assert list(CATALOG) == list(Code)


def test_every_refusal_gives_what_its_sentence_and_advice_name() -> None:
    """No refusal breaks in the moment in which it is shown."""
    missing = [
        f"{place} lacks {', '.join(sorted(lacking))}"
        for place, code, given in _raised()
        if (lacking := (parameters(CATALOG[code].message) | parameters(CATALOG[code].hint)) - given)
    ]

    assert not missing, "\n".join(missing)


def test_every_code_is_used() -> None:
    """Nothing is documented that cannot happen."""
    assert {code for _, code, _ in _raised()} == set(Code)


def test_a_refusal_is_answered_and_never_retried() -> None:
    """The engine hands a refusal to the caller, with its code, instead of trying for ever."""
    error = LifecycleError(Code.SLUG_TAKEN, slug="shop", field="slug")

    assert isinstance(error, TerminalError)
    assert (error.status_code, error.message) == (409, "The slug shop is in use in this workspace.")
    assert error.metadata == {"code": "slug_taken", "slug": "shop", "field": "slug"}


def test_a_refusal_becomes_a_problem_document() -> None:
    """Every program gets the same members, and the values of the sentence besides."""
    document = problems.document(LifecycleError(Code.SLUG_TAKEN, slug="shop", field="slug"))

    assert document == {
        "type": "/errors/slug_taken",
        "title": "Conflict",
        "status": 409,
        "detail": "The slug shop is in use in this workspace.",
        "code": "slug_taken",
        "hint": "Choose another slug, or use the existing project.",
        "slug": "shop",
        "field": "slug",
    }


@pytest.mark.parametrize("code", Code)
async def test_the_explanation_of_a_code_is_readable(code: Code) -> None:
    """The page behind the `type` of a problem shows placeholders as one pair of braces, not as source code."""
    explained = await public.explain(code.value)

    assert (explained.code, explained.status) == (code.value, CATALOG[code].status)
    assert "{{" not in explained.message + explained.hint


def test_the_page_of_errors_is_current() -> None:
    """docs/errors.md lists what there is now; `make docs` writes it anew."""
    page = (generate_docs.DOCS / "errors.md").read_text(encoding="utf-8")

    assert page == generate_docs.errors()
    assert all(f"`{code.value}`" in page for code in Code)


def test_a_request_that_is_not_valid_says_where() -> None:
    """Every refusal of a request's form lists its mistakes (RFC 9457, section 3), also those that we find ourselves."""
    body, header = problems.invalid("grace", "give one"), problems.invalid_parameter("If-Match", "not a generation")

    assert problems.document(body)["errors"] == [{"pointer": "#/grace", "detail": "give one"}]
    assert problems.document(header)["errors"] == [{"parameter": "If-Match", "detail": "not a generation"}]
    assert problems.document(body)["detail"] == "The request is not valid: grace: give one."

"""What is wrong with a request is said in words, with its place; no word is that of the validator."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from lifecycle import mistakes
from lifecycle.api.shapes.certificates import BulkIssue, NewCertificate, Renewal, Revocation, WindowCheck
from lifecycle.api.shapes.deletions import DeletionMove, NewDeletion
from lifecycle.api.shapes.deployments import NewDeployment
from lifecycle.api.shapes.domains import NewDomain
from lifecycle.api.shapes.notifications import NewWebhook
from lifecycle.certs.configuration import Certificates
from lifecycle.mistakes import FORMS, Mistake
from lifecycle.settings import Settings
from scripts import generate_docs

BODIES = (
    NewCertificate,
    BulkIssue,
    Renewal,
    Revocation,
    WindowCheck,
    NewDeletion,
    DeletionMove,
    NewDeployment,
    NewDomain,
    Certificates,
)
FIELDS = sorted({name for body in BODIES for name in body.model_fields})
_PROGRAMMING = re.compile(r"(?i)input|value error|valid |string|integer|boolean|tuple|dictionary|parse|field|pattern")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3),
    max_leaves=8,
)


def _found(shape: type[BaseModel], body: object) -> list[Mistake]:
    with pytest.raises(ValidationError) as refused:
        shape.model_validate(body)
    found: list[Any] = refused.value.errors()
    return list(mistakes.mistakes([{**one, "loc": ("body", *one["loc"])} for one in found]))


def test_each_mistake_says_where_it_is() -> None:
    """A program finds the place by a JSON Pointer (RFC 6901), a person by the name of the field."""
    found = _found(NewCertificate, {"challenge": 5, "names": ["a", 1], "by_person": "yes", "a/b~c é": 1})

    assert [(one.field, dict(one.member)) for one in found] == [
        ("challenge", {"pointer": "#/challenge", "detail": "must be 'http-01', 'dns-01' or 'tls-alpn-01'"}),
        ("names.1", {"pointer": "#/names/1", "detail": "must be text"}),
        ("by_person", {"pointer": "#/by_person", "detail": "must be true or false"}),
        ("a/b~c é", {"pointer": "#/a~1b~0c%20%C3%A9", "detail": "is not known here"}),
    ]


def test_a_list_with_a_wrong_entry_is_not_called_empty() -> None:
    """Whoever misspelt the one entry is told of that, and not that there is none."""
    wrong = _found(NewWebhook, {"url": "https://example.com/", "events": ["deletion.remind"]})
    empty = _found(NewWebhook, {"url": "https://example.com/", "events": []})

    assert [one.field for one in wrong] == ["events.0"]
    assert [(one.field, one.detail) for one in empty] == [("events", "must not be empty")]


def test_a_parameter_is_named() -> None:
    """What is wrong with a query or a path is not in the body, and says which parameter it is."""
    (found,) = mistakes.mistakes([{"type": "greater_than_equal", "loc": ("query", "limit"), "ctx": {"ge": 1}}])

    assert found.member == {"parameter": "limit", "detail": "must be at least 1"}


@pytest.mark.parametrize(
    ("place", "said"), [(11, "it cannot be read from character 12 on"), ("x", "it cannot be read")]
)
def test_a_body_that_is_no_json_says_where_it_breaks(place: object, said: str) -> None:
    """Whoever sent it finds the character, without the words of any parser."""
    assert mistakes.unreadable({"type": "json_invalid", "loc": ("body", place)}) == said


@given(body=ANYTHING)
@pytest.mark.parametrize("shape", BODIES)
def test_no_word_is_that_of_a_program(shape: type[BaseModel], body: object) -> None:
    """Whatever somebody sends: each mistake is told in words that mean something to whoever speaks English."""
    try:
        shape.model_validate(body)
    except ValidationError as error:
        for one in error.errors():
            said = mistakes.detail(one)
            assert said
            assert not _PROGRAMMING.search(said), (one["type"], said)


def test_every_form_that_is_wanted_is_told_in_words() -> None:
    """Nobody has to read a regular expression: each pattern of the API, the settings and the file has its words."""
    wanted = {
        pattern
        for schema in (generate_docs.openapi(), Settings.model_json_schema(), Certificates.model_json_schema())
        for pattern in _patterns(schema)
    }

    assert wanted <= set(FORMS), wanted - set(FORMS)
    assert set(FORMS) <= wanted, set(FORMS) - wanted


def _patterns(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        yield from schema.get("patternProperties", ())
        for part in schema.values():
            yield from _patterns(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _patterns(part)

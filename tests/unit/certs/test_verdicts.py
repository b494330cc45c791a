"""What a CA answered survives the journal as what it was, and without any secret."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from lifecycle.certs import acme
from lifecycle.certs.acme import wire
from lifecycle.certs.names import Identifier
from lifecycle.certs.verdicts import (
    Account,
    Answered,
    Authorization,
    Chain,
    Challenge,
    Directory,
    Done,
    Failure,
    Order,
    Problem,
    RateLimited,
    Refused,
    RenewalInfo,
    Unanswered,
)
from tests.support.factories import DAY, NOW

NAME = Identifier(value="a.example.com")
PROBLEM = Problem(
    type="urn:ietf:params:acme:error:rejectedIdentifier",
    detail="refused",
    status=400,
    identifier=NAME,
    subproblems=(Problem(type="urn:ietf:params:acme:error:caa", detail="forbidden", identifier=NAME),),
)
CHALLENGE = Challenge(type="http-01", url="https://ca/c", status="invalid", token="t", problem=PROBLEM)  # noqa: S106  public
VERDICTS: tuple[Any, ...] = (
    Refused(problem=PROBLEM),
    Refused(problem=Problem(), retry_at=NOW),
    RateLimited(problem=PROBLEM, until=NOW),
    RateLimited(problem=PROBLEM),
    Unanswered(reason="cut off"),
    Directory(
        new_nonce="n",
        new_account="a",
        new_order="o",
        revoke_certificate="r",
        key_change="k",
        profiles={"classic": "…"},
    ),
    Account(url="https://ca/a", status="valid"),
    Order(url="u", status="pending", identifiers=(NAME,), authorizations=("z",), finalize="f", expires=NOW),
    Authorization(url="u", identifier=NAME, status="invalid", challenges=(CHALLENGE,)),
    Answered(challenge=CHALLENGE),
    Chain(pem="…", alternates=("https://ca/1",)),
    Done(),
    RenewalInfo(certificate_id="a.1", start=NOW, end=NOW + DAY),
)
EVERY: TypeAdapter[Any] = TypeAdapter(
    Failure | Directory | Account | Order | Authorization | Answered | Chain | Done | RenewalInfo
)


def test_a_verdict_is_read_back_as_what_it_was() -> None:
    """No answer turns into another one on its way through the journal."""
    for verdict in VERDICTS:
        assert EVERY.validate_json(EVERY.dump_json(verdict)) == verdict


def test_a_problem_in_one_line() -> None:
    """People read what was wrong with which name."""
    assert PROBLEM.summary == "rejectedIdentifier: refused; a.example.com: caa: forbidden"
    assert Problem(type="https://ca.example/odd").summary == "https://ca.example/odd"


def test_an_authorization_says_why_it_failed() -> None:
    """The problem of the challenge that was tried; none while nothing has failed."""
    failed = Authorization(url="u", identifier=NAME, status="invalid", challenges=(CHALLENGE,))
    fresh = failed.model_copy(update={"challenges": (CHALLENGE.model_copy(update={"problem": None}),)})

    assert (failed.problem, fresh.problem) == (PROBLEM, None)
    assert (failed.challenge("http-01"), failed.challenge("dns-01")) == (CHALLENGE, None)


def test_keys_are_not_shown() -> None:
    """Neither an account key nor a binding's key appears when something is printed or logged."""
    assert "secret" not in repr(acme.Signer(b"secret", "https://ca/a"))
    assert "c2VjcmV0" not in repr(acme.Binding("kid", "c2VjcmV0"))


@pytest.mark.parametrize(
    ("key", "algorithm", "mistake"),
    [("", "HS256", "empty"), ("A", "HS256", "base64url"), ("c2VjcmV0", "none", "HS256, HS384, HS512")],
)
def test_a_binding_that_cannot_work_is_refused(key: str, algorithm: str, mistake: str) -> None:
    """A mistake in the set-up is found before the CA is asked."""
    with pytest.raises(ValueError, match=mistake):
        acme.Binding("kid", key, algorithm)


def test_what_dns_must_hold() -> None:
    """A wildcard is proved at the name below its asterisk; the value is a hash of the key authorization."""
    assert acme.validation_name(Identifier(value="*.example.com")) == "_acme-challenge.example.com"
    assert acme.dns_value("token.thumbprint") == "61rBZ_4knHblO0MNoxFsXZ_eTFUHum0B6IVRbhvUn5I"


def test_odd_problems_are_borne() -> None:
    """A CA that puts anything into a problem is understood as far as it goes."""
    deep = {"type": 7, "detail": "x" * 9000, "subproblems": [1, {"identifier": {"type": "dns"}, "subproblems": [{}]}]}
    found = wire.problem(deep, 400)

    assert found is not None
    assert (found.type, len(found.detail), found.status) == ("about:blank", 4000, 400)
    assert found.subproblems == (Problem(),)
    assert wire.problem([]) is None

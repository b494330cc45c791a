"""Orders, authorizations and challenges (RFC 8555, section 7.4 and 7.5)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from josepy import json_util
from pydantic import JsonValue

from lifecycle.certs.acme.signing import Signer
from lifecycle.certs.acme.wire import Answer, CertificateAuthority, FailedError, problem, verdict
from lifecycle.certs.names import Identifier
from lifecycle.certs.verdicts import Answered, Authorization, Challenge, Order, Orders, Unanswered

# RFC 8555, section 8.1. A token becomes part of a path, so nothing else may be in it.
_TOKEN = re.compile(r"[A-Za-z0-9_-]*")


@verdict
def new_order(
    ca: CertificateAuthority,
    signer: Signer,
    identifiers: Sequence[Identifier],
    *,
    profile: str | None = None,
    replaces: str | None = None,
) -> Order:
    """Order a certificate.

    After a lost answer it is called again: Let's Encrypt gives the same pending order, others may make a second one.

    Args:
        ca: where.
        signer: the account.
        identifiers: as `names.identifiers` gave them.
        profile: one of the directory's; None leaves the choice to the CA.
        replaces: id of the certificate that this one is to replace (RFC 9773, section 5); sent only to a CA that has
            renewal information.
    """
    directory = ca.directory()
    named: list[JsonValue] = [{"type": one.type, "value": one.value} for one in identifiers]
    payload: dict[str, JsonValue] = {"identifiers": named}
    if profile is not None:
        payload["profile"] = profile
    if replaces is not None and directory.renewal_info is not None:
        payload["replaces"] = replaces
    answer = ca.post(signer, directory.new_order, payload)
    return _order(answer, answer.location)


@verdict
def read_order(ca: CertificateAuthority, signer: Signer, url: str) -> Order:
    """The order as it is now."""
    return _order(ca.post(signer, url, None), url)


@verdict
def read_orders(ca: CertificateAuthority, signer: Signer, url: str) -> Orders:
    """A page of the account's orders (RFC 8555, section 7.1.2.1).

    Args:
        ca: where.
        signer: the account.
        url: `Account.orders`, or `Orders.next` of the page before.
    """
    answer = ca.post(signer, url, None)
    following = next(iter(answer.links("next")), None)
    return Orders.model_validate({"urls": answer.body.get("orders"), "next": following})


@verdict
def finalize(ca: CertificateAuthority, signer: Signer, order: Order, request_pem: bytes) -> Order:
    """Have the certificate made for this signing request.

    After a lost answer the order is read: repeating gets `orderNotReady`, although all is well.

    Args:
        ca: where.
        signer: the account.
        order: which; it must be `ready`.
        request_pem: names the identifiers of the order, and is signed with the key of the certificate.
    """
    request = x509.load_pem_x509_csr(request_pem).public_bytes(Encoding.DER)
    return _order(ca.post(signer, order.finalize, {"csr": json_util.encode_b64jose(request)}), order.url)


@verdict
def read_authorization(ca: CertificateAuthority, signer: Signer, url: str) -> Authorization:
    """The authorization as it is now."""
    return _authorization(ca.post(signer, url, None), url)


@verdict
def deactivate_authorization(ca: CertificateAuthority, signer: Signer, url: str) -> Authorization:
    """Give the authorization up: pending, it stops counting against the account; valid, it is used no more."""
    return _authorization(ca.post(signer, url, {"status": "deactivated"}), url)


@verdict
def answer(ca: CertificateAuthority, signer: Signer, challenge_url: str) -> Answered:
    """Tell the CA to look at the challenge; what it must find has to be there before.

    After a lost answer the authorization is read: a challenge that was answered is refused as `malformed`.
    """
    answered = ca.post(signer, challenge_url, {})
    return Answered(challenge=_challenge(answered.body), retry_at=answered.retry_at)


def _order(answer: Answer, url: str) -> Order:
    body = answer.body
    return Order.model_validate(
        {
            **{key: body.get(key) for key in ("status", "identifiers", "authorizations", "finalize")},
            **{key: body.get(key) for key in ("certificate", "expires", "profile", "replaces")},
            "url": url,
            "problem": problem(body.get("error")),
            "retry_at": answer.retry_at,
        }
    )


def _authorization(answer: Answer, url: str) -> Authorization:
    body = answer.body
    challenges = body.get("challenges")
    return Authorization.model_validate(
        {
            **{key: body.get(key) for key in ("status", "identifier", "expires")},
            "url": url,
            "wildcard": body.get("wildcard") is True,
            "challenges": [_challenge(one) for one in challenges] if isinstance(challenges, list) else (),
            "retry_at": answer.retry_at,
        }
    )


def _challenge(body: Mapping[str, Any]) -> Challenge:
    found = Challenge.model_validate(
        {
            **{key: body.get(key) for key in ("type", "url", "status")},
            "token": body.get("token") or "",
            "problem": problem(body.get("error")),
        }
    )
    if not _TOKEN.fullmatch(found.token):
        raise FailedError(Unanswered(reason="the CA's token has characters that no token has"))
    return found

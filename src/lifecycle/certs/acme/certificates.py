"""Certificates: download, revocation (RFC 8555, section 7.4.2 and 7.6), renewal information (RFC 9773)."""

from enum import IntEnum
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from josepy import json_util
from pydantic import JsonValue

from lifecycle.certs.acme.signing import Signer
from lifecycle.certs.acme.wire import CertificateAuthority, FailedError, verdict
from lifecycle.certs.verdicts import Chain, Done, Problem, Refused, RenewalInfo

_PEM_CHAIN = "application/pem-certificate-chain"


class Reason(IntEnum):
    """Why a certificate is revoked (RFC 5280, section 5.3.1): those that Let's Encrypt takes from subscribers."""

    UNSPECIFIED = 0
    KEY_COMPROMISE = 1
    SUPERSEDED = 4
    CESSATION_OF_OPERATION = 5


@verdict
def download(ca: CertificateAuthority, signer: Signer, url: str) -> Chain:
    """The certificate with its issuers, and where it is with others. What is in it is for `verification` to judge."""
    answer = ca.post(signer, url, None, accept=_PEM_CHAIN)
    return Chain(pem=answer.text, alternates=tuple(answer.links("alternate")))


@verdict
def revoke(ca: CertificateAuthority, signer: Signer, certificate_pem: str, reason: Reason) -> Done:
    """Revoke a certificate; one that is revoked already is done.

    Args:
        ca: where.
        signer: the account that ordered it, or the key of the certificate without an account.
        certificate_pem: the certificate; issuers after it are ignored.
        reason: for those who read revocation lists; `KEY_COMPROMISE` also blocks the key for ever.
    """
    certificate = x509.load_pem_x509_certificate(certificate_pem.encode()).public_bytes(Encoding.DER)
    payload: dict[str, JsonValue] = {"certificate": json_util.encode_b64jose(certificate), "reason": int(reason)}
    try:
        ca.post(signer, ca.directory().revoke_certificate, payload)
    except FailedError as error:
        if not (isinstance(error.failure, Refused) and error.failure.problem.kind == "alreadyRevoked"):
            raise
    return Done()


@verdict
def read_renewal_info(ca: CertificateAuthority, certificate_id: str) -> RenewalInfo:
    """When the CA wants the certificate to be renewed; refused when it has no renewal information.

    Args:
        ca: where.
        certificate_id: as `verification.certificate_id` gave it.
    """
    url = ca.directory().renewal_info
    if url is None:
        raise FailedError(Refused(problem=Problem(detail="The CA has no renewal information.")))
    answer = ca.get(f"{url.rstrip('/')}/{certificate_id}")
    window: Any = answer.body.get("suggestedWindow")
    times = window if isinstance(window, dict) else {}
    explanation = answer.body.get("explanationURL")
    return RenewalInfo.model_validate(
        {
            "certificate_id": certificate_id,
            "start": times.get("start"),
            "end": times.get("end"),
            "explanation_url": explanation if isinstance(explanation, str) and explanation else None,
            "retry_at": answer.retry_at,
        }
    )

"""Directory and accounts (RFC 8555, section 7.1.1 and 7.3)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from acme import jws
from josepy import json_util, jwa, jwk
from josepy.errors import DeserializationError

from lifecycle.certs.acme.signing import Signer, signed
from lifecycle.certs.acme.wire import Answer, CertificateAuthority, verdict
from lifecycle.certs.verdicts import Account, Directory

_HMAC: Mapping[str, jwa.JWASignature] = MappingProxyType({"HS256": jwa.HS256, "HS384": jwa.HS384, "HS512": jwa.HS512})


@dataclass(frozen=True, slots=True)
class Binding:
    """An account that we have at the CA outside of ACME (RFC 8555, section 7.3.4).

    Args:
        key_id: as the CA gave it.
        hmac_key: in base64url, as CAs give it.
        algorithm: HS256, HS384 or HS512.

    Raises:
        ValueError: the key is not base64url, or the algorithm is another.
    """

    key_id: str
    hmac_key: str = field(repr=False)
    algorithm: str = "HS256"

    def __post_init__(self) -> None:
        if self.algorithm not in _HMAC:
            raise ValueError(f"the algorithm of an account binding is one of {', '.join(_HMAC)}")
        if not self.secret:
            raise ValueError("the HMAC key of an account binding is empty")

    @property
    def secret(self) -> bytes:
        """The key itself."""
        try:
            return json_util.decode_b64jose(self.hmac_key.rstrip("="))
        except DeserializationError as error:
            raise ValueError("the HMAC key of an account binding is not base64url") from error


@verdict
def read_directory(ca: CertificateAuthority) -> Directory:
    """What the CA offers now. Anything but a directory is `Unanswered`."""
    return ca.read_directory()


@verdict
def new_account(
    ca: CertificateAuthority, signer: Signer, *, contact: Sequence[str] = (), binding: Binding | None = None
) -> Account:
    """Make the account of this key, agreeing to the CA's terms; the one that it has when it has one.

    So after a lost answer it is called again.

    Args:
        ca: where.
        signer: the key, without an account.
        contact: URLs such as `mailto:ops@example.com`.
        binding: where the CA requires one.
    """
    url = ca.directory().new_account
    payload: dict[str, Any] = {"termsOfServiceAgreed": True}
    if contact:
        payload["contact"] = list(contact)
    if binding is not None:
        payload["externalAccountBinding"] = _bound(binding, signer, url)
    answer = ca.post(signer, url, payload)
    return _account(answer, answer.location)


@verdict
def find_account(ca: CertificateAuthority, signer: Signer) -> Account:
    """The account of this key; the refusal `accountDoesNotExist` when it has none. Makes nothing."""
    answer = ca.post(signer, ca.directory().new_account, {"onlyReturnExisting": True})
    return _account(answer, answer.location)


@verdict
def read_account(ca: CertificateAuthority, signer: Signer) -> Account:
    """The account as it is now."""
    url = _url(signer)
    return _account(ca.post(signer, url, None), url)


@verdict
def deactivate_account(ca: CertificateAuthority, signer: Signer) -> Account:
    """End the account for ever. Afterwards every request of it is refused as `unauthorized`."""
    url = _url(signer)
    return _account(ca.post(signer, url, {"status": "deactivated"}), url)


@verdict
def roll_over(ca: CertificateAuthority, signer: Signer, new_key: bytes) -> Account:
    """Give the account another key (RFC 8555, section 7.3.5).

    After a lost answer ask `find_account` with the new key: it has the account exactly when the change was made.

    Args:
        ca: where.
        signer: the account with its present key.
        new_key: PEM; stored safely before this call, for afterwards only it opens the account.
    """
    url, account = ca.directory().key_change, _url(signer)
    old_key: Any = signer.jwk.public_key().to_json()
    inner = signed(Signer(new_key), url, json.dumps({"account": account, "oldKey": old_key}).encode(), nonce=None)
    ca.post(signer, url, json.loads(inner))
    # Boulder answers with the account, Pebble with nothing.
    return Account(url=account, status="valid")


def _account(answer: Answer, url: str) -> Account:
    return Account(url=url, status=answer.body.get("status", "valid"), orders=answer.body.get("orders"))


def _url(signer: Signer) -> str:
    if signer.account is None:
        raise ValueError("the signer has no account")
    return signer.account


def _bound(binding: Binding, signer: Signer, url: str) -> Any:
    """The public key of the account, signed with the key that the CA gave us."""
    key = json.dumps(signer.jwk.public_key().to_json()).encode()
    secret = jwk.JWKOct(key=binding.secret)
    bound = jws.JWS.sign(key, key=secret, alg=_HMAC[binding.algorithm], nonce=None, url=url, kid=binding.key_id)
    return json.loads(bound.json_dumps())

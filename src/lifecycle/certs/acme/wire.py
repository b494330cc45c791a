"""Signed requests to a CA, and what its answers are on the wire.

`acme.client.ClientNetwork` is not used. It tries a rejected nonce once only, throws the nonces of errors away, loses
`Retry-After`, makes every 409 a conflict, and costs as much again as the request. Here the request loops over rejected
nonces, and every answer keeps its type, status and headers.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import wraps
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import urllib3
from pydantic import JsonValue, ValidationError
from requests.utils import parse_header_links

from lifecycle import clock
from lifecycle.certs import problems
from lifecycle.certs.acme.signing import Signer, nonce_in, signed
from lifecycle.certs.names import Identifier
from lifecycle.certs.verdicts import Directory, Failure, Problem, RateLimited, Refused, Unanswered

P = ParamSpec("P")
T = TypeVar("T")

# At a rejection of one half, ten tries in a row fail once in a thousand requests and twenty once in a million.
_NONCE_TRIES = 20
# Nonces grow old, and one request needs one; so many requests may be under way at a time.
_AT_ONCE = 16
_JOSE = "application/jose+json"
# A directory may have moved; what is signed is signed for its URL.
_REDIRECTS = 3
_GOOD, _OTHERWISE = 200, 300
# What a CA says is journaled and shown to people; more than this helps neither.
_LONGEST_TEXT = 4000
# RFC 8555 gives directories no age; a CA that adds a feature may wait this long for us.
_DIRECTORY_AGE = timedelta(hours=1)


class Answer(NamedTuple):
    """An answer.

    Attributes:
        url: that was asked, for links relative to it.
        at: when it came.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    text: str
    at: datetime

    @property
    def body(self) -> Mapping[str, Any]:
        """The JSON object in it; the models check what is inside."""
        try:
            body = json.loads(self.text)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise FailedError(Unanswered(reason=f"{self.url} did not answer with a JSON object", foreign=True))
        return body

    @property
    def location(self) -> str:
        """The URL of what was made or found."""
        if "Location" not in self.headers:
            raise FailedError(Unanswered(reason=f"{self.url} did not say where the result is"))
        return urljoin(self.url, self.headers["Location"])

    @property
    def retry_at(self) -> datetime | None:
        """When to ask again, as the CA says."""
        return problems.retry_after(self.headers.get("Retry-After"), now=self.at)

    def links(self, relation: str) -> Sequence[str]:
        """The URLs of all links of this relation (RFC 8288)."""
        links = parse_header_links(self.headers.get("Link", ""))
        return [urljoin(self.url, link["url"]) for link in links if link.get("rel") == relation]


class FailedError(Exception):
    """A request failed. It ends in `verdict`, and nobody else sees it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


def verdict(call: Callable[P, T]) -> Callable[P, T | Failure]:
    """Make a function answer with a failure instead of raising it."""

    @wraps(call)
    def answering(*args: P.args, **kwargs: P.kwargs) -> T | Failure:
        try:
            return call(*args, **kwargs)
        except FailedError as error:
            return error.failure
        except ValidationError as error:
            places = ", ".join(sorted({".".join(str(part) for part in one["loc"]) for one in error.errors()}))
            return Unanswered(reason=f"the CA's answer to {call.__name__} is not as the standard has it: {places}")

    return answering


class CertificateAuthority:
    """One CA. Many threads may use it at once; connections and nonces are kept for those who come next.

    Args:
        directory_url: where its directory is.
        trust: PEM file of the authorities for its own HTTPS; None takes those of the `certifi` package.
        timeout: longest wait for a connection, and for each part of an answer.
    """

    def __init__(
        self, directory_url: str, *, trust: Path | None = None, timeout: timedelta = timedelta(seconds=30)
    ) -> None:
        self.directory_url = directory_url
        self._connections = _connections(directory_url, trust=trust, timeout=timeout)
        self._nonces: deque[bytes] = deque(maxlen=_AT_ONCE)
        self._directory: Directory | None = None
        self._directory_read = 0.0

    def directory(self) -> Directory:
        """What it offers, as it said within the last hour.

        Raises:
            FailedError: it gives none.
        """
        known = self._directory
        if known is None or time.monotonic() - self._directory_read > _DIRECTORY_AGE.total_seconds():
            known = self._directory = self.read_directory()
            self._directory_read = time.monotonic()
        return known

    def read_directory(self) -> Directory:
        """What it offers, asked now.

        Raises:
            FailedError: it gives none; also when what it gives is no directory.
        """
        body = self.get(self.directory_url).body
        meta = body.get("meta")
        if not isinstance(meta, dict):
            meta = {}
        try:
            return Directory(
                new_nonce=body["newNonce"],
                new_account=body["newAccount"],
                new_order=body["newOrder"],
                revoke_certificate=body["revokeCert"],
                key_change=body["keyChange"],
                renewal_info=body.get("renewalInfo"),
                terms_of_service=meta.get("termsOfService"),
                external_account_required=meta.get("externalAccountRequired", False),
                caa_identities=meta.get("caaIdentities", ()),
                profiles=meta.get("profiles", {}),
            )
        except (KeyError, ValidationError) as error:
            raise FailedError(Unanswered(reason=f"{self.directory_url} is no ACME directory", foreign=True)) from error

    def get(self, url: str) -> Answer:
        """GET without a signature.

        Raises:
            FailedError: no good answer came.
        """
        return self._ask("GET", url)

    def post(
        self, signer: Signer, url: str, payload: Mapping[str, JsonValue] | None, *, accept: str | None = None
    ) -> Answer:
        """POST with a signature, again as long as only the nonce is rejected.

        Without a payload it is a POST-as-GET (RFC 8555, section 6.3).

        Raises:
            FailedError: no good answer came.
        """
        new_nonce = self.directory().new_nonce
        body = b"" if payload is None else json.dumps(payload).encode()
        headers = {"Content-Type": _JOSE, **({"Accept": accept} if accept else {})}
        for left in reversed(range(_NONCE_TRIES)):
            jws = signed(signer, url, body, nonce=self._nonce(new_nonce))
            try:
                return self._ask("POST", url, body=jws.encode(), headers=headers)
            except FailedError as error:
                rejected = isinstance(error.failure, Refused) and error.failure.problem.kind == "badNonce"
                if not rejected or not left:
                    raise
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close its idle connections; it can still be used."""
        self._connections.clear()

    def _ask(
        self, method: str, url: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request. The nonce of its answer is kept, whatever the answer is.

        Raises:
            FailedError: no good answer came.
        """
        if urlsplit(url).scheme not in ("https", "http"):
            raise FailedError(Unanswered(reason=f"{url} is no URL"))
        try:
            response = self._connections.request(
                method,
                url,
                body=body,
                headers={**self._connections.headers, **(headers or {})},
                redirect=method == "GET",
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise FailedError(Unanswered(reason=f"{url}: {_cause(error)}")) from error
        if nonce := nonce_in(response.headers):
            self._nonces.append(nonce)
        at = clock.now()
        text = response.data.decode(errors="replace")  # all that CAs send is ASCII or UTF-8
        answer = Answer(url, response.status, response.headers, text, at)
        if not _GOOD <= answer.status < _OTHERWISE:
            raise FailedError(_failure(answer))
        return answer

    def _nonce(self, new_nonce: str) -> bytes:
        # The newest first: behind a pause all others may have become too old.
        for _ in range(2):
            try:
                return self._nonces.pop()
            except IndexError:
                self._ask("HEAD", new_nonce)
        raise FailedError(Unanswered(reason=f"{new_nonce} gave no nonce"))


def _connections(url: str, *, trust: Path | None, timeout: timedelta) -> urllib3.PoolManager:
    """Connections that are kept, directly or through the proxy that the environment names."""
    parts = urlsplit(url)
    proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
    options: Any = {
        "maxsize": _AT_ONCE,
        "ca_certs": certifi.where() if trust is None else str(trust),
        "timeout": urllib3.Timeout(connect=timeout.total_seconds(), read=timeout.total_seconds()),
        # Nothing is sent twice here; whoever asked decides about that.
        "retries": urllib3.Retry(
            connect=0, read=0, other=0, status=0, redirect=_REDIRECTS, respect_retry_after_header=False
        ),
        "headers": {"User-Agent": f"lifecycle/{version('lifecycle')}"},
    }
    return urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)


def problem(body: object, status: int | None = None) -> Problem | None:
    """The problem document in a JSON value; None when there is none. What is odd in it is left out.

    Args:
        body: any JSON value.
        status: of the answer that it came in; without one its own.
    """
    if not isinstance(body, dict):
        return None
    # RFC 8555, section 6.7.1: a subproblem has none of its own.
    subproblems = body.get("subproblems")
    found = [_one(one, None) for one in subproblems if isinstance(one, dict)] if isinstance(subproblems, list) else ()
    return _one(body, status).model_copy(update={"subproblems": tuple(found)})


def _one(body: Mapping[str, object], status: int | None) -> Problem:
    return Problem(
        type=_text(body.get("type")) or "about:blank",
        detail=_text(body.get("detail")) or _text(body.get("title")) or "",
        status=status if status is not None else _number(body.get("status")),
        instance=_text(body.get("instance")),
        identifier=_identifier(body.get("identifier")),
    )


def _failure(answer: Answer) -> Failure:
    try:
        body = json.loads(answer.text)
    except (ValueError, RecursionError):
        body = None
    found = problem(body, answer.status)
    if found is None:
        reason = f"{answer.url} answered HTTP {answer.status}"
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Unanswered(reason=reason, retry_at=answer.retry_at)
        found = Problem(detail=reason, status=answer.status)
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS or found.kind == "rateLimited":
        return RateLimited(problem=found, until=answer.retry_at or problems.stated_retry(found, now=answer.at))
    return Refused(problem=found, retry_at=answer.retry_at)


def _cause(error: BaseException) -> str:
    """The innermost reason of an error that libraries have wrapped again and again."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error) or type(error).__name__


def _text(value: object) -> str | None:
    return value[:_LONGEST_TEXT] if isinstance(value, str) and value else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _identifier(value: object) -> Identifier | None:
    try:
        return Identifier.model_validate(value)
    except ValidationError:
        return None

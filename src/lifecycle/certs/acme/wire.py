"""Signed requests to a CA, and what its answers are on the wire.

`acme.client.ClientNetwork` gives the session and its settings. Its `post` tries a rejected nonce once only, throws the
nonces of errors away, loses `Retry-After`, and makes every 409 a conflict; here the request loops over rejected nonces,
and every answer keeps its type, status and headers.
"""

import contextlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import wraps
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar
from urllib.parse import urljoin

import requests
from acme.client import ClientNetwork
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
# Nonces grow old, and one request needs one.
_NONCES_KEPT = 4
# What a CA says is journaled and shown to people; more than this helps neither.
_LONGEST_TEXT = 4000
# RFC 8555 gives directories no age; a CA that adds a feature may wait this long for us.
_DIRECTORY_AGE = timedelta(hours=1)


class Answer(NamedTuple):
    """A good answer.

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
    """One CA. Many threads may use it at once: each request has a session to itself, and returns it afterwards.

    Args:
        directory_url: where its directory is.
        trust: PEM file of the authorities for its own HTTPS; None takes those of the `certifi` package.
        timeout: longest wait for a connection, and for each part of an answer.
    """

    def __init__(
        self, directory_url: str, *, trust: Path | None = None, timeout: timedelta = timedelta(seconds=30)
    ) -> None:
        self.directory_url = directory_url
        self._trust = trust
        self._timeout = timeout
        self._networks: deque[_Network] = deque()
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
        with self._network() as network:
            return network.ask("GET", url)

    def post(
        self, signer: Signer, url: str, payload: Mapping[str, JsonValue] | None, *, accept: str | None = None
    ) -> Answer:
        """POST with a signature; without a payload it is a POST-as-GET (RFC 8555, section 6.3).

        Raises:
            FailedError: no good answer came.
        """
        directory = self.directory()
        body = b"" if payload is None else json.dumps(payload).encode()
        with self._network() as network:
            return network.send(signer, url, body, new_nonce=directory.new_nonce, accept=accept)

    def close(self) -> None:
        """Close its idle connections; it can still be used."""
        while self._networks:
            self._networks.pop().session.close()

    @contextlib.contextmanager
    def _network(self) -> Iterator["_Network"]:
        try:
            network = self._networks.pop()
        except IndexError:
            network = _Network(trust=self._trust, timeout=self._timeout)
        try:
            yield network
        finally:
            self._networks.append(network)


class _Network(ClientNetwork):
    """One session and its nonces; used by one thread at a time."""

    def __init__(self, *, trust: Path | None, timeout: timedelta) -> None:
        # The library passes both on to requests, which also takes a file and a fraction.
        verify: Any = True if trust is None else str(trust)
        seconds: Any = timeout.total_seconds()
        super().__init__(verify_ssl=verify, timeout=seconds, user_agent=f"lifecycle/{version('lifecycle')}")
        # Without it, requests looks for a .netrc on the disk with every call.
        self.session.auth = _as_it_is
        self._fresh: deque[bytes] = deque(maxlen=_NONCES_KEPT)

    def ask(self, method: str, url: str, **options: Any) -> Answer:
        """One request. The nonce of its answer is kept, whatever the answer is.

        Raises:
            FailedError: no good answer came.
        """
        try:
            response = self._send_request(method, url, **options)
        except requests.RequestException as error:
            raise FailedError(Unanswered(reason=f"{url}: {_cause(error)}")) from error
        if nonce := nonce_in(response.headers):
            self._fresh.append(nonce)
        at = clock.now()
        if not response.ok:
            raise FailedError(_failure(response, at))
        # `response.text` would try one encoding after the other; all that CAs send is ASCII or UTF-8.
        return Answer(url, response.status_code, response.headers, response.content.decode(errors="replace"), at)

    def send(self, signer: Signer, url: str, body: bytes, *, new_nonce: str, accept: str | None) -> Answer:
        """POST with a signature, again as long as only the nonce is rejected.

        Raises:
            FailedError: no good answer came.
        """
        headers = {"Content-Type": self.JOSE_CONTENT_TYPE, **({"Accept": accept} if accept else {})}
        for left in reversed(range(_NONCE_TRIES)):
            nonce = self._nonce(new_nonce)
            try:
                return self.ask("POST", url, data=signed(signer, url, body, nonce=nonce), headers=headers)
            except FailedError as error:
                rejected = isinstance(error.failure, Refused) and error.failure.problem.kind == "badNonce"
                if not rejected or not left:
                    raise
        raise AssertionError("unreachable")

    def _nonce(self, new_nonce: str) -> bytes:
        # The newest first: behind a pause all others may have become too old.
        if not self._fresh:
            self.ask("HEAD", new_nonce)
        if not self._fresh:
            raise FailedError(Unanswered(reason=f"{new_nonce} gave no nonce"))
        return self._fresh.pop()


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


def _failure(response: requests.Response, at: datetime) -> Failure:
    retry_at = problems.retry_after(response.headers.get("Retry-After"), now=at)
    try:
        body = response.json()
    except (ValueError, RecursionError):
        body = None
    found = problem(body, response.status_code)
    if found is None:
        reason = f"{response.url} answered HTTP {response.status_code}"
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Unanswered(reason=reason, retry_at=retry_at)
        found = Problem(detail=reason, status=response.status_code)
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS or found.kind == "rateLimited":
        return RateLimited(problem=found, until=retry_at or problems.stated_retry(found, now=at))
    return Refused(problem=found, retry_at=retry_at)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """What a request needs to be let in: nothing, for it is signed."""
    return request


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

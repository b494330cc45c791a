"""The baseline of `issuance.py`: the `acme` library alone, with its own polling. Run as `python _bare_acme.py`.

It stores nothing, survives nothing and serves nothing: an account, a key for each name, and a thread that answers
HTTP-01. Reads one JSON object a line: first where the CA is, then lists of names; answers each with one line.
"""

import json
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from typing import Any

from acme import challenges, crypto_util, messages
from acme.client import ClientNetwork, ClientV2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy import jwa, jwk

_FIRST_PAUSE, _GROWTH = 0.02, 1.5
_TOKENS: dict[str, str] = {}


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = _TOKENS.get(self.path.rpartition("/")[2], "").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as the library names it
        """Say nothing."""


class _Bare:
    """Clients of one account, of which each thread takes one at a time."""

    def __init__(self, directory_url: str, trust: str, clients: int) -> None:
        self._key = jwk.JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
        self._clients: SimpleQueue[ClientV2] = SimpleQueue()
        account = None
        for _ in range(clients):
            network = ClientNetwork(self._key, alg=jwa.ES256, verify_ssl=trust, user_agent="bare")  # type: ignore[arg-type]
            client = ClientV2(ClientV2.get_directory(directory_url, network), network)
            if account is None:
                account = client.new_account(messages.NewRegistration.from_data(terms_of_service_agreed=True))
            network.account = account
            self._clients.put(client)

    def issue(self, name: str) -> float:
        """Milliseconds for one certificate."""
        begun = time.perf_counter()
        client = self._clients.get()
        try:
            self._issue(client, name)
        finally:
            self._clients.put(client)
        return (time.perf_counter() - begun) * 1000

    def _issue(self, client: ClientV2, name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        order = client.new_order(crypto_util.make_csr(key, [name]))
        for authorization in order.authorizations:
            challenge = next(one for one in authorization.body.challenges if isinstance(one.chall, challenges.HTTP01))
            response, validation = challenge.chall.response_and_validation(self._key)
            _TOKENS[challenge.chall.path.rpartition("/")[2]] = validation
            client.answer_challenge(challenge, response)
            pauses = _Pauses()
            while True:
                pauses.rest()
                read, answer = client.poll(authorization)
                if read.body.status == messages.STATUS_VALID:
                    break
                if read.body.status != messages.STATUS_PENDING:
                    raise SystemExit(f"{name}: {read.body}")
                pauses.told(answer.headers)
        order = client.begin_finalization(order)
        pauses = _Pauses()
        while True:
            pauses.rest()
            answer = client._post_as_get(order.uri)  # noqa: SLF001  its own polling sleeps a second before it looks
            body = messages.Order.from_json(answer.json())
            if body.status == messages.STATUS_VALID:
                break
            pauses.told(answer.headers)
        client._post_as_get(body.certificate)  # noqa: SLF001  as above


class _Pauses:
    """20 ms, then half as much again each time, unless the CA wants more."""

    def __init__(self) -> None:
        self._next = _FIRST_PAUSE

    def rest(self) -> None:
        time.sleep(self._next)
        self._next *= _GROWTH

    def told(self, headers: Mapping[str, str]) -> None:
        self._next = max(self._next, float(headers.get("Retry-After", 0)))


def _main() -> None:
    given: dict[str, Any] = json.loads(sys.stdin.readline())
    server = ThreadingHTTPServer((given["host"], given["port"]), _Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    bare = _Bare(given["directory_url"], given["trust"], given["threads"])
    print(json.dumps("ready"), flush=True)
    with ThreadPoolExecutor(given["threads"]) as pool:
        for line in sys.stdin:
            begun, cpu = time.perf_counter(), time.process_time()
            milliseconds = list(pool.map(bare.issue, json.loads(line)))
            used = time.process_time() - cpu
            print(json.dumps([time.perf_counter() - begun, used, milliseconds]), flush=True)


if __name__ == "__main__":
    _main()

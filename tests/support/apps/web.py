"""A deployment for tests: `python3 web.py VERSION [MODE] [FILE]` listens on PORT and answers with its version.

Every answer names the instance in `X-Instance`, which the process platform has as the name of its folder.

    serve     the default
    exit      ends at once, with code 1
    deaf      never listens
    ill       answers 500
    wait      listens when FILE is there
    brief     answers / once, and 500 from then on

`POST /ill` lets it answer 500 from then on. `GET /env/NAME` answers with an environment variable.
"""

import json
import os
import sys
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VERSION = sys.argv[1]
MODE = sys.argv[2] if len(sys.argv) > 2 else "serve"
DOCUMENT = {"openapi": "3.1.0", "info": {"title": "Shop", "version": VERSION}, "paths": {}}


class Answer(BaseHTTPRequestHandler):
    """Answers every request."""

    protocol_version = "HTTP/1.1"
    is_ill = MODE == "ill"

    def do_GET(self) -> None:
        """Say the version, a variable, or the API."""
        if Answer.is_ill:
            self._say("I do not feel well", HTTPStatus.INTERNAL_SERVER_ERROR)
        elif self.path == "/openapi.json":
            self._say(json.dumps(DOCUMENT))
        elif self.path.startswith("/env/"):
            self._say(os.environ.get(self.path.removeprefix("/env/"), "not set"))
        else:
            Answer.is_ill = MODE == "brief"
            self._say(VERSION)

    def do_POST(self) -> None:
        """Get ill."""
        Answer.is_ill = self.path == "/ill"
        self._say(VERSION)

    def log_message(self, *_: object) -> None:
        """Print nothing for a request."""

    def _say(self, text: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Instance", Path.cwd().parent.name)
        self.end_headers()
        self.wfile.write(content)


class Server(ThreadingHTTPServer):
    """Takes many connections at a time."""

    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    """Do what the mode says."""
    print(f"{VERSION} begins", flush=True)  # noqa: T201  its log is looked at
    if MODE == "exit":
        sys.exit("there is no configuration")
    while MODE == "deaf" or (MODE == "wait" and not Path(sys.argv[3]).exists()):
        time.sleep(0.02)
    Server(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()


if __name__ == "__main__":
    main()

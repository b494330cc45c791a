"""A small web server: listens on `PORT`, answers with `GREETING`, and says when it is asked to end."""

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Answer(BaseHTTPRequestHandler):
    """Answers every GET."""

    def do_GET(self) -> None:
        """Say the greeting."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ["GREETING"].encode())


def end(_number: int, _frame: object) -> None:
    """Say goodbye, and end."""
    sys.stdout.write("asked to end\n")
    sys.stdout.flush()
    sys.exit(0)


signal.signal(signal.SIGTERM, end)
sys.stdout.write("serving\n")
sys.stdout.flush()
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()

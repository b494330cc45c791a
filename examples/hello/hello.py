"""The smallest app that Lifecycle can deploy: it says its name and version, and listens where `PORT` says.

Deploy it with: lifecycle deploy shop --directory examples/hello -- python3 hello.py shop 1
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hello(BaseHTTPRequestHandler):
    """Answers every GET with the words it was started with."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        answer = f"{' '.join(sys.argv[1:]) or 'hello'}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Hello).serve_forever()

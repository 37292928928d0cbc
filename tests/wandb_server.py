"""A stand-in for W&B's service on this machine: it begins runs, or answers 500, or never, from the start or later."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUCKET = {
    **{"id": "x", "name": "run", "displayName": "run", "description": "", "config": "{}", "sweepName": ""},
    **{"historyLineCount": 0, "project": {"id": "q", "name": "p", "entity": {"id": "e", "name": "me"}}},
}
ANSWER = {
    "viewer": {"id": "1", "username": "me", "entity": "me", "flags": "{}", "teams": {"edges": []}},
    "serverInfo": {"cliVersionInfo": {}, "features": []},
    **{"model": None, "project": None, "upsertBucket": {"bucket": BUCKET, "inserted": True}},
}


class Handler(BaseHTTPRequestHandler):
    """Answers, until its server is broken; what the server is told stands in its attributes."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        server = self.server
        server.asked.append(self.path)
        if server.broken.is_set():
            if server.mode == "hang":
                server.ending.wait(600)
            self.send(500, b"no")
            return
        self.send(200, json.dumps({"data": ANSWER}).encode())
        if b"UpsertBucket" in body:
            server.broken.set()
            if server.mode == "gone":
                threading.Thread(target=leave, args=(server,)).start()

    do_GET = do_PUT = do_POST  # noqa: N815

    def send(self, code, body):
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def leave(server):
    server.shutdown()
    server.server_close()


@contextmanager
def server(mode, after_begin=False):
    """Serves until the context ends.

    Args:
        mode: "500", "hang" or "gone".
        after_begin: answer properly until a run has begun.

    Yields:
        The address, and a list of what was asked.
    """
    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.daemon_threads, found.block_on_close = True, False
    found.mode, found.asked = mode, []
    found.ending, found.broken = threading.Event(), threading.Event()
    threading.Thread(target=found.serve_forever, daemon=True).start()
    if not after_begin:
        found.broken.set()
    address = f"http://127.0.0.1:{found.server_port}"
    if mode == "gone" and not after_begin:
        leave(found)
    try:
        yield address, found.asked
    finally:
        found.ending.set()
        leave(found)

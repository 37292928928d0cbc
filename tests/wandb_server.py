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


@contextmanager
def server(mode, after_begin=False):
    """Serves until the context ends.

    Args:
        mode: "500", "hang" or "gone".
        after_begin: answer properly until a run has begun.

    Yields:
        The address, and a list of what was asked.
    """
    ending, asked, broken = threading.Event(), [], threading.Event()
    if not after_begin:
        broken.set()

    def leave():
        found.shutdown()
        found.server_close()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            asked.append(self.path)
            if broken.is_set():
                if mode == "hang":
                    ending.wait(600)
                self.send(500, b"no")
                return
            self.send(200, json.dumps({"data": ANSWER}).encode())
            if b"UpsertBucket" in body:
                broken.set()
                if mode == "gone":
                    threading.Thread(target=leave).start()

        do_GET = do_PUT = do_POST  # noqa: N815

        def send(self, code, body):
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.daemon_threads, found.block_on_close = True, False
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{found.server_port}"
    if mode == "gone" and not after_begin:
        leave()
    try:
        yield address, asked
    finally:
        ending.set()
        leave()

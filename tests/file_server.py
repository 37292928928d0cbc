"""A web server on this machine whose pages misbehave as they are told to."""

import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """What one address answers, and what it was asked."""

    content: bytes
    etag: str = ""
    date: str = ""
    ranges: bool = True
    sized: bool = True
    shift: int = 0  # sends another range than it was asked for
    statuses: list = field(default_factory=list)  # answered first, one each
    cuts: list = field(default_factory=list)  # then: bytes after which the connection breaks
    redirect: str = ""
    hangs: bool = False  # after a cut, and without one at once
    asked: list = field(default_factory=list)  # Range and If-Range of each request


class FileServer(ThreadingHTTPServer):
    """Serves pages by their paths."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages = {}
        self.over = threading.Event()

    def add(self, path, content, **manners):
        page = self.pages[path] = Page(content, **manners)
        return f"http://127.0.0.1:{self.server_port}{path}", page

    def handle_error(self, request, client_address):
        """A client that goes away is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        page = self.server.pages.get(self.path)
        if page is None:
            return self.send_error(404)
        page.asked.append((self.headers["Range"], self.headers["If-Range"]))
        if page.statuses:
            return self.send_error(page.statuses.pop(0))
        if page.redirect:
            self.send_response(302)
            self.send_header("Location", page.redirect)
            return self.end_headers()
        start = self.first_byte(page)
        if start and start >= len(page.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(page.content)}")
            return self.end_headers()
        return self.answer(page, start)

    def first_byte(self, page):
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        version = self.headers["If-Range"]
        fresh = version is None or version in (page.etag, page.date)
        return int(asked[1]) if asked and page.ranges and fresh else 0

    def answer(self, page, start):
        body = page.content[start:]
        cut = page.cuts.pop(0) if page.cuts else 0 if page.hangs else len(body)
        if page.hangs and not cut:
            return self.server.over.wait(10)
        self.send_response(206 if start else 200)
        if start:
            first = start + page.shift
            self.send_header("Content-Range", f"bytes {first}-{len(page.content) - 1}/{len(page.content)}")
        named = {"Content-Length": page.sized and str(len(body)), "ETag": page.etag, "Last-Modified": page.date}
        for name, value in named.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:cut])
        self.wfile.flush()
        return self.server.over.wait(10) if page.hangs else None

    def log_message(self, *_):
        pass


@contextmanager
def running():
    """A server that answers, until the block ends."""
    with FileServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()

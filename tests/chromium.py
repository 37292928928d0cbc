"""A real Chromium without a window, driven through its debugging pipe: no package and no port is needed for that."""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MISSING = (
    "this test needs a Chromium: on Debian and Ubuntu `apt-get install chromium`, elsewhere Chromium or Chrome from "
    "your system's packages, or FCNSEG_BROWSER=PATH naming one"
)
OPTIONS = (
    *("--headless=new", "--remote-debugging-pipe", "--no-first-run", "--no-default-browser-check", "--disable-gpu"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--force-device-scale-factor=1"),
)
PATIENCE_S = 60
START = """import fcntl, os, sys
down, up = (fcntl.fcntl(int(each), fcntl.F_DUPFD, 10) for each in sys.argv[1:3])
os.dup2(down, 3), os.dup2(up, 4)
os.execv(sys.argv[3], sys.argv[3:])"""
"""Becomes the browser, which reads file 3 and writes file 4."""


def browser():
    """Returns the program; without one the test fails."""
    named = os.environ.get("FCNSEG_BROWSER")
    found = [path for name in ([named] if named else NAMES) if (path := shutil.which(name))]
    if not found:
        pytest.fail(MISSING, pytrace=False)
    return found[0]


class Chromium:
    """One browser with one page.

    Attributes:
        requests: addresses that the page has asked for since it was opened, itself included.
        complaints: what the page has written to the console, and what its policy has refused.
    """

    def __init__(self, folder):
        down, self._down = os.pipe()
        self._up, up = os.pipe()
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium has none for root
        command = [browser(), *OPTIONS, *sandbox, f"--user-data-dir={folder}", "about:blank"]
        self._log = Path(folder) / "browser.log"
        with self._log.open("wb") as log:
            start = [sys.executable, "-c", START, str(down), str(up), *command]
            self._process = subprocess.Popen(start, pass_fds=(down, up), stdout=log, stderr=log)
        os.close(down)
        os.close(up)
        self._rest, self._number, self._session = b"", 0, None
        self.requests, self.complaints = [], []
        try:
            self._attach()
        except BaseException:
            self.close()
            raise

    def _attach(self):
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def close(self):
        self._process.kill()
        self._process.wait()
        os.close(self._down)
        os.close(self._up)

    def ask(self, method, **parameters):
        """Sends a command and returns its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._down, json.dumps(message).encode() + b"\0")
        return self._until(lambda said: said.get("id") == self._number)["result"]

    def open(self, path, width=1280, height=900, dark=False):
        """Opens a file at a width and in a colour scheme, and waits until it is there."""
        self.requests.clear()
        self.complaints.clear()
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask("Page.navigate", url=Path(path).resolve().as_uri())
        self._until(lambda said: said.get("method") == "Page.loadEventFired")

    def run(self, script):
        """Returns the value of a script's expression."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def picture(self, path):
        """Saves the whole page as a PNG."""
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def _until(self, wanted):
        end = time.monotonic() + PATIENCE_S
        while True:
            said = self._next(end)
            if said.get("method") == "Network.requestWillBeSent":
                self.requests.append(said["params"]["request"]["url"])
            if said.get("method") == "Log.entryAdded":
                self.complaints.append(said["params"]["entry"]["text"])
            if "error" in said:
                raise AssertionError(said)
            if wanted(said):
                return said

    def _next(self, end):
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._up], [], [], max(0, end - time.monotonic()))
            chunk = os.read(self._up, 1 << 16) if ready else b""
            if not chunk:
                said = self._log.read_text(errors="replace")[-2000:]
                raise AssertionError(f"the browser {'has died' if ready else 'says nothing'}: {said}")
            self._rest += chunk
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

"""A browser that tests drive: Debian's chromium over the Chrome DevTools Protocol, through a pair of pipes.

Pipes need no library and no port: messages are JSON documents, each ended by a zero byte.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from select import select
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PROGRAM = os.environ.get("PIXELSLEUTH_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-extensions", "--remote-debugging-pipe"),
)
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39}
SECONDS = 60


class Browser:
    """One browser with one page; `log` holds what its console and its security policy said."""

    def __init__(self, folder: Path) -> None:
        assert PROGRAM is not None
        self.folder = folder
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()

        def connect() -> None:  # chromium reads from descriptor 3 and writes to descriptor 4
            high_in, high_out = os.dup2(theirs_in, 100), os.dup2(theirs_out, 101)
            os.dup2(high_in, 3)
            os.dup2(high_out, 4)

        self.process = subprocess.Popen(
            [PROGRAM, *FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"],
            preexec_fn=connect,
            pass_fds=(3, 4),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._in, self._out = ours_in, ours_out
        self._numbers, self._rest = itertools.count(1), b""
        self.events: list[dict[str, Any]] = []
        self.session: str | None = None
        page = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.call(f"{domain}.enable")
        self.call(
            "Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder), eventsEnabled=True
        )

    def close(self) -> None:
        """End the browser; its processes are killed where it does not end by itself."""
        with contextlib.suppress(AssertionError, OSError, subprocess.TimeoutExpired):
            self.call("Browser.close")
            self.process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        os.close(self._in)
        os.close(self._out)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command of the protocol; events that come meanwhile are kept."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self.session is not None and not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self.session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + SECONDS
        while True:
            answer = self._receive(until)
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def _receive(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select([self._in], [], [], max(0, until - time.monotonic()))[0], "the browser is silent"
            self._rest += os.read(self._in, 1 << 20)
        text, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message

    def event(self, name: str) -> dict[str, Any]:
        """The parameters of the next event of a name, which is taken out of `events`."""
        until = time.monotonic() + SECONDS
        while True:
            for event in self.events:
                if event["method"] == name:
                    self.events.remove(event)
                    return event["params"]
            self._receive(until)

    @property
    def log(self) -> list[str]:
        """What the console has said, violations of the security policy and failed requests among it."""
        self.run("0")
        said = [e["params"]["entry"]["text"] for e in self.events if e["method"] == "Log.entryAdded"]
        said += [str(e["params"]["args"]) for e in self.events if e["method"] == "Runtime.consoleAPICalled"]
        thrown = (e["params"] for e in self.events if e["method"] == "Runtime.exceptionThrown")
        return said + [str(params["exceptionDetails"]) for params in thrown]

    def open(self, url: str) -> None:
        """Go to a page and wait until it is loaded."""
        self.events.clear()
        self.call("Page.navigate", url=url)
        self.event("Page.loadEventFired")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page; a promise is awaited."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def until(self, script: str) -> Any:
        """Wait until an expression is true, and return its value."""
        end = time.monotonic() + SECONDS
        while not (value := self.run(script)):
            assert time.monotonic() < end, (
                f"never true: {script}; the page: {self.run('document.body.innerText')}"
            )
            time.sleep(0.05)
        return value

    def texts(self, selector: str) -> list[str]:
        """The texts of the elements of a selector, as they are shown."""
        return self.run(f"[...document.querySelectorAll({selector!r})].map((e) => e.innerText.trim())")

    def place(self, selector: str, x: float = 0.5, y: float = 0.5) -> tuple[float, float]:
        """A point of an element in pixels of the window; x and y are shares of its size."""
        element = f"document.querySelector({selector!r})"
        self.run(f"{element}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        self.settle()
        box = self.run(
            f"(({{left, top, width, height}}) => [left, top, width, height])({element}.getBoundingClientRect())"
        )
        return box[0] + x * box[2], box[1] + y * box[3]

    def settle(self) -> None:
        """Wait until what was done is drawn."""
        self.run("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")

    def move(self, x: float, y: float) -> None:
        """Move the mouse."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.settle()

    def click(self, selector: str) -> None:
        """Click the middle of an element with the mouse."""
        x, y = self.place(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        self.settle()

    def press(self, key: str, times: int = 1) -> None:
        """Press a key of the keyboard."""
        text = {"text": "\r" if key == "Enter" else key} if key == "Enter" or len(key) == 1 else {}
        known = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS.get(key, ord(key[0]))}
        for _ in range(times):
            self.call("Input.dispatchKeyEvent", type="keyDown", **known, **text)
            self.call("Input.dispatchKeyEvent", type="keyUp", **known)
        self.settle()

    def drop(self, selector: str, *files: Path) -> None:
        """Drag files from outside onto an element."""
        x, y = self.place(selector)
        data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def choose(self, selector: str, *files: Path) -> None:
        """Give files to a file input."""
        found = self.call("Runtime.evaluate", expression=f"document.querySelector({selector!r})")
        self.call(
            "DOM.setFileInputFiles", files=[str(f) for f in files], objectId=found["result"]["objectId"]
        )

    def chosen(self, open_chooser: Callable[[], None], *files: Path) -> None:
        """Give files to the file chooser that `open_chooser` opens."""
        self.call("Page.setInterceptFileChooserDialog", enabled=True)
        open_chooser()
        node = self.event("Page.fileChooserOpened")["backendNodeId"]
        self.call("DOM.setFileInputFiles", files=[str(f) for f in files], backendNodeId=node)

    def downloaded(self) -> Path:
        """The next file that is saved, complete."""
        name = self.event("Browser.downloadWillBegin")["suggestedFilename"]
        while self.event("Browser.downloadProgress")["state"] != "completed":
            pass
        return self.folder / name

    def width(self, width: int, height: int = 800) -> None:
        """Show the page at another width, below 600 pixels as a phone."""
        phone = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)

    def shot(self, path: Path) -> None:
        """Save what the window shows as a PNG."""
        import base64

        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

"""A page in headless Chromium, driven over its DevTools protocol; aiohttp is all that it needs."""

# pyright: reportMissingImports=false
from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PROGRAM = os.environ.get("CHROMIUM", "") or next(filter(None, map(shutil.which, NAMES)), "")
REASON = "needs a Chromium: install one, or set CHROMIUM to its program"
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-proxy-server",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)
SLOW = float(os.environ.get("BROWSER_PATIENCE", "120"))  # seconds, on a busy machine
KEYS = {"ArrowRight": 39, "ArrowLeft": 37, "Delete": 46, "Tab": 9, "Home": 36, "z": 90, "y": 89}


class Page:
    """One tab. `errors`: what the page has complained about, exceptions and errors of the console.

    with Page(width=1600, height=1000) as page:
        page.open("http://127.0.0.1:8188")
        page("document.title")
    """

    def __init__(self, width: int = 1600, height: int = 1000):
        self.errors: list[str] = []
        self._size = width, height
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._loop = asyncio.new_event_loop()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._number = 0

    def __enter__(self) -> Page:
        width, height = self._size
        options = [f"--user-data-dir={self._folder.name}", f"--window-size={width},{height}"]
        self._log = open(Path(self._folder.name, "log"), "w")
        self._process = subprocess.Popen(
            [PROGRAM, *OPTIONS, *options, "about:blank"], stdout=self._log, stderr=self._log
        )
        try:
            self._wait(self._connect())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        with contextlib.suppress(AttributeError):
            self._wait(self._session.close())
        self._process.wait()
        self._log.close()
        self._folder.cleanup()
        self._loop.close()

    def __call__(self, script: str) -> Any:
        """The value of an expression in the page; of a promise what it comes to.

        Raises RuntimeError with what the page throws."""
        options = {"awaitPromise": True, "returnByValue": True, "userGesture": True}
        answer = self.send("Runtime.evaluate", expression=script, **options)
        if "exceptionDetails" in answer:
            raise RuntimeError(_told(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def open(self, address: str) -> None:
        self.send("Page.navigate", url=address)

    def until(self, condition: str | Callable[[], Any], seconds: float = SLOW) -> None:
        """Wait until an expression, or a function, is true.

        Raises TimeoutError that says what was waited for, and what the page complained about."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = condition() if callable(condition) else self._quietly(f"Boolean({condition})")
            if found:
                return
            self._wait(asyncio.sleep(0.05))
        raise TimeoutError(f"{condition} is not true after {seconds} s; errors: {self.errors}")

    def send(self, method: str, **parameters: Any) -> Any:
        return self._wait(self._send(method, parameters))

    def mouse(self, kind: str, x: float, y: float, clicks: int = 0, wheel: float = 0.0) -> None:
        """kind: mousePressed, mouseReleased, mouseMoved, mouseWheel."""
        held = clicks and kind != "mouseReleased"
        rest = {"deltaX": 0, "deltaY": wheel} if kind == "mouseWheel" else {}
        self.send(
            "Input.dispatchMouseEvent",
            type=kind, x=x, y=y, clickCount=clicks, buttons=int(bool(held)),
            button="left" if clicks else "none", **rest,
        )  # fmt: skip

    def click(self, x: float, y: float, clicks: int = 1) -> None:
        self.mouse("mouseMoved", x, y)
        for count in range(1, clicks + 1):
            self.mouse("mousePressed", x, y, count)
            self.mouse("mouseReleased", x, y, count)

    def drag(self, x: float, y: float, to_x: float, steps: int = 5) -> None:
        """With the left button from a place to another one at the same height."""
        self.mouse("mouseMoved", x, y)
        self.mouse("mousePressed", x, y, 1)
        for step in range(1, steps + 1):
            self.mouse("mouseMoved", x + (to_x - x) * step / steps, y, 1)
        self.mouse("mouseReleased", to_x, y, 1)

    def key(self, name: str, control: bool = False) -> None:
        code = name if len(name) > 1 else f"Key{name.upper()}"
        for kind in ("rawKeyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent",
                type=kind, key=name, code=code, modifiers=2 * control,
                windowsVirtualKeyCode=KEYS[name],
            )  # fmt: skip

    def picture(
        self, path: str | Path | None = None, clip: dict[str, float] | None = None
    ) -> bytes:
        """What is seen, as PNG; `clip`: x, y, width and height of a part of it."""
        part = {"clip": {**clip, "scale": 1}} if clip else {}
        data = base64.b64decode(self.send("Page.captureScreenshot", **part)["data"])
        if path is not None:
            Path(path).write_bytes(data)
        return data

    # -------------------------------------------------------------- the connection
    def _quietly(self, script: str) -> Any:
        try:
            return self(script)
        except RuntimeError:  # the page is not so far yet
            return None

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(asyncio.wait_for(work, SLOW))

    async def _connect(self) -> None:
        import aiohttp

        told = Path(self._folder.name, "DevToolsActivePort")
        while not (told.is_file() and "\n" in told.read_text()):
            if self._process.poll() is not None:
                raise RuntimeError(Path(self._folder.name, "log").read_text()[-2000:])
            await asyncio.sleep(0.1)
        port = told.read_text().split()[0]
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            (tab,) = [one for one in await answer.json() if one["type"] == "page"]
        self._socket = await self._session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0)
        self._listener = asyncio.ensure_future(self._listen())
        for domain in ("Page", "Runtime", "Log"):
            await self._send(f"{domain}.enable", {})
        width, height = self._size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self._send("Emulation.setDeviceMetricsOverride", metrics)

    async def _send(self, method: str, parameters: dict[str, Any]) -> Any:
        self._number += 1
        number = self._number
        answer = self._answers[number] = self._loop.create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        return await answer

    async def _listen(self) -> None:
        async for message in self._socket:
            content = json.loads(message.data)
            if "id" in content:
                answer = self._answers.pop(content["id"])
                if answer.cancelled():
                    continue
                if "error" in content:
                    answer.set_exception(RuntimeError(content["error"]["message"]))
                else:
                    answer.set_result(content["result"])
            elif content["method"] == "Runtime.exceptionThrown":
                self.errors.append(_told(content["params"]["exceptionDetails"]))
            elif content["method"] == "Runtime.consoleAPICalled":
                if content["params"]["type"] == "error":
                    said = [str(one.get("value", one.get("description"))) for one in
                            content["params"]["args"]]  # fmt: skip
                    self.errors.append(" ".join(said))
            elif content["method"] == "Page.javascriptDialogOpening":  # leave the page? yes
                self._number += 1
                self._answers[self._number] = self._loop.create_future()
                accept = {"id": self._number, "method": "Page.handleJavaScriptDialog"}
                await self._socket.send_json({**accept, "params": {"accept": True}})


def _told(details: dict[str, Any]) -> str:
    return details.get("exception", {}).get("description") or details["text"]

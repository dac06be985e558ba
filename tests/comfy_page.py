"""The pack in ComfyUI's editor, in headless Chromium by way of playwright.

CHROMIUM=...            its program, where that is not found
COMFYUI_FRONT_END=...   the folder of another front end than the installed one"""

# pyright: reportMissingImports=false
from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comfy_real
import workflow_files

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PROGRAM = os.environ.get("CHROMIUM", "") or next(filter(None, map(shutil.which, NAMES)), "")
MISSING = not PROGRAM or find_spec("playwright") is None
REASON = "needs playwright and a Chromium: install them, or set CHROMIUM to its program"
OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server"),
    *("--disable-background-networking", "--disable-dev-shm-usage"),
]
SLOW = float(os.environ.get("BROWSER_PATIENCE", "120"))  # seconds, on a busy machine

FOLDER = "cycle-encoding"
FRONT_END = os.environ.get("COMFYUI_FRONT_END", "")
SETTINGS = {"Comfy.Minimap.Visible": False, "Comfy.Graph.CanvasInfo": False}
PANEL = "document.querySelector('.cycle-latent-editor')"
SEEN = f"{PANEL}.querySelector('.picture').toDataURL()"
NODE = "app.graph.nodes.find((node) => node.type === 'CycleLatentEditor')"
PLACE = """(() => {
  const { x, y, width, height } = (ELEMENT).getBoundingClientRect();
  return { x, y, width, height };
})()"""


@contextmanager
def opened(base: Path, width: int = 1600, height: int = 1000) -> Iterator[tuple[Page, str]]:
    """A page and the server's address; nothing is open in it yet."""
    from playwright.sync_api import sync_playwright

    front = ["--front-end-root", FRONT_END] if FRONT_END else []
    with comfy_real.serve(base, FOLDER, *front) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=PROGRAM, args=OPTIONS)
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(SLOW * 1000)
        yield page, address
        browser.close()


def until(page: Page, condition: str | Callable[[], Any], seconds: float = SLOW) -> None:
    """Wait until an expression in the page, or a function, is true. Raises TimeoutError."""
    from playwright.sync_api import Error

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if condition() if callable(condition) else page.evaluate(f"Boolean({condition})"):
                return
        except Error:  # the page is not so far yet
            pass
        page.wait_for_timeout(50)
    raise TimeoutError(f"{condition} is not true after {seconds} s")


def enter(page: Page, address: str, nodes_2: bool = False) -> None:
    """Open ComfyUI as somebody does who has been there before."""
    page.goto(address)
    ready(page)
    settings = {**SETTINGS, "Comfy.TutorialCompleted": True, "Comfy.VueNodes.Enabled": nodes_2}
    for name, value in settings.items():
        page.evaluate(f"app.extensionManager.setting.set({json.dumps(name)}, {json.dumps(value)})")
    page.goto(address)
    ready(page)


def ready(page: Page) -> None:
    until(page, "window.LiteGraph?.registered_node_types.CycleLatentEditor && app.graph?.nodes")
    until(page, "app.extensionManager?.workflow?.activeWorkflow")


def show(page: Page, workflow: dict[str, Any], scale: float = 1.0) -> None:
    """Open a workflow, with the Latent Editor at the top left if there is one."""
    page.evaluate(f"app.loadGraphData({json.dumps(workflow)})")
    # again and again until it is there: the host may still be opening what was open before
    until(
        page,
        f"""(() => {{
          const node = {NODE} ?? app.graph.nodes[0];
          const left = (element) => element.getBoundingClientRect().x;
          app.canvas.ds.scale = {scale};
          app.canvas.ds.offset = [90 / {scale} - node.pos[0], 160 / {scale} - node.pos[1]];
          app.canvas.setDirty(true, true);
          if (!node.widgets?.some((one) => one.name === "editor")) return true;
          return Math.abs(left({PANEL}) - left(app.canvas.canvas) - 90) < 20;
        }})()""",
    )


def quick(name: str, **editor: Any) -> dict[str, Any]:
    """A shipped workflow that refines and tunes by one step; `editor`: values of its widgets."""
    workflow = workflow_files.read(name)
    for node in workflow["nodes"]:
        if node["type"] in ("CycleRefinePivot", "CyclePivotTune"):
            node["widgets_values"][2 if node["type"] == "CycleRefinePivot" else 1] = 1
        if node["type"] == "CycleLatentEditor":
            names = ("edits", "shown", "same_space")
            values = dict(zip(names, node["widgets_values"], strict=True)) | editor
            node["widgets_values"] = list(values.values())
    return workflow


def place(page: Page, element: str) -> dict[str, float]:
    """Where an element is seen, by an expression for it: x, y, width, height."""
    return page.evaluate(PLACE.replace("ELEMENT", element))


def slider(name: str, kind: str = "range") -> str:
    """The expression for a slider, or for the number (kind number) or button beside it."""
    what = "button" if kind == "button" else f"input[type={kind}]"
    return f"{PANEL}.querySelector('[data-name={name}] {what}')"


def drag(page: Page, name: str, amount: float, most: float = 3.0, steps: int = 5) -> None:
    """Drag a slider to an amount with the mouse."""
    spot = place(page, slider(name))
    thumb = 16
    start = float(page.evaluate(f"{slider(name)}.value"))
    x = [
        spot["x"] + thumb / 2 + (spot["width"] - thumb) * (value / most + 1) / 2
        for value in (start, amount)
    ]
    y = spot["y"] + spot["height"] / 2
    page.mouse.move(x[0], y)
    page.mouse.down()
    page.mouse.move(x[1], y, steps=steps)
    page.mouse.up()


def click(page: Page, element: str, count: int = 1) -> None:
    """Click into the middle of an element, given by an expression for it."""
    spot = place(page, element)
    x, y = spot["x"] + spot["width"] / 2, spot["y"] + spot["height"] / 2
    page.mouse.click(x, y, click_count=count)


def picture(page: Page) -> str:
    """Wait until the picture is of what is set, in full size; it, as a data URL."""
    image = f"{PANEL}?.querySelector('.picture')"
    until(page, f"{image} && !{image}.hidden && !{image}.matches('.old, .small')")
    return page.evaluate(SEEN)

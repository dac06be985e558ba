"""The pack in ComfyUI's editor, in headless Chromium.

COMFYUI_FRONT_END=...   the folder of another front end than the installed one"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import browser
import comfy_real
import workflow_files

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
def opened(base: Path, width: int = 1600, height: int = 1000) -> Iterator[tuple[browser.Page, str]]:
    """A page and the server's address; nothing is open in it yet."""
    front = ["--front-end-root", FRONT_END] if FRONT_END else []
    with comfy_real.serve(base, FOLDER, *front) as address, browser.Page(width, height) as page:
        yield page, address


def enter(page: browser.Page, address: str, nodes_2: bool = False) -> None:
    """Open ComfyUI as somebody does who has been there before."""
    page.open(address)
    ready(page)
    settings = {**SETTINGS, "Comfy.TutorialCompleted": True, "Comfy.VueNodes.Enabled": nodes_2}
    for name, value in settings.items():
        page(f"app.extensionManager.setting.set({json.dumps(name)}, {json.dumps(value)})")
    page.open(address)
    ready(page)
    page.errors.clear()


def ready(page: browser.Page) -> None:
    page.until("window.LiteGraph?.registered_node_types.CycleLatentEditor && app.graph?.nodes")
    page.until("app.extensionManager?.workflow?.activeWorkflow")


def show(page: browser.Page, workflow: dict[str, Any], scale: float = 1.0) -> None:
    """Open a workflow, with the Latent Editor at the top left if there is one."""
    page(f"app.loadGraphData({json.dumps(workflow)})")
    # again and again until it is there: the host may still be opening what was open before
    page.until(
        f"""(() => {{
          const node = {NODE} ?? app.graph.nodes[0];
          const left = (element) => element.getBoundingClientRect().x;
          app.canvas.ds.scale = {scale};
          app.canvas.ds.offset = [90 / {scale} - node.pos[0], 160 / {scale} - node.pos[1]];
          app.canvas.setDirty(true, true);
          if (!node.widgets?.some((one) => one.name === "editor")) return true;
          return Math.abs(left({PANEL}) - left(app.canvas.canvas) - 90) < 20;
        }})()"""
    )


def quick(name: str, **editor: Any) -> dict[str, Any]:
    """A shipped workflow that refines and tunes by one step; `editor`: values of its widgets."""
    workflow = workflow_files.read(name)
    for node in workflow["nodes"]:
        if node["type"] in ("CycleRefinePivot", "CyclePivotTune"):
            node["widgets_values"][2 if node["type"] == "CycleRefinePivot" else 1] = 1
        if node["type"] == "CycleLatentEditor":
            values = dict(zip(("edits", "shown"), node["widgets_values"], strict=True)) | editor
            node["widgets_values"] = list(values.values())
    return workflow


def place(page: browser.Page, element: str) -> dict[str, float]:
    """Where an element is seen, by an expression for it: x, y, width, height."""
    return page(PLACE.replace("ELEMENT", element))


def slider(name: str, kind: str = "range") -> str:
    """The expression for a slider, or for the number (kind number) or button beside it."""
    what = "button" if kind == "button" else f"input[type={kind}]"
    return f"{PANEL}.querySelector('[data-name={name}] {what}')"


def drag(page: browser.Page, name: str, amount: float, most: float = 3.0, steps: int = 5) -> None:
    """Drag a slider to an amount with the mouse."""
    spot = place(page, slider(name))
    thumb = 16
    start = float(page(f"{slider(name)}.value"))
    x = [
        spot["x"] + thumb / 2 + (spot["width"] - thumb) * (value / most + 1) / 2
        for value in (start, amount)
    ]
    page.drag(x[0], spot["y"] + spot["height"] / 2, x[1], steps)


def picture(page: browser.Page) -> str:
    """Wait until the picture is of what is set; it, as a data URL."""
    image = f"{PANEL}?.querySelector('.picture')"
    page.until(f"{image} && !{image}.hidden && !{image}.classList.contains('old')")
    return page(SEEN)

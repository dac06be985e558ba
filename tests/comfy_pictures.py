"""Pictures of the Latent Editor in ComfyUI for the README, taken in a real one.

COMFYUI_DIR=... python tests/comfy_pictures.py     renews docs/images/latent-editor.* and the
                                                   thumbnail of the template live-edit"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import comfy_page
import comfy_real
import workflow_files
from PIL import Image

IMAGES = comfy_real.ROOT / "docs" / "images"
# what the animation does: slider -> its values, one frame each
MOVES = (
    ("smile", [1.5, 1.8, 2.1, 2.4, 2.1, 1.5, 0.9, 0.3, -0.3, -0.9, -1.2, -0.9, 0.0, 0.9, 1.5]),
    ("open_mouth", [0.3, 0.7, 1.1, 1.4, 1.0, 0.5, 0.0]),
    ("yaw", [0.3, 0.7, 1.1, 1.4, 1.1, 0.5, -0.1, -0.7, -1.2, -1.4, -0.9, -0.3, 0.0]),
    ("glasses", [0.4, 0.8, 1.2, 1.6, 2.0, 2.0]),
)
SET = """
(() => {
  const slider = SLIDER;
  slider.value = VALUE;
  slider.dispatchEvent(new Event("input"));
})()
"""


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        comfy_page.opened(Path(folder), width=1180, height=760) as (page, address),
    ):
        comfy_page.enter(page, address)
        comfy_page.show(page, workflow_files.read("live-edit"))
        comfy_page.drag(page, "smile", 1.2)
        comfy_page.picture(page)
        for group in ("Pose", "Person"):
            page.evaluate(
                f"[...{comfy_page.PANEL}.querySelectorAll('details')].find((one) => "
                f"one.firstChild.textContent.startsWith('{group}')).open = true"
            )
        page.evaluate("app.canvas.deselectAll?.(), document.activeElement?.blur?.()")
        comfy_page.until(page, f"{comfy_page.slider('glasses')}")
        frames = []
        for name, values in MOVES:
            for value in values:
                script = SET.replace("SLIDER", comfy_page.slider(name))
                page.evaluate(script.replace("VALUE", str(value)))
                comfy_page.picture(page)
                page.evaluate("new Promise(requestAnimationFrame)")
                frames.append(_seen(page, _node(page)))
        _seen(page, None).save(IMAGES / "latent-editor.webp", quality=85, method=6)
        frames[-1].save(workflow_files.FOLDER / "live-edit.jpg", quality=88)
        first, *rest = [
            frame.resize((frame.width * 4 // 5, frame.height * 4 // 5)) for frame in frames
        ]
        first.save(
            IMAGES / "latent-editor-moving.webp",
            save_all=True, append_images=rest, duration=140, loop=0, quality=70, method=6,
        )  # fmt: skip


def _node(page) -> dict[str, float]:
    """Where the editor is, with its title."""
    spot = comfy_page.place(page, comfy_page.PANEL)
    top = page.evaluate(f"{comfy_page.NODE}.pos[1] + app.canvas.ds.offset[1]")
    canvas = comfy_page.place(page, "app.canvas.canvas")
    y = top + canvas["y"] - 34
    return {
        "x": spot["x"] - 14,
        "y": y,
        "width": spot["width"] + 28,
        "height": spot["y"] + spot["height"] - y + 14,
    }


def _seen(page, clip) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")


if __name__ == "__main__":
    if not comfy_real.CHECKOUT or comfy_page.MISSING:
        sys.exit(comfy_page.REASON if comfy_real.CHECKOUT else comfy_real.REASON)
    main()

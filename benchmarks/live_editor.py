"""How fast the Latent Editor's picture follows its sliders, in a real ComfyUI and Chromium.

    COMFYUI_DIR=... python benchmarks/live_editor.py [MOVES]

From a slider's input event to the frame after the new picture was drawn, smaller while it moves,
and from letting go to that of full size, with the embedded models on the CPU, in the workflow
live-edit after its first run, with a rest after each move; then the pictures in a second while a
slider is dragged. COMFYUI_FRONT_END names another front end than the
installed one. Needs an interpreter that has ComfyUI's requirements."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median, quantiles

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import comfy_page

REST = 200  # milliseconds between two moves
MOVE = """
(async () => {
  const editor = document.querySelector(".cycle-latent-editor");
  const slider = editor.querySelector("input[type=range]");
  const picture = editor.querySelector(".picture");
  const until = async (kind, not) => {
    const start = performance.now();
    slider.dispatchEvent(new Event(kind, { bubbles: true }));
    await new Promise((done) => {
      const look = () => picture.matches(not) || done();
      new MutationObserver(look).observe(picture, { attributeFilter: ["class"] });
      look();
    });
    await new Promise(requestAnimationFrame);
    return performance.now() - start;
  };
  slider.value = VALUE;
  const moved = await until("input", ".old");
  const rested = await until("change", ".old, .small");
  await new Promise((done) => setTimeout(done, REST)); // the host is still busy with its queue
  return [moved, rested];
})()
"""
DRAG = """
(async () => {
  const editor = document.querySelector(".cycle-latent-editor");
  const slider = editor.querySelector("input[type=range]");
  const picture = editor.querySelector(".picture");
  let pictures = 0;
  const draw = picture.getContext("2d");
  const put = draw.putImageData;
  draw.putImageData = (...given) => {
    pictures += 1;
    put.apply(draw, given);
  };
  const start = performance.now();
  for (let k = 0; k < 180; k++) {
    slider.value = 3 * Math.sin(k / 20);
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    await new Promise((done) => setTimeout(done, 1000 / 60));
  }
  return pictures / (performance.now() - start) * 1000;
})()
"""


def main(moves: int) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        comfy_page.opened(Path(folder)) as (page, address),
    ):
        comfy_page.enter(page, address)
        comfy_page.show(page, comfy_page.quick("live-edit"))
        comfy_page.drag(page, "smile", 2.5)
        comfy_page.picture(page)
        values = [k % 2 + 0.1 * (k % 7) - 1 for k in range(moves)]
        moving = MOVE.replace("REST", str(REST))
        times = [page.evaluate(moving.replace("VALUE", str(value))) for value in values]
        rate = page.evaluate(DRAG)
    for what, waited in zip(("a move", "full size at rest"), zip(*times, strict=True), strict=True):
        late = quantiles(waited, n=10)[-1]
        print(f"{what}: median {median(waited):.0f} ms, nine of ten in {late:.0f} ms")
    print(f"while dragging: {rate:.0f} pictures a second")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 30)

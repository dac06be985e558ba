"""What a newcomer does in ComfyUI's editor, in headless Chromium: a photo of one's own, a slip of
the pen, sliders that are dragged."""

from __future__ import annotations

import io
import json
import urllib.request
import uuid
from importlib.util import find_spec

import comfy_page
import comfy_real
import numpy as np
import pytest
from comfy_page import until
from PIL import Image

pytestmark = [
    pytest.mark.skipif(
        not comfy_real.CHECKOUT or find_spec("aiohttp") is None, reason=comfy_real.REASON
    ),
    pytest.mark.skipif(comfy_page.MISSING, reason=comfy_page.REASON),
]
NODE = "app.graph.nodes.find((node) => node.type === '%s')"
BUTTON = "[...document.querySelectorAll('button')].find((one) => one.textContent.trim() === '%s')"
ENDED = """(() => {
  window.ended = null;
  for (const kind of ["execution_success", "execution_error"])
    app.api.addEventListener(kind, ({ detail }) => (window.ended = [kind, detail]));
})()"""
# what the host says of its queue over the canvas, as far as it is seen, one after the other
SAID = """(() => {
  window.said = [];
  const look = () => {
    for (const one of document.querySelectorAll("[data-testid=queue-notification-banner]"))
      if (one.checkVisibility() && said.at(-1) !== one.innerText) said.push(one.innerText);
    requestAnimationFrame(look);
  };
  look();
})()"""
TEXT = f"{comfy_page.NODE}.widgets.find((one) => one.name === 'edits').value"
LINE = f"{comfy_page.PANEL}.querySelector('.text')"
OFFERED = """[...document.querySelectorAll('.cycle-names li')].map((one) =>
  [one.firstChild.data, one.getAttribute('aria-selected') === 'true'])"""
DONE = "said.filter((text) => /completed/i.test(text))"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with comfy_page.opened(tmp_path_factory.mktemp("ComfyUI")) as (page, address):
        yield page, address


@pytest.fixture(params=[False, True], ids=["canvas", "nodes 2.0"])
def nodes_2(world, request):
    page, address = world
    comfy_page.enter(page, address, request.param)
    if request.param and is_old(page):
        pytest.skip("Nodes 2.0 of this front end show no panel of any pack (help page)")
    return request.param


def is_old(page):
    return page.evaluate("window.__COMFYUI_FRONTEND_VERSION__").startswith("1.27.")


def run(page):
    page.evaluate(ENDED)
    comfy_page.click(page, BUTTON % "Run")
    until(page, "window.ended", seconds=300)
    assert page.evaluate("window.ended")[0] == "execution_success", page.evaluate("window.ended")


def opened(page, workflow):
    given = json.dumps({**workflow, "id": str(uuid.uuid4())})
    page.evaluate(f"app.loadGraphData({given}, true, true, null, {{ openSource: 'template' }})")
    until(page, f"app.graph.nodes.length === {len(workflow['nodes'])}")
    page.wait_for_timeout(1000)


def test_a_photo_of_one_s_own_takes_the_place_of_the_example(world, nodes_2, tmp_path):
    page, address = world
    photo = Image.fromarray(pytest.importorskip("skimage.data").astronaut())
    name = f"me {nodes_2}.png"
    photo.save(tmp_path / name)
    opened(page, comfy_page.quick("invert-and-edit"))
    node = NODE % "CycleExample"
    with page.expect_file_chooser(timeout=60_000) as chooser:
        if nodes_2:
            element = f'document.querySelector(`[data-node-id="${{{node}.id}}"]`)'
            comfy_page.click(page, f"{element}.querySelector('label:has(input[type=file])')")
        else:
            x, y = page.evaluate(
                f"""(() => {{
                  const node = {node};
                  const button = node.widgets.find((one) => one.type === "button");
                  const {{ x, y }} = app.canvas.canvas.getBoundingClientRect();
                  const {{ scale, offset }} = app.canvas.ds;
                  return [
                    x + (node.pos[0] + node.size[0] / 2 + offset[0]) * scale,
                    y + (node.pos[1] + button.last_y + 10 + offset[1]) * scale,
                  ];
                }})()"""
            )
            page.mouse.click(x, y)
    chooser.value.set_files(tmp_path / name)
    until(page, f"{node}.widgets.find((one) => one.name === 'photo').value === {json.dumps(name)}")
    run(page)
    saved = page.evaluate(f"app.nodeOutputs[{NODE % 'SaveImage'}.id].images[0]")
    query = f"filename={saved['filename']}&subfolder={saved['subfolder']}&type={saved['type']}"
    with urllib.request.urlopen(f"{address}/view?{query}") as answer:
        edited = Image.open(io.BytesIO(answer.read())).convert("RGB")
    assert edited.size == photo.size
    changed = np.abs(np.asarray(edited, float) - np.asarray(photo, float)).max(-1)
    assert changed[60:200, 150:300].max() > 30  # her face
    assert changed[:, 450:].max() <= 1
    assert changed[400:].max() <= 1


def test_a_wrong_number_stops_the_run_and_is_told_in_one_sentence(world, nodes_2):
    """The host lists it for each input that the node checks, and has one answer for all."""
    page, _ = world
    opened(page, comfy_page.quick("invert-and-edit"))
    node = NODE % "CyclePivotTune"
    page.evaluate(f"{node}.widgets.find((one) => one.name === 'steps').value = '12x'")
    comfy_page.click(page, BUTTON % "Run")
    told = "steps is '12x': write auto, or a whole number from 1 to 100000."
    until(page, "app.lastNodeErrors && Object.keys(app.lastNodeErrors).length")
    ((_, found),) = page.evaluate("app.lastNodeErrors").items()
    details = [one["details"].split(" - ", 1) for one in found["errors"]]
    assert {sentence for _, sentence in details} == {told}
    assert details[0][0] == "steps"  # which the editor marks
    shown = told if is_old(page) else "A node rejected one or more input values."
    until(page, f"document.body.innerText.includes({json.dumps(shown)})")
    # the next run works
    page.evaluate(f"{node}.widgets.find((one) => one.name === 'steps').value = '1'")
    page.evaluate("document.querySelector('.p-dialog-close-button')?.click()")  # of older hosts
    until(page, "!document.querySelector('.p-dialog-mask')")
    run(page)


def test_the_host_says_that_a_job_is_completed_of_a_run_and_not_of_a_moved_slider(world, nodes_2):
    page, _ = world
    workflow = comfy_page.quick("live-edit", edits="smile=+1.5,age=+1")
    comfy_page.show(page, workflow)
    page.evaluate(SAID)
    for amount in (2.5, -2.0, 1.0, 0.5, -1.0, 2.0, -2.5):  # after each the host's queue is empty
        comfy_page.drag(page, "smile", amount)
        comfy_page.picture(page)
        page.wait_for_timeout(700)
    until(page, "!document.body.classList.contains('cycle-live')")
    page.wait_for_timeout(5000)  # the host says a thing for 4 seconds
    assert page.evaluate(DONE) == []
    assert not page.evaluate("/job completed/i.test(document.body.innerText)")
    run(page)
    if not is_old(page):  # which never says it
        until(page, f"{DONE}.length")


def test_in_a_new_tab_a_run_brings_the_picture_from_the_host_s_cache(world, nodes_2):
    page, address = world
    workflow = comfy_page.quick("live-edit", edits="smile=+1.5,age=+1")
    comfy_page.show(page, workflow)
    run(page)
    first = comfy_page.picture(page)
    page.evaluate("sessionStorage.clear()")  # which is what a tab keeps
    page.goto("about:blank")
    comfy_page.enter(page, address, nodes_2)
    page.evaluate("sessionStorage.clear()")
    comfy_page.show(page, workflow)
    page.evaluate(
        """(() => {
          window.ran = [];
          app.api.addEventListener("executing", ({ detail }) => ran.push(`${detail}`));
        })()"""
    )
    assert page.evaluate(f"{comfy_page.PANEL}.querySelector('.picture').hidden")
    run(page)
    assert comfy_page.picture(page) == first
    assert page.evaluate(f"!ran.includes(String({comfy_page.NODE}.id))")


def offered(page, *names, chosen=0):
    """Wait until the list begins with these names, or is closed where none are given."""
    wanted = [[name, place == chosen] for place, name in enumerate(names)]
    seen = f"({OFFERED}).slice(0, {len(names) or 1})"
    until(page, f"JSON.stringify({seen}) === JSON.stringify({json.dumps(wanted)})")


def test_names_are_offered_while_they_are_typed(world, nodes_2):
    page, _ = world
    comfy_page.show(page, comfy_page.quick("live-edit", edits=""))
    comfy_page.click(page, LINE)
    page.keyboard.type("smle")
    offered(page, "smile")
    line = comfy_page.place(page, LINE)
    below = comfy_page.place(page, "document.querySelector('.cycle-names')")
    assert below["y"] == pytest.approx(line["y"] + line["height"], abs=2)
    assert below["x"] == pytest.approx(line["x"], abs=2)
    page.keyboard.press("Enter")
    offered(page)
    assert page.evaluate(f"{LINE}.value") == "smile="
    assert page.evaluate(TEXT) == ""  # it is still being written
    page.keyboard.type("+2,hair_")
    offered(page, "hair_colour", "hair_length")
    page.keyboard.press("ArrowDown")
    offered(page, "hair_colour", "hair_length", chosen=1)
    page.keyboard.press("Tab")
    page.keyboard.type("1,keep=galsses")
    offered(page, "glasses")
    page.keyboard.press("Escape")
    offered(page)
    page.keyboard.press("Backspace")
    offered(page, "glasses")
    page.keyboard.press("Control+a")
    offered(page)
    page.keyboard.press("End")
    page.keyboard.type("e")
    offered(page, "glasses")
    page.keyboard.press("Backspace")
    offered(page, "glasses")
    comfy_page.click(page, "document.querySelector('.cycle-names li')")
    offered(page)
    assert page.evaluate(f"document.activeElement === {LINE}")
    page.keyboard.press("Enter")
    until(page, f"{TEXT} === 'smile=+2,hair_length=1,keep=glasses'")
    comfy_page.picture(page)
    assert page.evaluate(f"Boolean({comfy_page.NODE})")  # no key was the host's


def test_a_name_is_offered_for_its_beginning_its_parts_and_a_slip_of_the_pen(world):
    page, address = world
    comfy_page.enter(page, address)
    script = f"""(async () => {{
      const {{ meant, typed }} = await import("/extensions/{comfy_page.FOLDER}/names.js");
      const sliders = LiteGraph.registered_node_types.CycleLatentEditor.nodeData
        .input.required.generator[1].sliders;
      const known = [...sliders, {{ name: "pca.pt:3", label: "3" }}];
      const names = (text, caret) => {{
        const found = typed(text, caret ?? text.length);
        return found && meant(found.word, known).map((one) => one.name);
      }};
      return CASES.map((one) => names(...one));
    }})()"""
    cases = {
        ("sm",): ["smile"], ("simle",): ["smile"], ("SMILE",): ["smile"], ("smlie=2", 5): ["smile"],
        ("wrinkles",): [], ("smile",): [], ("",): [], ("smile=2",): None, ("a,,",): [],
        ("age=1,keep=glases+smi",): ["smile"], ("age=1,keep=glases+smi", 17): ["glasses"],
        ("age=1,keep",): [], ("promi",): ["chin_prominence"], ("turn",): ["yaw"],
        ("pca.pt:",): ["pca.pt:3"], ("pca.pt:30",): [], (" gendr = 1", 6): ["gender"],
    }  # fmt: skip
    found = page.evaluate(script.replace("CASES", json.dumps(list(cases))))
    for case, names in zip(cases, found, strict=True):
        assert (names and names[: len(cases[case])]) == cases[case], case
        if cases[case] == []:
            assert names == [], case

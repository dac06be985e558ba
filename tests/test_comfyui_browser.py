"""The pack in ComfyUI's editor, as people use it: in a real ComfyUI and a headless Chromium."""

# aiohttp is the host's
# pyright: reportMissingImports=false
from __future__ import annotations

import base64
import io
import json
import urllib.request
from dataclasses import asdict
from importlib.util import find_spec
from typing import TYPE_CHECKING

import comfy_page
import comfy_real
import pytest
import workflow_files
from comfy_page import NODE, PANEL, picture, quick, show, slider, until
from PIL import Image, ImageChops, ImageStat

from cycle_core.directions.text import parse_edit
from cycle_core.errors import InputError

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [
    pytest.mark.skipif(
        not comfy_real.CHECKOUT or find_spec("aiohttp") is None, reason=comfy_real.REASON
    ),
    pytest.mark.skipif(comfy_page.MISSING, reason=comfy_page.REASON),
]
TEXT = f"{NODE}.widgets.find((one) => one.name === 'edits').value"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    base = tmp_path_factory.mktemp("ComfyUI")
    with comfy_page.opened(base) as (page, address):
        yield page, address, base


@pytest.fixture
def page(world):
    page, address, _ = world
    comfy_page.enter(page, address)
    errors = []
    page.on("pageerror", lambda error: errors.append(error.stack or str(error)))
    page.on("console", lambda said: said.type == "error" and errors.append(said.text))
    yield page
    assert not [one for one in errors if comfy_page.FOLDER in one]


def ask(world, path, content=None):
    data = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(world[1] + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read() or "null")


def watch(page):
    """Note which nodes run, as the page hears: `ran`; before anything has run."""
    page.evaluate(
        """(() => {
          window.ran = [];
          app.api.addEventListener("executing", ({ detail }) => detail && ran.push(`${detail}`));
        })()"""
    )


def with_batch(count):
    """The editor over so many sampled codes, and nothing else."""
    workflow = quick("live-edit", edits="smile=+1.5,age=+1")
    nodes = {node["type"]: node for node in workflow["nodes"]}
    sample = {
        "id": 40, "type": "CycleSampleCodes", "pos": [0, 600], "size": [300, 200], "mode": 0,
        "flags": {}, "order": 9, "properties": {},
        "inputs": [{"name": "generator", "type": "CYCLE_GENERATOR", "link": 1}],
        "outputs": [{"name": "code", "type": "CYCLE_CODE", "links": [2]}],
        "widgets_values": [count, 3, "fixed", 0.7, -1],
    }  # fmt: skip
    source, editor = nodes["CycleLoadGenerator"], nodes["CycleLatentEditor"]
    source["outputs"][0]["links"] = [1, 3]
    editor["inputs"][0]["link"], editor["inputs"][1]["link"] = 2, 3
    editor["outputs"][0]["links"] = []
    links = [
        [1, source["id"], 0, 40, 0, "CYCLE_GENERATOR"],
        [2, 40, 0, editor["id"], 0, "CYCLE_CODE"],
        [3, source["id"], 0, editor["id"], 1, "CYCLE_GENERATOR"],
    ]
    return {**workflow, "nodes": [source, sample, editor], "links": links, "groups": []}


# ------------------------------------------------------------------ the pack
def test_a_new_user_sees_the_pack_s_templates(world):
    page, address, _ = world
    page.goto(address)
    comfy_page.ready(page)
    entry = "[...document.querySelectorAll('span, div, li, button')].findLast((one) => "
    entry += f"one.textContent.trim() === '{comfy_page.FOLDER}')"
    until(page, entry)
    first = workflow_files.names()[0]

    def chosen() -> bool:  # the dialog may still be moving, and the list is long
        page.evaluate(f"{entry}.scrollIntoView()")
        comfy_page.click(page, entry)
        return page.evaluate(f"document.body.innerText.includes('{first}')")

    until(page, chosen)
    listed = ask(world, "/workflow_templates")[comfy_page.FOLDER]
    assert sorted(listed) == workflow_files.names()


def test_run_works_and_its_result_is_shown(page, world):
    show(page, quick("live-edit", edits="smile=+1.5,age=+1"))
    button = "[...document.querySelectorAll('button')].find((one) => "
    button += "one.textContent.trim() === 'Run')"
    comfy_page.click(page, button)
    until(page, "app.graph.nodes.find((node) => node.type === 'SaveImage').imgs?.length")
    picture(page)
    (run,) = ask(world, "/history").values()
    assert run["status"]["status_str"] == "success"
    ask(world, "/history", {"clear": True})


# ------------------------------------------------------------------ the Latent Editor
def test_a_slider_changes_the_text_and_the_picture_and_runs_that_node_alone(page, world):
    show(page, quick("live-edit", edits="smile=+1.5,age=+1"))
    watch(page)
    comfy_page.drag(page, "smile", 2.5)
    first = picture(page)
    page.evaluate("ran.splice(0)")
    comfy_page.drag(page, "smile", -2.0)
    second = picture(page)
    assert second != first
    edit = parse_edit(page.evaluate(TEXT))
    assert [change.direction for change in edit.changes] == ["smile", "age"]
    assert edit.changes[0].amount == pytest.approx(-2.0, abs=0.3)
    assert set(page.evaluate("ran")) == {page.evaluate(f"String({NODE}.id)")}
    until(page, lambda: ask(world, "/history") == {})  # it is for results


def test_pixels_and_files_are_drawn_as_they_are_and_the_last_one_wins(page):
    ramp = Image.linear_gradient("L").resize((48, 40))
    image = Image.merge("RGB", [ramp, ramp.rotate(180), Image.new("L", ramp.size, 90)])
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=95, subsampling=0)
    size = {"width": image.width, "height": image.height}
    as_pixels = {**size, "rgb": base64.b64encode(image.tobytes()).decode()}
    as_file = {**size, "jpeg": base64.b64encode(stream.getvalue()).decode()}
    other = {"width": 2, "height": 1, "rgb": base64.b64encode(bytes([255, 0, 0, 9, 8, 7])).decode()}

    def seen(*shown):
        page.evaluate(
            f"""(async () => {{
              const {{ Panel }} = await import("/extensions/{comfy_page.FOLDER}/panel.js");
              window.panel = new Panel({{}});
              for (const image of {json.dumps(shown)}) panel.show({{ image, shown: 0, batch: 1 }});
              await new Promise((done) => setTimeout(done, 300));
            }})()"""
        )
        _, data = page.evaluate("panel.image.toDataURL()").split(",")
        return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")

    assert seen(other, as_pixels).tobytes() == image.tobytes()
    difference = ImageChops.difference(seen(other, as_file), image).convert("L")
    assert ImageStat.Stat(difference).mean[0] < 1.5
    assert seen(as_file, other).tobytes() == bytes([255, 0, 0, 9, 8, 7])


def test_the_last_of_many_moves_wins_and_few_are_run(page):
    show(page, with_batch(1))
    watch(page)
    comfy_page.drag(page, "smile", 1.0)
    picture(page)
    page.evaluate("ran.splice(0)")
    page.evaluate(
        f"""(() => {{
          const slider = {slider("smile")};
          for (let k = 0; k < 50; k++) {{
            slider.value = k % 2 ? 2 : -2.5 + k / 100;
            slider.dispatchEvent(new Event("input"));
          }}
        }})()"""
    )
    picture(page)
    assert page.evaluate(TEXT) == "smile=+2,age=+1"
    assert 1 <= len(page.evaluate("ran")) <= 3


def test_a_picture_is_smaller_while_a_slider_moves_and_whole_when_it_rests(page):
    show(page, with_batch(1))
    comfy_page.drag(page, "smile", 1.0)
    picture(page)
    width = f"{PANEL}.querySelector('.picture').width"
    whole = page.evaluate(width)
    small = f"{PANEL}.querySelector('.picture').matches('.small:not(.old)') && {width} === 128"
    script = f"{slider('smile')}.value = %s, {slider('smile')}.dispatchEvent(new Event(%s))"
    page.evaluate(
        f"window.seen = 0; new MutationObserver(() => window.seen += {small}).observe("
        f"{PANEL}.querySelector('.picture'), {{ attributeFilter: ['class'] }})"
    )
    page.evaluate(script % (-2, "'input'"))
    picture(page)  # it rests, though it is held
    assert page.evaluate("seen") > 0
    assert page.evaluate(width) == whole > 128


def test_what_is_set_survives_saving_and_reloading(page, world):
    show(page, quick("live-edit", edits="age=+1,keep=glasses"))
    comfy_page.drag(page, "smile", 2.0)
    first, text = picture(page), page.evaluate(TEXT)
    assert text.startswith("age=+1,keep=glasses,smile=+")
    saved = page.evaluate("app.graphToPrompt().then(({ workflow }) => workflow)")
    page.goto(world[1])
    comfy_page.ready(page)
    show(page, saved)
    assert page.evaluate(TEXT) == text
    assert float(page.evaluate(f"{slider('smile')}.value")) == parse_edit(text).changes[1].amount
    until(page, f"{comfy_page.SEEN} === {json.dumps(first)}")  # kept, as nothing runs unasked
    comfy_page.drag(page, "smile", 0.5)
    picture(page)
    page.evaluate(f"{PANEL}.querySelector('.text').focus()")
    page.evaluate(
        f"""(() => {{
          const line = {PANEL}.querySelector('.text');
          line.value = {json.dumps(text)};
          line.dispatchEvent(new Event("change"));
        }})()"""
    )
    assert picture(page) == first


@pytest.mark.parametrize("nodes_2", [False, True], ids=["canvas", "nodes 2.0"])
def test_a_reload_of_the_page_keeps_the_sliders_and_the_picture(page, world, nodes_2):
    skip_old_nodes_2(page, nodes_2)
    comfy_page.enter(page, world[1], nodes_2)
    show(page, quick("live-edit", edits="age=+1"))
    comfy_page.drag(page, "smile", 2.0)
    first, text = picture(page), page.evaluate(TEXT)
    page.wait_for_timeout(2000)  # until the host has kept its draft of the workflow
    page.reload()
    comfy_page.ready(page)
    until(page, NODE)
    until(page, f"{TEXT} === {json.dumps(text)}")
    shows(page, first)
    assert float(page.evaluate(f"{slider('smile')}.value")) == parse_edit(text).changes[1].amount


def skip_old_nodes_2(page: Page, nodes_2: bool) -> None:
    version = page.evaluate("window.__COMFYUI_FRONTEND_VERSION__ ?? ''")
    if nodes_2 and version.startswith("1.27."):
        pytest.skip("Nodes 2.0 of this front end show no panel of any pack (help page)")


def shows(page: Page, seen: str) -> None:
    """Wait for a picture: Nodes 2.0 tell the panel a moment after the text has changed."""
    until(page, f"{comfy_page.SEEN} === {json.dumps(seen)}")


def another(page: Page, seen: str) -> str:
    """Wait for a picture that is not the one before; it."""
    until(page, f"{comfy_page.SEEN} !== {json.dumps(seen)}")
    return picture(page)


@pytest.mark.parametrize("nodes_2", [False, True], ids=["canvas", "nodes 2.0"])
def test_the_keyboard_moves_sliders_and_the_host_s_undo_takes_back(page, world, nodes_2):
    skip_old_nodes_2(page, nodes_2)
    comfy_page.enter(page, world[1], nodes_2)
    show(page, quick("live-edit", edits="smile=+1"))
    page.evaluate(f"{slider('smile')}.focus()")
    page.keyboard.press("ArrowRight")
    first = picture(page)
    page.keyboard.press("ArrowRight")
    second = another(page, first)
    assert page.evaluate(TEXT) == "smile=+1.2"
    page.keyboard.press("Control+z")
    until(page, f"{TEXT} === 'smile=+1.1'")
    shows(page, first)
    until(page, f"document.activeElement === {slider('smile')}")
    page.keyboard.press("Control+y")
    until(page, f"{TEXT} === 'smile=+1.2'")
    shows(page, second)
    until(page, f"document.activeElement === {slider('smile')}")
    page.keyboard.press("Delete")
    until(page, f"{TEXT} === ''")
    assert page.evaluate(f"Boolean({NODE})")  # the key was not the host's


def test_a_double_click_and_the_buttons_take_back(page):
    show(page, quick("live-edit", edits="smile=+1,open_mouth=+1,keep=age,yaw=-1"))
    comfy_page.click(page, slider("smile"), count=2)
    until(page, f"{TEXT} === 'open_mouth=+1,keep=age,yaw=-1'")
    page.evaluate(f"{slider('open_mouth', 'button')}.click()")
    until(page, f"{TEXT} === 'yaw=-1'")
    page.evaluate(f"{PANEL}.querySelector('.bar button').click()")
    until(page, f"{TEXT} === ''")
    picture(page)


def test_a_copy_has_the_values_and_its_own_life(page):
    show(page, quick("live-edit", edits="smile=+1.5,age=+1"))
    comfy_page.drag(page, "smile", 2.5)
    first, text = picture(page), page.evaluate(TEXT)
    page.evaluate(f"app.canvas.selectNode({NODE})")
    page.evaluate("app.canvas.copyToClipboard()")
    page.evaluate("app.canvas.pasteFromClipboard()")
    copy = "app.graph.nodes.filter((node) => node.type === 'CycleLatentEditor')[1]"
    until(page, copy)
    assert page.evaluate(f"{copy}.widgets[0].value") == text
    page.evaluate(
        f"{copy}.pos = [{NODE}.pos[0], {NODE}.pos[1] + 500], app.canvas.setDirty(true, true)"
    )
    element = f"{copy}.widgets.find((one) => one.name === 'editor').element"
    until(page, f"{element}.isConnected")
    page.evaluate(
        f"""(() => {{
          const slider = {element}.querySelector("[data-name=smile] input");
          slider.value = -1;
          slider.dispatchEvent(new Event("input"));
        }})()"""
    )
    # the copy has no inputs yet: it says so, and the first one is as it was
    until(page, f"{element}.querySelector('.says').textContent.includes('code, generator')")
    assert page.evaluate(f"{copy}.widgets[0].value") == "smile=-1,age=+1"
    assert page.evaluate(TEXT) == text
    assert picture(page) == first


def test_of_a_batch_each_code_can_be_looked_at(page):
    show(page, with_batch(3))
    comfy_page.drag(page, "smile", 1.0)
    first = picture(page)
    page.evaluate(f"{PANEL}.querySelector('.batch button:last-child').click()")
    until(page, f"{PANEL}.querySelector('.batch').textContent.includes('2 / 3')")
    assert picture(page) != first
    page.evaluate(f"{PANEL}.querySelector('.batch button').click()")
    until(page, f"{PANEL}.querySelector('.batch').textContent.includes('1 / 3')")
    assert picture(page) == first


def test_what_is_wrong_is_said_in_the_node_and_can_be_taken_back(page):
    show(page, quick("live-edit", edits="smile=+1,grin=+2"))
    comfy_page.drag(page, "smile", 2.0)
    until(page, f"{PANEL}.querySelector('.says').textContent.includes('no direction grin')")
    page.evaluate(f"{slider('grin', 'button')}.click()")
    until(page, f"!{TEXT}.includes('grin')")
    picture(page)
    assert page.evaluate(f"{PANEL}.querySelector('.says').hidden")
    comfy_page.drag(page, "smile", 1.0)  # now all before it is cached
    picture(page)
    page.evaluate(
        f"""(() => {{
          const line = {PANEL}.querySelector('.text');
          line.value = "smle=+2";
          line.dispatchEvent(new Event("change"));
        }})()"""
    )
    until(page, f"{PANEL}.querySelector('.says').textContent.includes('did you mean smile?')")
    page.evaluate(f"{slider('smle', 'button')}.click()")
    picture(page)
    assert page.evaluate(f"{PANEL}.querySelector('.says').hidden")


def test_a_generator_without_directions_says_what_is_missing(page, world):
    import torch

    from cycle_core.checkpoints.native import save_model
    from cycle_core.models.generator import Generator
    from cycle_core.models.stylegan2 import StyleGAN2Config

    torch.manual_seed(0)
    channels = (16, 16, 16, 8)
    config = StyleGAN2Config(resolution=32, z_dim=16, w_dim=16, mapping_layers=2, channels=channels)
    folder = world[2] / "models" / "stylegan"
    state = Generator(config).state_dict()
    save_model(folder / "tiny.safetensors", "generator", asdict(config), state)
    workflow = with_batch(1)
    workflow["nodes"][0]["widgets_values"][0] = "tiny.safetensors"
    workflow["nodes"][2]["widgets_values"] = ["", 0]
    show(page, workflow)
    page.evaluate(f"{PANEL}.querySelector('.text').dispatchEvent(new Event('change'))")
    comfy_page.drag(page, "smile", 1.0)
    until(page, f"{PANEL}.querySelector('.says').textContent.includes('the same generator')")
    page.evaluate(f"{PANEL}.querySelector('.bar button').click()")
    picture(page)
    until(page, f"{PANEL}.querySelector('.says').textContent.startsWith('No directions are known')")
    assert page.evaluate(f"{PANEL}.querySelectorAll('details').length") == 0


def test_without_the_extension_the_text_alone_works(world):
    page, address, _ = world  # whose console may tell of the missing file
    comfy_page.enter(page, address)
    page.route("**/latent_editor.js*", lambda route: route.abort())
    try:
        page.goto(address)
        comfy_page.ready(page)
        show(page, quick("live-edit", edits="smile=+1.7"))
        assert page.evaluate(f"{NODE}.widgets.map((one) => [one.name, Boolean(one.hidden)])") == [
            ["edits", False],
            ["shown", False],
            ["same_space", False],
        ]
        sent = page.evaluate("app.graphToPrompt().then(({ output }) => output)")
        editor = next(x for x in sent.values() if x["class_type"] == "CycleLatentEditor")
        assert editor["inputs"]["edits"] == "smile=+1.7"
    finally:
        page.unroute("**/latent_editor.js*")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "smile=2",
        " smile = +1.5 , age:=-1,keep=glasses+smile,layers=0-2+5",
        "pca.pt:3=-2e-1",
        "S:6_501=10",
        "keep:=1",
        "smile",
        "smile=",
        "=1",
        "smile=much",
        "smile=inf",
        "keep=age",
        "smile=1,",
        "smile=1,keep=",
    ],
)
def test_the_front_end_reads_edits_as_the_library_does(page, text):
    script = f"import('/extensions/{comfy_page.FOLDER}/edits.js').then(({{ parse, format }}) => {{"
    read = page.evaluate(f"{script} const found = parse({json.dumps(text)}); return found; }})")
    if not text.strip():
        assert read == []
        return
    try:
        edit = parse_edit(text)
    except InputError:
        assert read is None
        return
    found = [(one["name"], one["amount"], one["to"]) for one in read]
    assert found == [(one.direction, one.amount, one.to) for one in edit.changes]
    back = page.evaluate(f"{script} return format(parse({json.dumps(text)})); }})")
    assert parse_edit(back) == edit

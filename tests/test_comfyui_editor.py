"""The shipped workflows in ComfyUI's own editor, in headless Chromium: it opens them so
that they can be read, and sends what workflows/api/ has."""

from __future__ import annotations

import base64
import itertools
import json
from importlib.util import find_spec

import comfy_page
import comfy_real
import make_workflows
import node_texts
import pytest
import workflow_files
from blueprint_files import expanded

pytestmark = [
    pytest.mark.skipif(
        not comfy_real.CHECKOUT or find_spec("aiohttp") is None, reason=comfy_real.REASON
    ),
    pytest.mark.skipif(comfy_page.MISSING, reason=comfy_page.REASON),
]
OPEN = "app.loadGraphData(%s, true, true, null, %s)"
# what an editor sends though nobody asks: 0.3.64 for the first, 0.33 for the others
OWN_WIDGETS = {
    "PreviewAny": {"preview"}, "CycleBeforeAfter": {"compare_view"},
    "CreateVideo": {"bit_depth"}, "SaveVideo": {"format.codec"},
}  # fmt: skip
SIZES = (1600, 1000), (1920, 1080)
PHONE = 390, 844
READABLE = 0.6  # of the scale; below it the editor hides every text
LETTERS = 8.9  # pixels on the screen: 9, as far as a browser rounds
ENDED = """(() => {
  window.ended = null;
  for (const kind of ["execution_success", "execution_error"])
    app.api.addEventListener(kind, ({ detail }) => (window.ended = [kind, detail]));
})()"""
REFUSED = "Object.keys(app.lastNodeErrors ?? {}).length > 0"  # by the check before the run
# id -> x, y, width and height of each node with its title, and of each group, in the graph's units
PLACES = """(() => {
  const { scale, offset } = app.canvas.ds;
  const nodes = app.graph.nodes.map((node) => {
    const element = document.querySelector(`[data-node-id="${node.id}"]`);
    const [left, top, wide, high] = [...node.pos, ...node.size];
    if (!element) return [node.id, [left, top - 30, wide, high + 30]];
    const { x, y, width, height } = element.getBoundingClientRect();
    return [node.id, [x / scale - offset[0], y / scale - offset[1], width / scale, height / scale]];
  });
  const groups = app.graph.groups.map((group) => [...group._bounding]);
  return { nodes: Object.fromEntries(nodes), groups };
})()"""

# titles of groups that a link is drawn across; nodes are drawn over links
CROSSED = """(() => {
  const context = document.createElement("canvas").getContext("2d");
  const links = [...app.graph._links.values()];
  context.lineWidth = 6;
  return app.graph.groups.filter((group) => {
    const [left, top] = group._bounding;
    context.font = `${group.font_size}px Arial`;
    const right = left + context.measureText(group.title).width + 10;
    for (let x = left; x < right; x += 3)
      for (let y = top + 4; y < top + group.font_size + 8; y += 3)
        if (!app.graph.getNodeOnPos(x, y) &&
            links.some((link) => context.isPointInStroke(link.path, x, y))) return true;
  }).map((group) => group.title);
})()"""

# of each note: how large its letters are on the screen, and how far its text is from its lower end
NOTES = """app.graph.nodes.filter((node) => node.type === "MarkdownNote").map((node) => {
  const whole = document.querySelector(`[data-node-id="${node.id}"]`) ?? node.widgets[0].element;
  const text = [...whole.querySelectorAll(".tiptap, .comfy-markdown-content")]
    .find((one) => one.checkVisibility());
  const [first, last] = [text.querySelector("p"), text.lastElementChild];
  const { height } = first.getBoundingClientRect();
  const letters = parseFloat(getComputedStyle(first).fontSize) * height / first.offsetHeight;
  const ends = [whole, last].map((one) => one.getBoundingClientRect().bottom);
  return [letters, ends[0] - ends[1]];
})"""


FIRST_VERSION = comfy_real.ROOT / "tests" / "fixtures" / "workflows" / "0.1.0-editor.json"
TURNED = {  # values of its widgets, in the order of the file
    "CycleSampleCodes": [2, 9, "fixed", 0.6, 0],
    "CycleAlign": ["number", 1, "skip", "embedded", 1.5, 96],
    "CycleRefinePivot": ["fast", "W+", 3, 4, 0.05],
    "CyclePivotTune": ["fast", 6, 0.25, 0.5, 8, 0.002],
    "CycleLatentEdit": ["to a value", -1.5, "1, 2", "0-3"],
    "CycleGenerate": [0.8, "none", 5],
    "CycleLoadDirection": ["yaw", ""],
    "CyclePasteBack": [0.2, 0.4],
    "CycleCompare": ["a, b, c", 160],
}


def form(name):
    return workflow_files.read(name)["extra"].get("linearData")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with comfy_page.opened(tmp_path_factory.mktemp("ComfyUI")) as (page, address):
        yield page, address


@pytest.fixture(scope="module", params=[False, True], ids=["canvas", "nodes 2.0"])
def page(world, request):
    page, address = world
    comfy_page.enter(page, address, request.param)
    if request.param and page.evaluate("window.__COMFYUI_FRONTEND_VERSION__").startswith("1.27."):
        pytest.skip("Nodes 2.0 of this front end show no panel of any pack (help page)")
    return page


def opened(page, workflow):
    page.evaluate(OPEN % (json.dumps(workflow), json.dumps({"openSource": "template"})))
    page.wait_for_timeout(1000)


def resized(page, width, height):
    page.set_viewport_size({"width": width, "height": height})
    # its own width, by which the editor fits what it opens, follows a moment after the shown one
    for side in ("clientWidth", "width / devicePixelRatio"):
        comfy_page.until(page, f"Math.abs(app.canvas.canvas.{side} - {width}) < 200")


@pytest.mark.parametrize("name", workflow_files.names())
def test_the_editor_opens_a_template_and_sends_the_form_for_the_api(page, name):
    opened(page, workflow_files.read(name))
    assert page.evaluate("app.graph.nodes.every((x) => x.type in LiteGraph.registered_node_types)")
    sent = {
        key: {
            name: value
            for name, value in node["inputs"].items()
            if name not in OWN_WIDGETS.get(node["class_type"], ())
        }
        for key, node in page.evaluate("app.graphToPrompt()")["output"].items()
    }
    assert sent == {key: node["inputs"] for key, node in workflow_files.read_api(name).items()}


@pytest.mark.parametrize("values", [{}, TURNED], ids=["as saved", "turned"])
def test_a_workflow_that_the_first_version_saved_opens_with_its_values_and_runs(page, values):
    """Its widgets have no names in the file, and 0 or -1 where `auto` stands today."""
    workflow = json.loads(FIRST_VERSION.read_text())
    for node in workflow["nodes"]:
        node["widgets_values"] = values.get(node["type"], node["widgets_values"])
    opened(page, workflow)
    assert page.evaluate("app.graph.nodes.every((x) => x.type in LiteGraph.registered_node_types)")
    sent = page.evaluate("app.graphToPrompt()")["output"]
    saved = workflow_files.to_api(workflow)
    assert {key: node["class_type"] for key, node in sent.items()} == {
        key: node["class_type"] for key, node in saved.items()
    }
    known = json.loads(node_texts.SNAPSHOT.read_text())
    for key, node in saved.items():
        later = known.get(node["class_type"], {"inputs": []})["inputs"]
        defaults = {one["id"]: one["default"] for one in later if "default" in one}
        found = sent[key]["inputs"]
        assert found == {**found, **defaults, **node["inputs"]}, node["class_type"]
    if values:
        return
    page.evaluate(ENDED)
    page.evaluate("app.queuePrompt(0)")
    comfy_page.until(page, f"{REFUSED} || window.ended", seconds=600)
    assert page.evaluate(REFUSED) is False
    kind, ended = page.evaluate("window.ended")
    assert kind == "execution_success", ended
    (edited,) = [str(x["id"]) for x in workflow["nodes"] if x["type"] == "SaveImage"]
    comfy_page.until(page, f"app.nodeOutputs[{edited}]?.images?.length === 1")


@pytest.mark.parametrize("make", make_workflows.BLUEPRINTS)
def test_the_editor_sends_a_blueprint_as_the_nodes_in_it_with_the_values_of_its_widgets(page, make):
    file = make().file()
    opened(page, file)
    page.evaluate(
        "app.graph.nodes[0].widgets.find((one) => one.name === 'generator').value = 'other.pkl'"
    )
    sent = page.evaluate("app.graphToPrompt()")["output"]
    expected, _ = expanded(file, generator="other.pkl")

    def values(prompt):  # the editor numbers nodes as it likes; the core's get new widgets
        return sorted(
            (
                node["class_type"],
                sorted(x for x in node["inputs"].items() if not isinstance(x[1], list)),
            )
            for node in prompt.values()
            if node["class_type"].startswith("Cycle")
        )

    assert values(sent) == values(expected)


def test_a_blueprint_is_found_by_a_search_and_runs_as_one_node(page):
    if page.evaluate("window.__COMFYUI_FRONTEND_VERSION__").startswith("1.27."):
        assert page.evaluate("fetch('/global_subgraphs').then((x) => x.status)") == 404
        return
    page.evaluate("app.graph.clear()")
    page.mouse.dblclick(900, 500)  # on nothing, which opens the search
    page.get_by_text("Most relevant").wait_for()
    page.keyboard.type("edit a face in a photo")
    page.get_by_text("Subgraph Blueprints / Cycle Encoding").first.wait_for()
    page.keyboard.press("Enter")
    page.mouse.click(900, 300)  # where it is put down
    comfy_page.until(page, "app.graph.nodes.length === 1")
    page.evaluate(
        """(() => {
          const [face] = app.graph.nodes;
          const [photo, shown] = ["CycleExample", "PreviewImage"].map((kind) => {
            const node = LiteGraph.createNode(kind);
            app.graph.add(node);
            return node;
          });
          photo.connect(0, face, 0);
          face.connect(0, shown, 0);
          face.widgets.find((one) => one.name === "preset").value = "instant";
        })()"""
    )
    page.evaluate(ENDED)
    page.evaluate("app.queuePrompt(0)")
    comfy_page.until(page, f"{REFUSED} || window.ended", seconds=600)
    kind, ended = page.evaluate("window.ended")
    assert kind == "execution_success", ended
    shown = "app.nodeOutputs[app.graph.nodes.find((one) => one.type === 'PreviewImage').id]"
    comfy_page.until(page, f"{shown}?.images?.length === 1")


@pytest.mark.parametrize("name", workflow_files.names())
def test_a_template_can_be_read_and_nothing_covers_another_thing_before_and_after_a_run(page, name):
    workflow = comfy_page.quick(name)
    for width, height in SIZES:
        resized(page, width, height)
        # one of another name: where a workflow was looked at is known when it is opened again
        opened(page, {**workflow, "id": f"{name}-{width}"})
        assert page.evaluate("app.canvas.ds.scale") >= READABLE, (width, height)
        check_places(page)
        check_window(page, width, height)
        check_notes(page)
        comfy_page.until(page, "[...app.graph._links.values()].every((link) => link.path)")
        assert page.evaluate(CROSSED) == []
    if any(node["type"] in workflow_files.USERS_FILES for node in workflow["nodes"]):
        return
    page.evaluate(ENDED)
    page.evaluate("app.queuePrompt(0)")
    comfy_page.until(page, "window.ended", seconds=600)
    assert page.evaluate("window.ended")[0] == "execution_success"
    page.wait_for_timeout(3000)  # until pictures are loaded
    for size in SIZES:
        resized(page, *size)
        check_places(page)
        check_notes(page)


@pytest.mark.parametrize("name", [x for x in workflow_files.names() if form(x)])
def test_the_app_view_has_something_to_turn_for_each_of_its_inputs(page, name):
    workflow = workflow_files.read(name)
    workflow["extra"]["linearMode"] = True
    opened(page, {**workflow, "id": f"{name}-app"})
    if page.evaluate("window.__COMFYUI_FRONTEND_VERSION__").startswith("1.27."):
        assert page.evaluate("app.graph.nodes.length") == len(workflow["nodes"])  # as it always is
        return
    items = "[...document.querySelectorAll('[data-testid=app-mode-widget-item]')]"
    comfy_page.until(page, f"{items}.length === {len(form(name)['inputs'])}")
    controls = "one.querySelectorAll('input, textarea, button').length"  # one is the host's menu
    comfy_page.until(page, f"{items}.every((one) => {controls} > 1)")
    inside = "one.getBoundingClientRect().width > 200 && one.getBoundingClientRect().right <= %d"
    texts = [shown.get("description", "") for *_, shown in form(name)["inputs"]]
    assert page.evaluate(f"{texts}.every((one) => document.body.innerText.includes(one))")
    width, _ = PHONE
    page.set_viewport_size(dict(zip(("width", "height"), PHONE, strict=True)))
    page.get_by_text("Edit & Run").first.click()
    comfy_page.until(page, f"{items}.every((one) => {controls} > 1 && {inside % width})")
    page.set_viewport_size(dict(zip(("width", "height"), SIZES[0], strict=True)))


def test_the_app_view_takes_values_runs_and_shows_the_result_on_a_phone_too(page):
    workflow = comfy_page.quick("invert-and-edit")
    (direction,) = [x["id"] for x in workflow["nodes"] if x["type"] == "CycleLoadDirection"]
    (edit,) = [x["id"] for x in workflow["nodes"] if x["type"] == "CycleLatentEdit"]
    workflow["extra"]["linearMode"] = True
    opened(page, {**workflow, "id": "app-run"})
    if page.evaluate("window.__COMFYUI_FRONTEND_VERSION__").startswith("1.27."):
        pytest.skip("this front end has no app view")
    item = page.locator(f"[data-widget-key$=':{direction}:name']")
    skip = page.get_by_test_id("coach-landing").get_by_text("Skip", exact=True)
    skip.or_(item).first.wait_for()
    page.wait_for_timeout(1000)  # the host's tour of apps may come over it
    if skip.count():
        skip.click()
    item.get_by_role("combobox").click()
    page.get_by_role("option", name="age", exact=True).click()
    strength = page.locator(f"[data-widget-key$=':{edit}:strength']").get_by_role("spinbutton")
    strength.fill("2.5")
    strength.press("Tab")
    first = run_app(page, direction, edit, ("age", 2.5))
    page.set_viewport_size(dict(zip(("width", "height"), PHONE, strict=True)))
    page.get_by_text("Edit & Run").first.click()
    fits(page, "linear-widgets", "linear-run-button")
    strength.fill("-1")
    strength.press("Tab")
    second = run_app(page, direction, edit, ("age", -1))
    assert second != first
    page.get_by_text("Outputs").first.click()
    fits(page, "linear-output-info", "linear-outputs")
    page.set_viewport_size(dict(zip(("width", "height"), SIZES[0], strict=True)))


def run_app(page, direction, edit, expected):
    """Press Run in the form; the name of the picture that is saved, once it is shown."""
    page.evaluate(ENDED)
    page.get_by_test_id("linear-run-button").get_by_role("button", name="Run", exact=True).click()
    comfy_page.until(page, "window.ended", seconds=600)
    kind, ended = page.evaluate("window.ended")
    assert kind == "execution_success", ended
    history = f"fetch('/history/{ended['prompt_id']}').then((x) => x.json())"
    comfy_page.until(page, lambda: page.evaluate(history))  # it is written after the event
    (run,) = page.evaluate(history).values()
    sent = run["prompt"][2]
    values = [sent[str(direction)]["inputs"]["name"], sent[str(edit)]["inputs"]["strength"]]
    assert tuple(values) == expected
    ((picture,),) = [one["images"] for one in run["outputs"].values() if "images" in one]
    name = picture["filename"]
    large = f"one.src.includes('{name}') && one.naturalWidth === 400 && one.width > 200"
    comfy_page.until(page, f"[...document.querySelectorAll('img')].some((one) => {large})")
    return name


def fits(page, *parts):
    """Nothing that is seen of these parts of the app view is cut by the window's sides."""
    for part in parts:
        inside = f"[...document.querySelectorAll('[data-testid={part}], [data-testid={part}] *')]"
        beyond = f"""{inside}.filter((one) => {{
          const {{ left, right, width, height }} = one.getBoundingClientRect();
          return width && height && (left < -1 || right > innerWidth + 1);
        }}).map((one) => one.outerHTML.slice(0, 200))"""
        comfy_page.until(page, f"{inside}.length && !{beyond}.length")  # the parts glide in
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(("width", "height"), [(260, 480), (360, 480), (640, 320), (900, 300)])
def test_the_whole_picture_is_seen_in_a_panel_of_any_shape(page, width, height):
    image = {"width": 2, "height": 2, "rgb": base64.b64encode(bytes(12)).decode()}
    picture, shown = page.evaluate(
        f"""(async () => {{
          const {{ Panel }} = await import("/extensions/{comfy_page.FOLDER}/panel.js");
          const box = document.createElement("div");
          box.style = "position: fixed; width: {width}px; height: {height}px";
          const panel = new Panel({{}});
          box.append(panel.element);
          document.body.append(box);
          await panel.show({{ image: {json.dumps(image)}, shown: 0, batch: 1 }});
          await new Promise((done) => setTimeout(done, 500));
          const places = [panel.image, panel.image.parentElement].map((one) => {{
            const {{ x, y, width, height }} = one.getBoundingClientRect();
            return [x, y, width, height];
          }});
          box.remove();
          return places;
        }})()"""
    )
    assert within(picture, shown)
    assert min(picture[2:]) > 100


def check_places(page):
    places = page.evaluate(PLACES)
    for (one, a), (other, b) in itertools.combinations(places["nodes"].items(), 2):
        assert apart(a, b), f"node {one} at {a} covers node {other} at {b}"
    for number, node in places["nodes"].items():
        for group in places["groups"]:
            assert apart(node, group) or within(node, group), f"{number} at {node} leaves {group}"


def check_window(page, width, height):
    """Everything is in sight."""
    scale, (left, top) = page.evaluate("[app.canvas.ds.scale, [...app.canvas.ds.offset]]")
    for number, (x, y, wide, high) in page.evaluate(PLACES)["nodes"].items():
        place = [(x + left) * scale, (y + top) * scale, wide * scale, high * scale]
        assert within(place, (0, 0, width, height)), f"{number} at {place} is out of the window"


def check_notes(page):
    notes = page.evaluate(NOTES)
    assert notes
    for letters, below in notes:
        assert letters >= LETTERS
        assert below >= 0, "the text goes on below the note"


def apart(a, b):
    return any(a[k] >= b[k] + b[k + 2] or b[k] >= a[k] + a[k + 2] for k in (0, 1))


def within(a, b):
    return all(a[k] >= b[k] and a[k] + a[k + 2] <= b[k] + b[k + 2] for k in (0, 1))

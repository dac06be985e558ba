"""The shipped workflows, as files: whole, and for the nodes as they are.

That they run, and what comes out, is in test_comfyui_workflows.py."""

from __future__ import annotations

import itertools
import json
import re

import blueprint_files
import make_workflows
import node_texts
import pytest
import workflow_files
import workflow_layout

SCHEMAS = json.loads(node_texts.SNAPSHOT.read_text())
NAMES = workflow_files.names()
ROOM = (1149, 689)  # what editors fit a graph into in a window of 1600x1000, as measured
CORE = {
    *("SaveImage", "PreviewImage", "PreviewAny", "SaveAnimatedWEBP", "LoadImage"),
    *("CreateVideo", "SaveVideo"),
    *("ImageScale", "ImageScaleBy", "CheckpointLoaderSimple", "CLIPTextEncode", "KSampler"),
    *("VAEEncode", "VAEDecode"),
}
# what a note calls the models and the pictures that these nodes give
SAID = {
    "CycleLoadGenerator": "embedded", "CheckpointLoaderSimple": "checkpoint",
    "CycleExample": "example", "CycleClip": "clip", "CycleSampleCodes": "random",
}  # fmt: skip
NODE_DEFS = json.loads(node_texts.NODE_DEFS.read_text())
TITLE, GAP = 30, 10  # the height of a node's title, above its place; room that others leave


@pytest.fixture(scope="module")
def schemas():
    return json.loads(node_texts.SNAPSHOT.read_text())


def test_there_are_workflows():
    assert {"invert-and-edit", "edit-strength-strip", "morph", "edit-then-upscale"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_form_for_the_api_is_the_one_that_the_editor_opens(name):
    assert workflow_files.to_api(workflow_files.read(name)) == workflow_files.read_api(name)


def test_the_files_are_what_the_command_writes():
    for make in make_workflows.WORKFLOWS:
        graph = make()
        assert graph.workflow() == workflow_files.read(graph.name)
    for blueprint in (make() for make in make_workflows.BLUEPRINTS):
        path = make_workflows.SUBGRAPHS / f"{blueprint.graph.name}.json"
        assert json.loads(path.read_text()) == blueprint.file()
    assert len(NAMES) == len(make_workflows.WORKFLOWS)


def test_a_form_asks_for_widgets_and_shows_nodes_that_are_there():
    forms = {name: workflow_files.read(name)["extra"].get("linearData") for name in NAMES}
    assert {"live-edit", "invert-and-edit", "group-photo", "video"} <= {
        name for name, form in forms.items() if form
    }
    for name, form in forms.items():
        nodes = {node["id"]: node for node in workflow_files.read(name)["nodes"]}
        for number, widget, *shown in form["inputs"] if form else ():
            added = ["editor"] if nodes[number]["type"] == "CycleLatentEditor" else []
            assert widget in [*workflow_files.widgets(nodes[number]), *added], f"{name}: {widget}"
            assert len(shown) == 1  # what it is for, in one line of the narrow form
            assert len(shown[0].get("description", "")) <= 30
        assert all(number in nodes for number in (form or {"outputs": []})["outputs"])


@pytest.mark.parametrize("make", make_workflows.BLUEPRINTS)
def test_every_link_of_a_blueprint_joins_what_fits(make):
    file = make().file()
    (whole,), (outer,) = file["definitions"]["subgraphs"], file["nodes"]
    nodes = {node["id"]: node for node in whole["nodes"]}
    ends = {blueprint_files.INPUT: whole["inputs"], blueprint_files.OUTPUT: whole["outputs"]}
    for link in whole["links"]:
        source, target = link["origin_id"], link["target_id"]
        start = ends.get(source) or nodes[source]["outputs"]
        end = ends.get(target) or nodes[target]["inputs"]
        assert start[link["origin_slot"]]["type"] == link["type"]
        assert end[link["target_slot"]]["type"] == link["type"]
        if target in nodes:
            assert end[link["target_slot"]]["link"] == link["id"]
    assert [one["name"] for one in outer["inputs"]] == [one["name"] for one in whole["inputs"]]
    assert [one["name"] for one in outer["outputs"]] == [one["name"] for one in whole["outputs"]]
    shown = [name for _, name in outer["properties"]["proxyWidgets"]]
    assert shown == [one["name"] for one in outer["inputs"] if "widget" in one]
    assert not outer["widgets_values"]  # the nodes in it have them
    for node in nodes.values():  # nothing inside waits for what is not there
        needed = {one["id"] for one in SCHEMAS.get(node["type"], {"inputs": []})["inputs"]
                  if not one["optional"] and not workflow_layout.is_widget(one)}  # fmt: skip
        assert all(one["link"] for one in node["inputs"] if one["name"] in needed)


def test_every_form_for_the_api_is_of_a_workflow():
    folder = workflow_files.FOLDER / "api"
    assert sorted(path.stem for path in folder.glob("*.json")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_links_join_what_fits_and_are_known_at_both_ends(name):
    workflow = workflow_files.read(name)
    nodes = {node["id"]: node for node in workflow["nodes"]}
    assert len(nodes) == len(workflow["nodes"])
    assert workflow["last_node_id"] == max(nodes)
    assert workflow["last_link_id"] == max(link[0] for link in workflow["links"])
    for link, source, output, target, socket, kind in workflow["links"]:
        start, end = nodes[source]["outputs"][output], nodes[target]["inputs"][socket]
        assert start["type"] == kind
        assert end["type"] in (kind, "*")
        assert link in start["links"]
        assert end["link"] == link
    numbers = [link[0] for link in workflow["links"]]
    held = [one["link"] for node in nodes.values() for one in node["inputs"] if one["link"]]
    left = [x for node in nodes.values() for one in node["outputs"] for x in one["links"] or []]
    assert sorted(held) == sorted(left) == sorted(numbers)


@pytest.mark.parametrize("name", NAMES)
def test_the_editor_can_tell_which_pack_and_version_a_node_is_of(name):
    workflow = workflow_files.read(name)
    assert workflow["version"] == 0.4
    for node in workflow_files.nodes(workflow):
        ours = node["type"].startswith("Cycle")
        assert ours or node["type"] in CORE
        assert node["properties"]["cnr_id"] == ("cycle-encoding" if ours else "comfy-core")
        assert node["properties"]["ver"]
        assert node["properties"]["Node name for S&R"] == node["type"]


@pytest.mark.parametrize("name", NAMES)
def test_the_nodes_are_as_their_schemas(name, schemas):
    for node in workflow_files.nodes(workflow_files.read(name)):
        if node["type"] in CORE:
            continue
        schema = schemas[node["type"]]
        values = workflow_files.widgets(node)
        kinds = {one["id"]: one for one in schema["inputs"]}
        assert [one["name"] for one in node["inputs"] if "widget" in one] == [
            one["id"] for one in schema["inputs"] if one["id"] in values
        ]
        assert {one["name"]: one["type"] for one in node["inputs"]} == {
            one["id"]: one["type"] for one in schema["inputs"]
        }
        assert [(one["name"], one["type"]) for one in node["outputs"]] == [
            (one["name"], one["type"]) for one in schema["outputs"]
        ]
        for one in node["inputs"]:
            needed = "widget" not in one and not kinds[one["name"]]["optional"]
            assert one["link"] or not needed, f"{node['type']}.{one['name']} is not connected"
        for key, value in values.items():
            field = kinds[key]
            if "options" in field:
                assert value in field["options"]
            if "min" in field:
                assert field["min"] <= value <= field["max"]


@pytest.mark.parametrize("name", NAMES)
def test_a_fresh_machine_has_all_that_is_needed(name):
    """But for the diffusion model of one; a place for the user's photo leads nowhere yet."""
    for node in workflow_files.nodes(workflow_files.read(name)):
        if node["type"] == "CheckpointLoaderSimple":
            assert name == "edit-then-img2img"
        if node["type"] == "LoadImage":
            assert workflow_files.widgets(node)["image"] == "example.png"  # comes with ComfyUI
            assert not any(one["links"] for one in node["outputs"])
        if node["type"] in ("CycleLoadGenerator", "CycleLoadEncoder"):
            assert workflow_files.widgets(node)["name"] == "portraits"


@pytest.mark.parametrize("name", NAMES)
def test_something_is_saved(name):
    kinds = {node["type"] for node in workflow_files.read(name)["nodes"]}
    assert kinds & {"SaveImage", "SaveVideo"}


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is_for_and_has_its_picture(name):
    from PIL import Image

    notes = [
        node["widgets_values"][0]
        for node in workflow_files.read(name)["nodes"]
        if node["type"] in workflow_files.TEXT_ONLY
    ]
    assert any(note.startswith("## ") for note in notes)
    assert not any("`" in note for note in notes)  # Nodes 2.0 write code in blue on blue
    with Image.open(workflow_files.FOLDER / f"{name}.jpg") as picture:
        assert picture.width >= 256
        assert 0.7 < picture.width / picture.height < 3


@pytest.mark.parametrize("name", NAMES)
def test_its_note_begins_with_three_sentences(name):
    """What will happen, with which models and whose picture, and what to change: by the name of a
    node, an input or an output that the template has."""
    workflow = workflow_files.read(name)
    (note,) = [
        node["widgets_values"][0]
        for node in workflow["nodes"]
        if node["type"] in workflow_files.TEXT_ONLY
    ]
    _, first, *_ = note.split("\n\n")
    *happens, change = re.split(r"(?<=[.]) ", first)
    assert len(happens) == 2, first
    assert change.endswith("."), first
    nodes = workflow_files.nodes(workflow)
    kinds = {node["type"] for node in nodes}
    for kind in kinds & SAID.keys():
        assert SAID[kind] in " ".join(happens), f"{SAID[kind]}: {first}"
    known = {NODE_DEFS[kind]["display_name"] for kind in kinds & NODE_DEFS.keys()}
    known |= {one["name"] for node in nodes for one in node["inputs"] + node["outputs"]}
    assert known & {*re.findall(r"(?<!\*)\*([^*]+)\*", change)}, change


def test_no_two_pictures_look_the_same():
    from PIL import Image, ImageChops, ImageStat

    def small(name):
        with Image.open(workflow_files.FOLDER / f"{name}.jpg") as picture:
            return picture.convert("L").resize((48, 48))

    pictures = {name: small(name) for name in NAMES}
    for one, other in itertools.combinations(NAMES, 2):
        difference = ImageChops.difference(pictures[one], pictures[other])
        assert ImageStat.Stat(difference).mean[0] > 10, f"{one} and {other}"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_lies_over_another_thing(name):
    workflow = workflow_files.read(name)
    nodes = {
        node["id"]: (x, y - TITLE, x + width, y + height)
        for node in workflow["nodes"]
        for (x, y), (width, height) in [(node["pos"], node["size"])]
    }
    groups = {
        group["title"]: (x, y, x + width, y + height)
        for group in workflow["groups"]
        for x, y, width, height in [group["bounding"]]
    }
    for boxes, room in ((nodes, GAP), (groups, 0)):
        for (one, a), (other, b) in itertools.combinations(boxes.items(), 2):
            assert apart(a, b, room), f"{one} and {other}"
    for key, box in nodes.items():
        for title, frame in groups.items():
            assert apart(box, frame) or within(box, frame), f"{key} is half in {title}"


def apart(a, b, room=0):
    return a[0] >= b[2] + room or b[0] >= a[2] + room or a[1] >= b[3] + room or b[1] >= a[3] + room


def within(a, b):
    return a[0] >= b[0] and a[1] >= b[1] and a[2] <= b[2] and a[3] <= b[3]


@pytest.mark.parametrize("name", NAMES)
def test_it_opens_large_enough_to_be_read(name):
    """At 60 % and more in a window of 1600x1000; below that the editor hides every text."""
    workflow = workflow_files.read(name)
    boxes = [(*node["pos"], *node["size"]) for node in workflow["nodes"]]
    boxes += [group["bounding"] for group in workflow["groups"]]
    for side, room in enumerate(ROOM):
        start = min(box[side] for box in boxes)
        assert room / (max(box[side] + box[side + 2] for box in boxes) - start) >= 0.6

"""The shipped workflows in ComfyUI's own editor, in headless Chromium: it opens them as they are
meant, and sends what workflows/api/ has."""

from __future__ import annotations

import json
from importlib.util import find_spec

import comfy_page
import comfy_real
import pytest
import workflow_files

pytestmark = [
    pytest.mark.skipif(
        not comfy_real.CHECKOUT or find_spec("aiohttp") is None, reason=comfy_real.REASON
    ),
    pytest.mark.skipif(comfy_page.MISSING, reason=comfy_page.REASON),
]
READY = "window.app?.canvas && window.LiteGraph?.registered_node_types.CyclePasteBack"
OPEN = """(async () => {
    await app.loadGraphData(%s)
    await new Promise(next => setTimeout(next, 500))
    const nodes = app.graph._nodes
    return {
        unknown: nodes.map(node => node.type).filter(x => !LiteGraph.registered_node_types[x]),
        sizes: Object.fromEntries(nodes.map(node => [node.id, [...node.size]])),
        prompt: (await app.graphToPrompt()).output,
    }
})()"""
OWN_WIDGETS = {"PreviewAny": {"preview"}}  # which the editor of 0.3.64 sends though nobody asks


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    base = tmp_path_factory.mktemp("ComfyUI")
    with comfy_page.opened(base) as (page, address):
        page.goto(address)
        comfy_page.until(page, READY, seconds=600)
        yield page


@pytest.mark.parametrize("name", workflow_files.names())
def test_the_editor_opens_a_workflow_and_sends_the_form_for_the_api(page, name):
    workflow = workflow_files.read(name)
    opened = page.evaluate(OPEN % json.dumps(workflow))
    assert opened["unknown"] == []
    sent = {
        key: {
            name: value
            for name, value in node["inputs"].items()
            if name not in OWN_WIDGETS.get(node["class_type"], ())
        }
        for key, node in opened["prompt"].items()
    }
    assert sent == {key: node["inputs"] for key, node in workflow_files.read_api(name).items()}
    for node in workflow["nodes"]:  # what grew might lie over its neighbour
        width, height = opened["sizes"][str(node["id"])]
        assert width <= node["size"][0] + 1
        assert height <= node["size"][1] + 1

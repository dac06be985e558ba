"""The shipped workflows: the files that the editor opens, and what they are for `POST /prompt`.

    python tests/workflow_files.py     renews workflows/api/ from the files in workflows/

The first are written by hand, or saved by the editor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "workflows"
TEXT_ONLY = ("Note", "MarkdownNote")  # the editor's own, nothing that runs
CONTROLS = ("fixed", "increment", "decrement", "randomize")
USERS_FILES = ("CheckpointLoaderSimple", "LoadImage")
BUTTONS = ("upload",)  # widgets of which a prompt knows nothing


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def read(name: str) -> dict[str, Any]:
    """A workflow as the editor saves it."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def read_api(name: str) -> dict[str, Any]:
    """A workflow as `POST /prompt` takes it: node -> class and inputs."""
    return json.loads((FOLDER / "api" / f"{name}.json").read_text())


def nodes(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that run."""
    return [node for node in workflow["nodes"] if node["type"] not in TEXT_ONLY]


def widgets(node: dict[str, Any]) -> dict[str, Any]:
    """The values of a node's widgets, which the file has by position.

    Raises ValueError where there are more or fewer of them than widgets."""
    values, found = list(node["widgets_values"]), {}
    for name in [one["widget"]["name"] for one in node["inputs"] if "widget" in one]:
        if not values:
            raise ValueError(f"{node['type']} has no value for {name}")
        value = values.pop(0)
        if name not in BUTTONS:
            found[name] = value
        if name == "seed" and values and values[0] in CONTROLS:
            values.pop(0)  # what the editor does with the seed after each run
    if values:
        raise ValueError(f"{node['type']} has values of no widget: {values}")
    return found


def to_api(workflow: dict[str, Any]) -> dict[str, Any]:
    """What the editor sends when Run is pressed."""
    sources = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    prompt = {}
    for node in nodes(workflow):
        linked = {one["name"]: sources[one["link"]] for one in node["inputs"] if one["link"]}
        prompt[str(node["id"])] = {
            "class_type": node["type"],
            "inputs": {**widgets(node), **linked},
            "_meta": {"title": node.get("title", node["type"])},
        }
    return prompt


def self_contained(prompt: dict[str, Any]) -> dict[str, Any]:
    """The part of a prompt that needs no file of the user."""
    missing = {key for key, node in prompt.items() if node["class_type"] in USERS_FILES}
    while True:
        hanging = {
            key
            for key, node in prompt.items()
            if any(isinstance(x, list) and x[0] in missing for x in node["inputs"].values())
        }
        if hanging <= missing:
            return {key: node for key, node in prompt.items() if key not in missing}
        missing |= hanging


def main() -> None:
    for name in names():
        prompt = json.dumps(to_api(read(name)), indent=2, ensure_ascii=False)
        (FOLDER / "api" / f"{name}.json").write_text(prompt + "\n")


if __name__ == "__main__":
    main()

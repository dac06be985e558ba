"""Writes the shipped workflows and blueprints, laid out by `workflow_layout`.

    python tests/make_workflows.py     renews workflows/*.json, workflows/api/*.json and
                                       subgraphs/*.json

Their pictures are rendered by `comfy_real.py`, from the form for the API."""

from __future__ import annotations

import json
from pathlib import Path

import workflow_files
from shipped_blueprints import BLUEPRINTS
from shipped_workflows import WORKFLOWS

SUBGRAPHS = workflow_files.FOLDER.parent / "subgraphs"


def write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    for make in WORKFLOWS:
        graph = make()
        workflow = graph.workflow()
        write(workflow_files.FOLDER / f"{graph.name}.json", workflow)
        write(workflow_files.FOLDER / "api" / f"{graph.name}.json", workflow_files.to_api(workflow))
    for blueprint in (make() for make in BLUEPRINTS):
        write(SUBGRAPHS / f"{blueprint.graph.name}.json", blueprint.file())


if __name__ == "__main__":
    main()

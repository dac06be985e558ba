"""The texts and shapes of the nodes' schemas, in the files that ship and are compared with them.

    python tests/node_texts.py     renews titles and tables of web/docs, locales/en and the
                                   snapshot; takes translations out whose English has changed, and
                                   names them

What stands above the tables of a help page, in each language, is written by hand and kept; so are
the translations in locales/zh and locales/ja, each beside the English text of its place."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[1]
SNAPSHOT = ROOT / "tests" / "fixtures" / "nodes" / "schemas.json"
NODE_DEFS = ROOT / "locales" / "en" / "nodeDefs.json"
LANGUAGES = ("zh", "ja")
HEADINGS = {
    "en": ("Inputs", "Outputs", "name", "what it is"),
    "zh": ("输入", "输出", "名称", "说明"),
    "ja": ("入力", "出力", "名前", "説明"),
}
FROM_DISK = ("name", "file", "photo")  # their options are files
UNSAVED = ("tooltip", "optional", "extra_dict")


def load_pack(folder: Path) -> ModuleType:
    """The pack as ComfyUI imports it: under a name that is its path."""
    name = str(folder).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def nodes_of(pack: ModuleType) -> dict[str, Any]:
    async def listed() -> list[Any]:
        extension = await pack.comfy_entrypoint()
        return await extension.get_node_list()

    return {node.define_schema().node_id: node for node in asyncio.run(listed())}


def shape(schema: Any) -> dict[str, Any]:
    """What saved workflows depend on."""
    inputs = []
    for one in schema.inputs:
        fields = {k: v for k, v in one.fields.items() if k not in UNSAVED}
        if one.id in FROM_DISK:
            fields.pop("options", None)
        inputs.append({"id": one.id, "type": one.io_type, "optional": one.optional, **fields})
    outputs = [{"name": one.display_name, "type": one.io_type} for one in schema.outputs]
    return {"inputs": inputs, "outputs": outputs, "output_node": schema.is_output_node}


def texts(schema: Any) -> dict[str, Any]:
    """An entry of nodeDefs.json."""
    return {
        "display_name": schema.display_name,
        "description": schema.description,
        "inputs": {
            one.id: {"name": one.id, "tooltip": one.fields["tooltip"]} for one in schema.inputs
        },
        "outputs": {
            str(i): {"name": one.display_name, "tooltip": one.tooltip}
            for i, one in enumerate(schema.outputs)
        },
    }


def translation(language: str) -> dict[str, Any]:
    """Its nodeDefs.json."""
    return json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))


def leaves(tree: dict[str, Any], at: str = "") -> dict[str, str]:
    """Every text of a nodeDefs.json by its place, such as "CycleAlign.inputs.face.tooltip"."""
    found: dict[str, str] = {}
    for name, value in tree.items():
        place = f"{at}.{name}".lstrip(".")
        found |= leaves(value, place) if isinstance(value, dict) else {place: value}
    return found


def kept(now: dict[str, Any], before: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """A translation of the English text `before`, without what is another text or gone `now`."""
    found = {}
    for name, value in now.items():
        if isinstance(value, dict):
            found[name] = kept(value, before.get(name, {}), other.get(name, {}))
        elif before.get(name) == value and name in other:
            found[name] = other[name]
    return found


def page(node_id: str, language: str = "en") -> Path:
    folder = ROOT / "web" / "docs"
    return folder / f"{node_id}.md" if language == "en" else folder / node_id / f"{language}.md"


def prose(text: str, language: str) -> str:
    """What a help page says between its title and its tables."""
    above = text.split(f"\n## {HEADINGS[language][0]}\n")[0]
    return above.partition("\n")[2].strip()


def renewed(text: str, entry: dict[str, Any], language: str) -> str:
    """A help page, or none yet, with the title and the tables of an entry of a nodeDefs.json."""
    inputs, outputs, name, what = HEADINGS[language]
    lines = [f"# {entry['display_name']}", "", prose(text, language)]
    for heading, ends in ((inputs, entry["inputs"]), (outputs, entry["outputs"])):
        lines += ["", f"## {heading}", "", f"| {name} | {what} |", "| --- | --- |"]
        lines += [f"| {one['name']} | {one['tooltip']} |" for one in ends.values()]
    return "\n".join(lines) + "\n"


def as_json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    import comfy_standin

    comfy_standin.install(Path(tempfile.mkdtemp()))
    schemas = {k: node.define_schema() for k, node in nodes_of(load_pack(ROOT)).items()}
    SNAPSHOT.parent.mkdir(parents=True, exist_ok=True)
    SNAPSHOT.write_text(as_json({k: shape(schema) for k, schema in schemas.items()}))
    before = json.loads(NODE_DEFS.read_text())
    now = {k: texts(schema) for k, schema in schemas.items()}
    NODE_DEFS.write_text(as_json(now))
    known = {"en": now}
    for language in LANGUAGES:
        translated = kept(now, before, translation(language))
        path = ROOT / "locales" / language / "nodeDefs.json"
        path.write_text(as_json(translated), encoding="utf-8")
        missing = leaves(now).keys() - leaves(translated).keys()
        for place in missing:
            print(f"to be translated in locales/{language}/nodeDefs.json: {place}")
        known[language] = {} if missing else translated
    for language, entries in known.items():
        for node_id, entry in entries.items():
            path = page(node_id, language)
            path.parent.mkdir(exist_ok=True)
            text = path.read_text("utf-8") if path.exists() else ""
            path.write_text(renewed(text, entry, language), "utf-8")


if __name__ == "__main__":
    main()

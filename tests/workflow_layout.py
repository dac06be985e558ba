"""Graphs as the editor saves them: nodes from their schemas, laid out in columns of groups so that
nothing covers another thing on either of the editor's canvases, before or after a run."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCHEMAS = json.loads((Path(__file__).parent / "fixtures" / "nodes" / "schemas.json").read_text())
VERSION = "0.1.0"
CORE_VERSION = "0.3.64"
TITLE, GAP = 30, 24  # a node's title, above its place; room between two nodes
HEAD, EDGE, BETWEEN = 46, 16, 14  # a group's title, its border, room between two groups
PREVIEW = 224  # what a preview adds to a node while it runs, and leaves there
COLOURS = {
    "Photo": "#8A8", "Models": "#3f789e", "Inversion": "#88A", "Edit": "#b58b2a", "Result": "#A88",
}  # fmt: skip
NOTE = {"color": "#432", "bgcolor": "#653"}


def _core(inputs: str, outputs: str = "") -> dict[str, Any]:
    """A node of the core from "name:TYPE name:TYPE=default ..."; with a default it is a widget."""
    found = []
    for part in inputs.split():
        name, _, kind = part.partition(":")
        kind, widget, default = kind.partition("=")
        entry = {"id": name, "type": kind}
        found.append(entry | {"default": json.loads(default)} if widget else entry)
    return {
        "inputs": found,
        "outputs": [
            dict(zip(("name", "type"), part.split(":"), strict=True)) for part in outputs.split()
        ],
    }


CORE = {
    "SaveImage": _core('images:IMAGE filename_prefix:STRING="cycle"'),
    "PreviewImage": _core("images:IMAGE"),
    "PreviewAny": _core("source:*"),
    "SaveAnimatedWEBP": _core(
        'images:IMAGE filename_prefix:STRING="cycle" fps:FLOAT=12.0 lossless:BOOLEAN=false '
        'quality:INT=90 method:COMBO="default"'
    ),
    "ImageScale": _core(
        'image:IMAGE upscale_method:COMBO="lanczos" width:INT=512 height:INT=512 '
        'crop:COMBO="disabled"',
        "IMAGE:IMAGE",
    ),
    "ImageScaleBy": _core(
        'image:IMAGE upscale_method:COMBO="lanczos" scale_by:FLOAT=4.0', "IMAGE:IMAGE"
    ),
    "CheckpointLoaderSimple": _core(
        'ckpt_name:COMBO="v1-5-pruned-emaonly-fp16.safetensors"', "MODEL:MODEL CLIP:CLIP VAE:VAE"
    ),
    "CLIPTextEncode": _core('clip:CLIP text:STRING=""', "CONDITIONING:CONDITIONING"),
    "VAEEncode": _core("pixels:IMAGE vae:VAE", "LATENT:LATENT"),
    "VAEDecode": _core("samples:LATENT vae:VAE", "IMAGE:IMAGE"),
    "KSampler": _core(
        "model:MODEL positive:CONDITIONING negative:CONDITIONING latent_image:LATENT seed:INT=0 "
        'steps:INT=20 cfg:FLOAT=7.0 sampler_name:COMBO="euler" scheduler:COMBO="normal" '
        "denoise:FLOAT=0.4",
        "LATENT:LATENT",
    ),
    "GetVideoComponents": _core("video:VIDEO", "images:IMAGE audio:AUDIO fps:FLOAT"),
    "CreateVideo": _core("images:IMAGE fps:FLOAT=30.0 audio:AUDIO", "VIDEO:VIDEO"),
    "SaveVideo": _core(
        'video:VIDEO filename_prefix:STRING="cycle" format:COMBO="auto" codec:COMBO="auto"'
    ),
}


@dataclass(eq=False)
class Node:
    kind: str
    title: str | None
    values: dict[str, Any]
    links: dict[str, Output]
    width: int
    height: int
    id: int = 0
    place: tuple[float, float] = (0, 0)

    def __getattr__(self, name: str) -> Output:
        """node.images: its output of that name."""
        names = [one["name"] for one in self.schema["outputs"]]
        if name.startswith("__") or name not in names:
            raise AttributeError(f"{self.kind} has no output {name}, but {names}")
        return Output(self, names.index(name))

    @property
    def schema(self) -> dict[str, Any]:
        return CORE.get(self.kind) or SCHEMAS[self.kind]


@dataclass(frozen=True)
class Output:
    node: Node
    index: int


@dataclass
class Group:
    """A frame with columns of nodes."""

    title: str
    columns: list[list[Node]]
    bounding: tuple[float, float, float, float] = (0, 0, 0, 0)


@dataclass
class Graph:
    """g = Graph("name"); photo = g.node("CycleExample"); g.lay([...], [...]); g.workflow()"""

    name: str
    width: int = 300  # of a node
    nodes: list[Node] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    app: tuple[list[tuple[Any, ...]], list[Node]] | None = None  # what it asks for, what it shows

    def node(
        self,
        kind: str,
        title: str | None = None,
        body: tuple[int, int] | None = None,
        preview: bool = False,
        **inputs: Any,
    ) -> Node:
        """body: its width and height; else what it needs, and room for previews that it shows.
        inputs: values of widgets, and outputs of other nodes."""
        links = {name: x for name, x in inputs.items() if isinstance(x, Output)}
        schema = CORE.get(kind) or SCHEMAS[kind]
        known = {one["id"] for one in schema["inputs"]}
        assert set(inputs) <= known, f"{kind}: {set(inputs) - known}"
        values = {
            one["id"]: inputs.get(one["id"], _default(one))
            for one in schema["inputs"]
            if is_widget(one)
        }
        values = {name: None if isinstance(x, Output) else x for name, x in values.items()}
        width, height = body or (self.width, _height(schema, kind) + PREVIEW * preview)
        node = Node(kind, title, values, links, width, height)
        self.nodes.append(node)
        return node

    def note(self, text: str, height: int, title: str = "About") -> Node:
        size = self.width + 2 * EDGE, height
        node = Node("MarkdownNote", title, {"text": text}, {}, *size)
        self.nodes.append(node)
        return node

    def lay(self, *columns: list[Node | Group]) -> None:
        """Place everything: columns from left to right, in each from top to bottom."""
        x = 0.0
        for column in columns:
            y, right = 0.0, x
            for part in column:
                if isinstance(part, Node):
                    part.place = (x, y + TITLE)
                    wide, y = part.width, y + TITLE + part.height + BETWEEN
                else:
                    wide, high = self._frame(part, x, y)
                    y += high + BETWEEN
                right = max(right, x + wide)
            x = right + BETWEEN
        self.nodes.sort(key=lambda node: node.place)
        for number, node in enumerate(self.nodes, 1):
            node.id = number

    def _frame(self, group: Group, x: float, y: float) -> tuple[float, float]:
        inside, bottom = x + EDGE, y
        for nodes in group.columns:
            at = y + HEAD
            for node in nodes:
                node.place = (inside, at + TITLE)
                at += TITLE + node.height + GAP
            inside += max(node.width for node in nodes) + GAP
            bottom = max(bottom, at - GAP + EDGE)
        size = inside - GAP + EDGE - x, bottom - y
        group.bounding = (x, y, *size)
        self.groups.append(group)
        return size

    def workflow(self) -> dict[str, Any]:
        """As the editor saves it."""
        links: list[list[Any]] = []
        taken: dict[tuple[int, int], list[int]] = {}
        entries = []
        for node in self.nodes:
            if node.kind == "MarkdownNote":
                continue
            for slot, one in enumerate(node.schema["inputs"]):
                source = node.links.get(one["id"])
                if source is None:
                    continue
                kind = source.node.schema["outputs"][source.index]["type"]
                number = len(links) + 1
                links.append([number, source.node.id, source.index, node.id, slot, kind])
                taken.setdefault((source.node.id, source.index), []).append(number)
        for order, node in enumerate(self.nodes):
            entries.append(_entry(node, order, links, taken))
        form = self.app and {
            "inputs": [[node.id, *rest] for node, *rest in self.app[0]],
            "outputs": [node.id for node in self.app[1]],
        }
        seed = uuid.uuid5(uuid.NAMESPACE_URL, f"cycle-encoding/{self.name}")
        return {
            "id": str(seed),
            "revision": 0,
            "last_node_id": len(self.nodes),
            "last_link_id": len(links),
            "nodes": entries,
            "links": links,
            "groups": [
                {
                    "id": number, "title": group.title, "bounding": [*map(round, group.bounding)],
                    "color": COLOURS.get(group.title.split()[0], "#AAA"), "font_size": 24,
                    "flags": {},
                }
                for number, group in enumerate(self.groups, 1)
            ],
            "config": {},
            "extra": {"linearData": form} if form else {},
            "version": 0.4,
        }  # fmt: skip


def _entry(
    node: Node, order: int, links: list[list[Any]], taken: dict[tuple[int, int], list[int]]
) -> dict[str, Any]:
    entry = {
        "id": node.id, "type": node.kind, "pos": [*map(round, node.place)],
        "size": [node.width, node.height], "flags": {}, "order": order, "mode": 0,
        "inputs": [], "outputs": [], "properties": {},
    }  # fmt: skip
    if node.title:
        entry["title"] = node.title
    if node.kind == "MarkdownNote":
        entry["properties"]["cycle_note"] = True  # by which web/notes.js knows it
        return {**entry, **NOTE, "widgets_values": [node.values["text"]]}
    into = {(link[3], link[4]): link[0] for link in links}
    for slot, one in enumerate(node.schema["inputs"]):
        socket = {"name": one["id"], "type": one["type"]}
        if is_widget(one):
            socket["widget"] = {"name": one["id"]}
        entry["inputs"].append({**socket, "link": into.get((node.id, slot))})
    entry["outputs"] = [
        {**one, "links": taken.get((node.id, slot))}
        for slot, one in enumerate(node.schema["outputs"])
    ]
    ours = node.kind.startswith("Cycle")
    entry["properties"] = {
        "cnr_id": "cycle-encoding" if ours else "comfy-core",
        "ver": VERSION if ours else CORE_VERSION,
        "Node name for S&R": node.kind,
    }
    values = []
    for one in node.schema["inputs"]:
        if is_widget(one):
            value = node.values[one["id"]]
            values.append(_default(one) if value is None else value)
            if one.get("control_after_generate") or (node.kind, one["id"]) == ("KSampler", "seed"):
                values.append("fixed")  # what the editor does with the seed after each run
    entry["widgets_values"] = values
    return entry


def is_widget(one: dict[str, Any]) -> bool:
    return "default" in one or one["type"] == "COMBO"


def _default(one: dict[str, Any]) -> Any:
    return one.get("default", one.get("options", [None])[0])


def _height(schema: dict[str, Any], kind: str) -> int:
    """The body that a node needs on either canvas, as they were measured: rows of sockets, widgets;
    on Nodes 2.0 texts are higher, advanced widgets are behind a button, and a badge is below."""
    widgets = [one for one in schema["inputs"] if is_widget(one)]
    rows = max(len(schema["inputs"]) - len(widgets), len(schema["outputs"]))
    folded = [one for one in widgets if one["id"] in ("same_space", *ADVANCED.get(kind, ()))]
    texts = sum(one["type"].split(",")[0] == "STRING" for one in widgets if one not in folded)
    uploads = sum("upload" in one for one in widgets)
    canvas = 20 * rows + 24 * (len(widgets) + uploads) + 22
    nodes_2 = 20 * rows + 28 * (len(widgets) - len(folded) + uploads) + 18 * texts + 38
    return max(canvas, nodes_2 + 24 * bool(folded)) + 4


ADVANCED = {
    "CycleLoadGenerator": ("precision", "keep_converted"),
    "CycleLoadEncoder": ("architecture", "keep_converted"),
    "CycleRefinePivot": ("seed", "learning_rate"),
    "CyclePivotTune": ("locality", "seed", "learning_rate"),
    "CycleDiscoverDirections": ("samples",),
}

"""Blueprints: graphs that ComfyUI of 2026 lists as one node, written from a `Graph`."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import workflow_files
from workflow_layout import VERSION, Graph, Node, Output

INPUT, OUTPUT = -10, -20  # the ids that the editor gives to the two ends


@dataclass(frozen=True)
class Blueprint:
    """A graph with ends. inputs: name -> the inputs of nodes that it is. outputs: name -> whose."""

    graph: Graph
    description: str
    aliases: tuple[str, ...]
    inputs: dict[str, list[tuple[Node, str]]]
    outputs: dict[str, Output]

    def file(self) -> dict[str, Any]:
        """As subgraphs/*.json has it: one node, and what is in it."""
        inside = self.graph.workflow()
        nodes = {node["id"]: node for node in inside["nodes"]}
        links = [
            dict(zip(LINK, (number, source, output, target, slot, kind), strict=True))
            for number, source, output, target, slot, kind in inside["links"]
        ]
        ends: dict[str, list[dict[str, Any]]] = {"inputs": [], "outputs": []}
        widgets, sockets = [], []
        for slot, (name, targets) in enumerate(self.inputs.items()):
            numbers, kind = [], "*"
            for node, into in targets:
                names = [one["name"] for one in nodes[node.id]["inputs"]]
                at = nodes[node.id]["inputs"][names.index(into)]
                number, kind = len(links) + 1, at["type"]
                at["link"] = number
                found = (number, INPUT, slot, node.id, names.index(into), kind)
                links.append(dict(zip(LINK, found, strict=True)))
                numbers.append(number)
            ends["inputs"].append(self._end(name, kind, numbers))
            socket = {"name": name, "type": kind, "link": None}
            node, into = targets[0]
            if into in node.values:
                socket["widget"] = {"name": name}
                widgets.append(name)
            sockets.append(socket)
        for slot, (name, source) in enumerate(self.outputs.items()):
            number, kind = len(links) + 1, source.node.schema["outputs"][source.index]["type"]
            found = (number, source.node.id, source.index, OUTPUT, slot, kind)
            links.append(dict(zip(LINK, found, strict=True)))
            one = nodes[source.node.id]["outputs"][source.index]
            one["links"] = [*(one["links"] or []), number]
            ends["outputs"].append(self._end(name, kind, [number]))
        left = min(node["pos"][0] for node in nodes.values())
        right = max(node["pos"][0] + node["size"][0] for node in nodes.values())
        identity = self._id("")
        whole = {
            "id": identity, "version": 1, "revision": 0, "config": {}, "name": self.graph.name,
            "state": {
                "lastGroupId": len(inside["groups"]), "lastNodeId": inside["last_node_id"],
                "lastLinkId": len(links), "lastRerouteId": 0,
            },
            "inputNode": {"id": INPUT, "bounding": [left - 220, 60, 160, 20 * len(sockets) + 60]},
            "outputNode": {"id": OUTPUT, "bounding": [right + 60, 60, 160, 100]},
            **ends, "widgets": [], "nodes": inside["nodes"], "groups": inside["groups"],
            "links": links, "category": "Cycle Encoding", "description": self.description,
            "extra": {},
        }  # fmt: skip
        node = {
            "id": 1, "type": identity, "pos": [0, 0], "size": [340, 60 + 28 * len(sockets)],
            "flags": {}, "order": 0, "mode": 0, "title": self.graph.name, "inputs": sockets,
            "outputs": [
                {"name": one["name"], "type": one["type"], "links": None} for one in ends["outputs"]
            ],
            "properties": {
                "proxyWidgets": [["-1", name] for name in widgets],
                "cnr_id": "cycle-encoding", "ver": VERSION,
            },
            # the nodes in it have them; a front end of 2025 would give these to other widgets
            "widgets_values": [],
        }  # fmt: skip
        return {
            "revision": 0, "last_node_id": 1, "last_link_id": 0, "nodes": [node], "links": [],
            "version": 0.4, "definitions": {"subgraphs": [whole]},
            "extra": {
                "BlueprintDescription": self.description,
                "BlueprintSearchAliases": list(self.aliases),
            },
        }  # fmt: skip

    def _end(self, name: str, kind: str, links: list[int]) -> dict[str, Any]:
        return {"id": self._id(f"/{name}/{kind}"), "name": name, "type": kind, "linkIds": links}

    def _id(self, what: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"cycle-encoding/{self.graph.name}{what}"))


def expanded(file: dict[str, Any], **given: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what the editor sends for the one node, its outputs: name -> (key, index)).

    given: values of its widgets, and (key, index) of other nodes for its sockets."""
    (whole,), (outer,) = file["definitions"]["subgraphs"], file["nodes"]
    assert not outer["widgets_values"]  # those of the nodes in it hold
    values = given
    prompt = {
        str(node["id"]): {"class_type": node["type"], "inputs": workflow_files.widgets(node)}
        for node in whole["nodes"]
    }
    sockets = {node["id"]: [one["name"] for one in node["inputs"]] for node in whole["nodes"]}
    outputs = {}
    for link in whole["links"]:
        source, start, target = link["origin_id"], link["origin_slot"], link["target_id"]
        if target == OUTPUT:
            outputs[whole["outputs"][link["target_slot"]]["name"]] = (str(source), start)
            continue
        value: Any = (str(source), start)
        if source == INPUT:
            known = whole["inputs"][start]["name"]
            if known not in values:  # nothing is connected: the widget of the node, if there is one
                continue
            value = values[known]
        name = sockets[target][link["target_slot"]]
        prompt[str(target)]["inputs"][name] = list(value) if isinstance(value, tuple) else value
    return prompt, outputs


LINK = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")

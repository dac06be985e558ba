"""Nodes that several shipped workflows and blueprints have in the same order."""

from __future__ import annotations

from workflow_layout import Graph, Node, Output


def models(g: Graph) -> tuple[Node, Node]:
    return g.node("CycleLoadGenerator", name="portraits"), g.node(
        "CycleLoadEncoder", name="portraits"
    )


def refined_and_tuned(g: Graph, crops: Output, G: Node, E: Node) -> tuple[Node, Node]:
    refined = g.node(
        "CycleRefinePivot", images=crops, encoder=E.encoder, generator=G.generator, preview=True
    )
    tuned = g.node(
        "CyclePivotTune", images=crops, generator=G.generator, pivot=refined.pivot, preview=True
    )
    return refined, tuned


def inverted(g: Graph) -> tuple[Node, ...]:
    """(the photo, generator, encoder, aligned, refined, tuned)"""
    photo = g.node("CycleExample")
    G, E = models(g)
    aligned = g.node("CycleAlign", images=photo.images, generator=G.generator)
    return photo, G, E, aligned, *refined_and_tuned(g, aligned.crops, G, E)


def smiling(g: Graph, seed: int) -> tuple[Node, ...]:
    """(generator, the random person of a seed, the direction, the edit, the edited face)"""
    G = g.node("CycleLoadGenerator", name="portraits")
    person = g.node("CycleSampleCodes", generator=G.generator, seed=seed)
    direction = g.node("CycleLoadDirection", name="smile")
    edit = g.node("CycleLatentEdit", code=person.code, direction=direction.direction, strength=1.5)
    face = g.node("CycleGenerate", code=edit.code, generator=G.generator)
    return G, person, direction, edit, face


def pasted(g: Graph, photo: Output, aligned: Node, crops: Output, tuned: Node) -> Node:
    return g.node(
        "CyclePasteBack", images=photo, crops=crops, frames=aligned.frames,
        reference=tuned.reconstruction,
    )  # fmt: skip


# what the app view says below the name of a widget
ASKED = {
    "photo": "Yours; empty: the example",
    "file": "Yours; empty: the example",
    "name": "What changes",
    "strength": "3 is a lot, -3 the opposite",
    "no_face": "skip: the frame stays",
}


def asked(node: Node, widget: str) -> tuple[Node, str, dict[str, str]]:
    """An input of the app view."""
    return node, widget, {"description": ASKED[widget]}


def edited_by(direction: Node, edit: Node) -> list[tuple[Node, str, dict[str, str]]]:
    return [asked(direction, "name"), asked(edit, "strength")]

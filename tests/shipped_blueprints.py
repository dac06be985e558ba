"""The shipped blueprints, written by `make_workflows`."""

from __future__ import annotations

from blueprint_files import Blueprint
from workflow_layout import Graph, Node
from workflow_parts import models, pasted, refined_and_tuned


def edit_a_face() -> Blueprint:
    g = Graph("Edit a face in a photo")
    G, E = models(g)
    aligned = g.node("CycleAlign", generator=G.generator)
    refined, tuned = refined_and_tuned(g, aligned.crops, G, E)
    direction = g.node("CycleLoadDirection", name="smile")
    edit = g.node("CycleLatentEdit", code=refined.pivot, direction=direction.direction)
    face = g.node("CycleGenerate", code=edit.code, generator=tuned.tuned)
    back = g.node(
        "CyclePasteBack", crops=face.images, frames=aligned.frames, reference=tuned.reconstruction
    )
    g.lay([G, E, direction], [aligned], [refined, tuned], [edit, face, back])
    return Blueprint(
        g,
        "A face of the photo is found, inverted, edited along a direction and put back.",
        ("face edit", "smile", "age", "gan inversion"),
        {
            "images": [(aligned, "images"), (back, "images")],
            "face": [(aligned, "face")],
            "number": [(aligned, "number")],
            "direction": [(direction, "name")],
            "strength": [(edit, "strength")],
            "preset": [(refined, "preset"), (tuned, "preset")],
            "tune_steps": [(tuned, "steps")],
            "generator": [(G, "name")],
            "encoder": [(E, "name")],
            **where(aligned),
        },
        {"images": back.images, "face": face.images},
    )


def invert_a_face() -> Blueprint:
    g = Graph("Invert a face")
    G, E = models(g)
    aligned = g.node("CycleAlign", generator=G.generator)
    refined = g.node(
        "CycleRefinePivot", images=aligned.crops, encoder=E.encoder, generator=G.generator,
        preview=True,
    )  # fmt: skip
    g.lay([G, E], [aligned], [refined])
    return Blueprint(
        g,
        "A face of the photo is found, cut out and inverted: its pivot, and the picture of it.",
        ("gan inversion", "projector", "encode face"),
        {
            "images": [(aligned, "images")],
            "face": [(aligned, "face")],
            "number": [(aligned, "number")],
            "preset": [(refined, "preset")],
            "generator": [(G, "name")],
            "encoder": [(E, "name")],
            **where(aligned),
        },
        {
            "pivot": refined.pivot, "reconstruction": refined.reconstruction,
            "crops": aligned.crops, "frames": aligned.frames,
        },
    )  # fmt: skip


def tune_to_one_person() -> Blueprint:
    g = Graph("Tune to one person")
    G, E = models(g)
    aligned = g.node("CycleAlign", generator=G.generator)
    refined, tuned = refined_and_tuned(g, aligned.crops, G, E)
    g.lay([G, E], [aligned], [refined, tuned])
    return Blueprint(
        g,
        "One generator is tuned to the photos of one person, given as a batch.",
        ("pti", "pivotal tuning", "personalise"),
        {
            "images": [(aligned, "images")],
            "face": [(aligned, "face")],
            "number": [(aligned, "number")],
            "steps": [(tuned, "steps")],
            "preset": [(refined, "preset"), (tuned, "preset")],
            "generator": [(G, "name")],
            "encoder": [(E, "name")],
            **where(aligned),
        },
        {
            "tuned": tuned.tuned, "pivot": refined.pivot,
            "reconstruction": tuned.reconstruction, "frames": aligned.frames,
        },
    )  # fmt: skip


def edit_a_video() -> Blueprint:
    g = Graph("Edit a face in a video")
    parts = g.node("GetVideoComponents")
    G, E = models(g)
    aligned = g.node("CycleAlign", images=parts.images, generator=G.generator, smoothing=2.0)
    encoded = g.node("CycleEncode", images=aligned.crops, encoder=E.encoder, generator=G.generator)
    tuned = g.node(
        "CyclePivotTune", images=aligned.crops, generator=G.generator, pivot=encoded.code,
        steps="60", preview=True,
    )  # fmt: skip
    direction = g.node("CycleLoadDirection", name="glasses")
    edit = g.node("CycleLatentEdit", code=encoded.code, direction=direction.direction, strength=2.0)
    faces = g.node("CycleGenerate", code=edit.code, generator=tuned.tuned)
    back = pasted(g, parts.images, aligned, faces.images, tuned)
    whole = g.node("CreateVideo", images=back.images, fps=parts.fps, audio=parts.audio)
    g.lay([parts, G, E], [aligned, direction], [encoded, tuned], [edit, faces], [back, whole])
    return Blueprint(
        g,
        "The face of a video is edited in every frame by one tuned generator; its sound is kept.",
        ("video face edit", "face video"),
        {
            "video": [(parts, "video")],
            "direction": [(direction, "name")],
            "strength": [(edit, "strength")],
            "face": [(aligned, "face")],
            "number": [(aligned, "number")],
            "preset": [(tuned, "preset")],
            "steps": [(tuned, "steps")],
            "generator": [(G, "name")],
            "encoder": [(E, "name")],
            **where(aligned),
        },
        {"video": whole.VIDEO, "images": back.images},
    )


def where(aligned: Node) -> dict[str, list[tuple[Node, str]]]:
    """The widgets of Align Faces that say which face is meant, and what if there is none. None of
    its sockets: to one that is not connected a front end of 2025 gives some widget's value."""
    return {name: [(aligned, name)] for name in ("no_face", "points")}


BLUEPRINTS = (edit_a_face, invert_a_face, tune_to_one_person, edit_a_video)

"""The shipped workflow for videos, written by `make_workflows`."""

from __future__ import annotations

from workflow_layout import Graph, Group
from workflow_parts import asked, edited_by, models


def video() -> Graph:
    g = Graph("video")
    about = g.note(
        "## Edit a video\n\n"
        "An example clip gets glasses that stay in place. The face is followed through all frames, "
        "and the embedded generator is tuned for all, so that nothing flickers. Choose your own "
        "clip in *file*, whose pace and sound are kept, another direction, or skip in *no_face* "
        "where frames have no face.\n\n"
        "All frames are one batch in memory, so cut a long clip first. Fewer *steps* in *Pivot "
        "Tune* are faster, and keep less of the face.",
        300,
    )
    clip = g.node("CycleClip")
    G, E = models(g)
    aligned = g.node("CycleAlign", images=clip.images, generator=G.generator, smoothing=2.0)
    encoded = g.node("CycleEncode", images=aligned.crops, encoder=E.encoder, generator=G.generator)
    tuned = g.node(
        "CyclePivotTune", "Pivot Tune (one for all frames)", images=aligned.crops,
        generator=G.generator, pivot=encoded.code, steps="60", preview=True,
    )  # fmt: skip
    direction = g.node("CycleLoadDirection", name="glasses")
    edit = g.node("CycleLatentEdit", code=encoded.code, direction=direction.direction, strength=2.0)
    faces = g.node(
        "CycleGenerate", "Generate (the edited frames)", code=edit.code, generator=tuned.tuned
    )
    back = g.node(
        "CyclePasteBack", images=clip.images, crops=faces.images, frames=aligned.frames,
        reference=tuned.reconstruction, preview=True,
    )  # fmt: skip
    whole = g.node("CreateVideo", images=back.images, fps=clip.fps, audio=clip.audio)
    save = g.node("SaveVideo", body=(420, 540), video=whole.VIDEO, filename_prefix="cycle/video")
    found = g.node("PreviewImage", "What was found", (420, 330), images=aligned.found)
    g.lay(
        [about, Group("Photo", [[clip, aligned]])],
        [Group("Models", [[G, E]]), Group("Edit", [[direction, edit]])],
        [Group("Inversion", [[encoded, tuned]])],
        [Group("Result", [[faces, whole, back], [save, found]])],
    )
    g.app = [asked(clip, "file"), *edited_by(direction, edit), asked(aligned, "no_face")], [save]
    return g

"""The whole way for a video: the face is followed, one generator is tuned for all of it.

    find     the face in every frame; its landmarks are smoothed over time
    encode   the code of every crop, on disk; smoothed over time, so that edits do not tremble;
             or project, without an encoder
    tune     one generator, at the codes of a few frames spread over the video
    edit     frame after frame: edited, generated, pasted, written

Only one frame is in memory at a time; the landmarks of a frame take a kilobyte, its code lies in a
file. `invert_clip` does the first three steps, `edit_clip` the last, which can be repeated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..codes import Code
from ..directions.text import Edit, apply_edit
from ..errors import InputError, NoFaceError
from ..faces.choose import check_choice
from ..faces.detect import detect
from ..faces.frame import Face, align
from ..faces.paste import paste
from ..faces.points import manual
from ..faces.tracks import ONE_FACE, follow, smooth_over_time
from ..files.disk import write_atomically
from ..files.json import read_json
from ..files.shards import map_array
from ..images.clips import Clip, ClipWriter
from ..invert.encode import encode
from ..invert.generate import generate
from ..invert.project import project
from ..invert.settings import ProjectSettings
from ..invert.tune import Tuned, tune
from ..invert.tuned_files import load_tuned, save_tuned
from ..models.generator import Generator
from ..runtime.progress import StepCallback, Stopwatch
from .pipeline import Models, RunSettings
from .video_settings import ClipSettings

CropTarget = Face | str | None  # where the crop of a frame is; None leaves the frame as it is


@dataclass(frozen=True)
class ClipInversion:
    """A video whose face is found, encoded and tuned to.

    targets: the face in every frame. codes: float32 [T, num_ws, w_dim], mapped from its file; rows
    of frames without a face mean nothing. tuned: with the smoothed codes of the key frames."""

    clip: Clip
    targets: list[CropTarget]
    codes: np.ndarray
    tuned: Tuned
    smoothing: float
    report: dict[str, dict[str, Any]]

    def code(self, index: int) -> Code:
        """The smoothed code of a frame."""
        w = smoothed_code(self.codes, self.targets, index, self.smoothing)
        return self.tuned.pivot.with_w(w.to(self.tuned.pivot.w)[None])


def invert_clip(
    clip: Clip,
    models: Models,
    settings: RunSettings,
    how: ClipSettings,
    work: Path,
    progress: StepCallback,
) -> ClipInversion:
    """Find, encode and tune. work: a folder, in which codes.npy is written.

    Raises NoFaceError that names the frame (by settings.no_face), InputError for several faces."""
    if settings.face == "all":
        raise InputError(ONE_FACE)
    clock, G = Stopwatch(), models.generator
    targets = find_faces(clip, settings, how.smoothing, progress)
    there = [i for i, target in enumerate(targets) if target is not None]
    if not there:
        raise NoFaceError(f"{clip.path}: no frame shows the face: choose another.")
    report: dict[str, dict[str, Any]] = {
        "find": {"frames": len(targets), "with a face": len(there), "seconds": clock.lap()}
    }
    keys = {there[round(i)] for i in np.linspace(0, len(there) - 1, how.key_frames).tolist()}
    crops: list[Tensor] = []
    shape = (len(targets), G.num_ws, G.w_dim)
    codes = np.lib.format.open_memmap(work / "codes.npy", "w+", np.float32, shape)
    code_of, first = _coder(models, settings), None
    step = "project" if models.encoder is None else "encode"
    for i, (frame, target) in enumerate(zip(clip, targets, strict=False)):
        if target is not None:
            crop, _ = align(frame.image.to(G.device), target, G.resolution)
            code = code_of(crop)
            codes[i] = code.w[0].cpu().numpy()
            first = first or code
            if i in keys:
                crops.append(crop)
        progress(step, i + 1, len(targets))
    codes.flush()
    assert first is not None  # `there` is not empty
    report[step] = {"space": first.space, "stage": first.stage, "seconds": clock.lap()}
    rows = [smoothed_code(codes, targets, i, how.smoothing) for i in sorted(keys)]
    pivots = first.with_w(torch.stack(rows).to(first.w))
    tuned = tune(
        G, pivots, torch.cat(crops), settings.tune, seed=settings.seed,
        perceptual=models.losses.perceptual,
        callback=lambda step, total, _: progress("tune", step, total),
    )  # fmt: skip
    before, after = tuned.history[0], tuned.history[tuned.best]
    report["tune"] = {
        "key frames": sorted(keys),
        "steps": tuned.best,
        "lpips before": before["lpips"],
        "lpips": after["lpips"],
        "seconds": clock.lap(),
    }
    if tuned.note:
        report["tune"]["note"] = tuned.note
    return ClipInversion(clip, targets, codes, tuned, how.smoothing, report)


def _coder(models: Models, settings: RunSettings) -> Callable[[Tensor], Code]:
    """What makes the code of a crop. Without an encoder the first is projected, and each further
    one in a tenth of the steps from the code before it."""
    G, E = models.generator, models.encoder
    if E is not None:
        return lambda crop: encode(E, crop, settings.refine.space, G)
    whole = settings.project or ProjectSettings()
    further = replace(whole, steps=max(whole.steps // 10, 1), initial_noise_factor=0.0, starts=1)
    last: list[Code] = []

    def projected(crop: Tensor) -> Code:
        found = project(
            G, crop, further if last else whole, start=last[0] if last else None,
            seed=settings.seed,
            perceptual=models.losses.perceptual, identity=models.losses.identity,
        )  # fmt: skip
        last[:] = [found.code]
        return found.code

    return projected


def edit_clip(
    inversion: ClipInversion,
    edits: Sequence[tuple[Edit | None, Path]],
    models: Models,
    progress: StepCallback,
) -> float:
    """Write the video of every edit, None for the unedited reconstruction, with the sound of the
    clip; gives the seconds that a frame took. Frames without a face are written as they are."""
    clip, G = inversion.clip, inversion.tuned.generator
    clock = Stopwatch()
    with ExitStack() as stack:
        sound = clip.path if clip.sound else None
        writers = [stack.enter_context(ClipWriter(path, clip.rate, sound)) for _, path in edits]
        for i, frame in enumerate(clip):
            target = inversion.targets[i] if i < len(inversion.targets) else None
            shown = [frame.image] * len(edits)
            if target is not None:
                image = frame.image.to(G.device)
                _, place = align(image, target, G.resolution)
                code = inversion.code(i)
                plain = generate(G, code)
                for k, (edit, _) in enumerate(edits):
                    edited = plain
                    if edit is not None:
                        edited = generate(G, apply_edit(code, edit, models.generator))
                    reference = None if edit is None else plain
                    shown[k] = paste(image, edited, place, reference=reference)
            for writer, image in zip(writers, shown, strict=True):
                writer.write(image, frame.time)
            progress("edit", i + 1, len(inversion.targets))
    return round(clock.lap() / max(len(inversion.targets), 1), 4)


def find_faces(
    clip: Clip, settings: RunSettings, smoothing: float, progress: StepCallback
) -> list[CropTarget]:
    """The face that is meant in every frame, its landmarks smoothed over time."""
    check_choice(settings.face, *clip.size)
    found: list[list[Face]] = []
    for frame in clip:
        found.append(detect(frame.image, settings.detector))
        progress("find", len(found), max(len(found), clip.frames))
    try:
        targets = follow(found, settings.face, settings.no_face, max(smoothing, 1e-3), one=True)
    except NoFaceError as error:
        raise NoFaceError(
            f"{clip.path}: {error} To skip such frames leaves them as they are."
        ) from error
    return [one[0] if one else None for one in targets]


def smoothed_code(
    codes: np.ndarray, targets: Sequence[CropTarget], index: int, sigma: float
) -> Tensor:
    """The code of a frame, [num_ws, w_dim], smoothed with those around it that show the face
    without a break."""
    reach = math.ceil(3 * sigma)
    first = last = index
    while first > max(index - reach, 0) and targets[first - 1] is not None:
        first -= 1
    while last < min(index + reach, len(targets) - 1) and targets[last + 1] is not None:
        last += 1
    around = torch.from_numpy(np.array(codes[first : last + 1]))
    return smooth_over_time(around, sigma)[index - first] if sigma > 0 else around[index - first]


# ------------------------------------------------------------------ files
def write_clip(folder: Path, inversion: ClipInversion, original: Generator) -> None:
    """Write what `read_clip` reads, beside codes.npy, which is there."""
    save_tuned(inversion.tuned, folder / "tuned.safetensors", original=original)
    places = [x.points.tolist() if isinstance(x, Face) else x for x in inversion.targets]
    text = json.dumps({"smoothing": inversion.smoothing, "targets": places})
    write_atomically(folder / "targets.json", lambda part: part.write_text(text, "utf-8"))


_TARGETS = {"smoothing": float, "targets": [(None, str, [[float]])]}


def read_clip(folder: Path, clip: Clip, models: Models, report: dict[str, Any]) -> ClipInversion:
    """What `write_clip` wrote, for the same video and models.

    Raises InputError, MismatchError and CheckpointError where the files do not fit."""
    G = models.generator
    tuned = load_tuned(folder / "tuned.safetensors", G)
    try:
        stored = read_json(folder / "targets.json", _TARGETS)
        targets = [manual(x) if isinstance(x, list) else x for x in stored["targets"]]
        codes = map_array(folder / "codes.npy")
        if codes.shape != (len(targets), G.num_ws, G.w_dim) or codes.dtype != np.float32:
            raise ValueError("other codes")
        smoothing = float(stored["smoothing"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{folder} does not hold a whole inversion of {clip.path.name} ({error}): remove the "
            "folder, or choose another one."
        ) from error
    return ClipInversion(clip, targets, codes, tuned, smoothing, report["steps"])

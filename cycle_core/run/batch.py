"""Many pictures into one folder of results: what is finished is not done again.

A picture is finished where its folder holds the result of the same photo, models and settings; then
only edits that are new are made, from the files that are there. A picture that fails does not stop
the others: its error is in the last line and in the report.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .. import __version__
from ..directions.text import Edit, check_names
from ..errors import CycleError, InputError
from ..faces.frame import Face
from ..faces.points import of_picture
from ..files.disk import digest_of
from ..images.clips import is_clip, open_clip
from ..images.io import Photo, read_photo
from ..runtime import distributed
from ..runtime.progress import StepCallback
from .clips import ClipInversion, edit_clip, invert_clip, read_clip, write_clip
from .inputs import Inputs, summarise, text
from .picture_files import STEPS, read_inversion, write_edited, write_inversion, write_sheet
from .pipeline import InvertedPhoto, Models, RunSettings, edit_picture, find_targets, invert_picture
from .results import (
    OLDER,
    check_report,
    files_of,
    is_done,
    older_result,
    read_report,
    repair,
    whole_folder,
    write_report,
)
from .video_settings import ClipSettings

Say = Callable[[str], object]


@dataclass(frozen=True)
class Batch:
    """What all pictures of a run share."""

    models: Models
    settings: RunSettings
    edits: Sequence[Edit]
    out: Path
    say: Say
    progress: StepCallback
    clip: ClipSettings = field(default_factory=ClipSettings)
    points: Mapping[str, list[Face]] = field(default_factory=dict)  # by hand, by pictures' names
    sentence_of: Callable[[CycleError], str] = str  # how an error is reported


def run_batch(batch: Batch, inputs: Inputs) -> None:
    """Go the whole way for each picture and write out/report.json.

    The processes of torchrun divide the pictures among them; the first one writes the report.
    Raises what a single picture raises; of several, InputError at the end that names the failed."""
    check_report(batch.out)
    alone = distributed.world_size() == 1
    inputs = distributed.everywhere(inputs)[0]  # the folder may grow while they look
    pictures, left_out = inputs.pictures, dict(inputs.left_out)
    failed: dict[str, str] = {}
    due = 0.0
    for name in distributed.claim(list(pictures), "pictures"):
        try:
            if why := run_one(batch, name, pictures[name], pictures):
                left_out[name] = why
        except CycleError as error:
            failed[name] = text(batch.sentence_of(error))
            if alone and len(pictures) == 1:
                raise
            batch.say(f"{name}: {failed[name]}")
        if distributed.rank() == 0 and (began := time.monotonic()) >= due:
            write_report(batch.out, summary(batch, failed, left_out))
            due = began + 20 * (time.monotonic() - began)  # it reads those of all pictures
    if not alone:
        failed, left_out = (_gathered(part) for part in (failed, left_out))
        failed = {name: failed[name] for name in pictures if name in failed}
    if distributed.rank() == 0:
        write_report(batch.out, summary(batch, failed, left_out))
    if left_out and distributed.rank() == 0:
        batch.say(f"Left out: {summarise(left_out)}")
    if failed:
        raise InputError(
            f"{len(failed)} of {len(pictures)} pictures could not be done ({', '.join(failed)}): "
            f"the reasons are in {batch.out / 'report.json'}."
        )


def _gathered(reasons: dict[str, str]) -> dict[str, str]:
    """The reasons of all processes."""
    return {name: why for part in distributed.everywhere(reasons) for name, why in part.items()}


def run_one(batch: Batch, name: str, path: Path, pictures: Mapping[str, Path]) -> str | None:
    """One picture file: all its faces that are chosen, into out/NAME or out/NAME-0, NAME-1, ...

    Gives the reason where it was left out.
    pictures: all of the run by their names, of which none may be a face's."""
    if is_clip(path):
        run_clip(batch, name, path)
        return None
    photo = read_photo(path)
    key = input_key(path, batch)
    names = finished(batch.out, name, key)
    if names is not None:
        for done in names:
            _add_edits(batch, done, photo)
        return None
    targets = find_targets(photo, batch.settings, of_picture(batch.points, path))
    if not targets:
        return "no face was found"
    names = [name] if len(targets) == 1 else [f"{name}-{i}" for i in range(len(targets))]
    for taken in pictures.keys() & set(names) - {name}:
        raise InputError(
            f"{path} has {len(targets)} faces, and the results of one of them would have the name "
            f"{taken} of {pictures[taken]}: rename one file, or run them into two folders."
        )
    for target, folder in zip(targets, names, strict=True):
        older = older_result(batch.out / folder)
        with whole_folder(batch.out / folder, older=older) as part:
            inversion = invert_picture(photo, target, batch.models, batch.settings, batch.progress)
            write_inversion(part, inversion, batch.models.generator)
            report = _report(batch, folder, path, key, inversion.report)
            report |= {"faces": names, "networks": batch.models.judge.names(batch.models.losses)}
            _finish(batch, part, photo, inversion, batch.edits, report)
        _say_older(batch, older)
        batch.say(f"{batch.out / folder}: {_summary_line(report)}")
    return None


def run_clip(batch: Batch, name: str, path: Path) -> None:
    """One video, into out/NAME. Its inversion is kept before the first edit is made, and edits that
    are there are not made again."""
    clip, key = open_clip(path), input_key(path, batch)
    folder = batch.out / name
    report = read_report(folder) or {}
    if report.get("inputs") == key and "clip" in report and is_done(report):
        inversion = read_clip(folder, clip, batch.models, report)
    else:
        older = older_result(folder)
        with whole_folder(folder, older=older) as part:
            inversion = invert_clip(
                clip, batch.models, batch.settings, batch.clip, part, batch.progress
            )
            report = _report(batch, name, path, key, inversion.report)
            report["clip"] = {"size": clip.size, "rate": str(clip.rate), "sound": clip.sound}
            write_clip(part, inversion, batch.models.generator)
            report["files"] = files_of(part)
            write_report(part, report)
        _say_older(batch, older)
        inversion = read_clip(folder, clip, batch.models, report)
        count = inversion.report["find"]["frames"]
        if count < clip.frames:
            batch.say(f"{name}: the video ends after {count} of the {clip.frames} frames it claims")
    _edit_clip(batch, folder, inversion, report)


def _edit_clip(
    batch: Batch, folder: Path, inversion: ClipInversion, report: dict[str, Any]
) -> None:
    there = {entry["edit"] for entry in report["edits"]}
    new = [edit for edit in (None, *batch.edits) if str(edit or "") not in there]
    if not new:
        batch.say(f"{folder}: finished before")
        return
    files = {edit: "video.mp4" if edit is None else f"video_{edit.name}.mp4" for edit in new}
    entries = [(entry["edit"], entry.get("video", entry["edit"])) for entry in report["edits"]]
    check_names([*entries, *((str(edit or ""), file) for edit, file in files.items())])
    with whole_folder(folder, keep=report["files"]) as part:
        seconds = edit_clip(
            inversion, [(edit, part / file) for edit, file in files.items()], batch.models,
            batch.progress,
        )  # fmt: skip
        for edit, file in files.items():
            entry = {"edit": str(edit or ""), "video": file, "seconds a frame": seconds}
            report["edits"] = [*report["edits"], entry]
        report["files"] = files_of(part)
        write_report(part, report)
    batch.say(f"{folder}: {', '.join(files.values())}")


def finished(out: Path, name: str, key: str) -> list[str] | None:
    """The folders of a finished picture, None where it is not finished or was made otherwise."""
    for first in (name, f"{name}-0"):
        repair(out / first)
        names = (read_report(out / first) or {}).get("faces", [])
        reports = [read_report(out / folder) or {} for folder in names]
        if reports and all(r.get("inputs") == key and is_done(r) for r in reports):
            return names
    return None


def input_key(path: Path, batch: Batch) -> str:
    """Hexadecimal digits that stand for the photo, the models and the settings."""
    digest = digest_of(path)
    more: list[Any] = [asdict(batch.clip)] if is_clip(path) else []
    if faces := of_picture(batch.points, path):
        more.append([face.points.tolist() for face in faces])
    for part in (batch.models.fingerprint, batch.settings.to_json(), __version__, *more):
        digest.update(json.dumps(part, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def summary(batch: Batch, failed: dict[str, str], left_out: dict[str, str]) -> dict[str, Any]:
    """The report of the whole folder, gathered from the reports of its pictures."""
    folders = sorted(path for path in batch.out.iterdir() if path.is_dir() and path.name[0] != ".")
    folders = [path for path in folders if OLDER not in path.name]
    return {
        "cycle_core": __version__,
        "device": str(batch.models.generator.device),
        "settings": batch.settings.to_json(),
        "networks": batch.models.judge.names(batch.models.losses),
        "pictures": [r for r in map(read_report, folders) if r is not None and "steps" in r],
        "failed": [{"name": name, "error": error} for name, error in failed.items()],
        "left_out": [{"name": name, "reason": why} for name, why in left_out.items()],
    }


def _add_edits(batch: Batch, name: str, photo: Photo) -> None:
    """Make the edits that a finished picture does not have yet."""
    folder = batch.out / name
    report = read_report(folder)
    assert report is not None  # `finished` read it
    there = {entry["edit"] for entry in report["edits"]}
    new = [edit for edit in batch.edits if str(edit) not in there]
    if not new:
        batch.say(f"{folder}: finished before")
        return
    entries = [(entry["edit"], entry["name"]) for entry in report["edits"]]
    check_names([*entries, *((str(edit), edit.name) for edit in new)])
    inversion = read_inversion(folder, photo, batch.models, report["steps"])
    with whole_folder(folder, keep=report["files"]) as part:
        _finish(batch, part, photo, inversion, new, report)
    batch.say(f"{folder}: {_summary_line(report)}")


def _finish(
    batch: Batch,
    folder: Path,
    photo: Photo,
    inversion: InvertedPhoto,
    edits: Sequence[Edit],
    report: dict[str, Any],
) -> None:
    """Add the edits, the sheet and the report: then the folder is whole."""
    for edited in edit_picture(inversion, edits, batch.models, batch.progress):
        report["edits"] = [*report["edits"], write_edited(folder, edited)]
    write_sheet(folder, photo, report)
    report["files"] = files_of(folder)
    write_report(folder, report)


def _say_older(batch: Batch, older: Path | None) -> None:
    if older is not None:
        batch.say(
            f"{older}: what was there before, of other settings, models or pictures; remove it if "
            "you do not need it"
        )


def _report(
    batch: Batch, name: str, path: Path, key: str, steps: Mapping[str, Any]
) -> dict[str, Any]:
    """What the report of every result has: of what it was made, and what each step gave."""
    return {
        "cycle_core": __version__,
        "name": name,
        "source": text(path.name),
        "inputs": key,
        "seed": batch.settings.seed,
        "steps": steps,
        "edits": [],
    }


def _summary_line(report: dict[str, Any]) -> str:
    steps = ", ".join(
        f"{n} {report['steps'][n]['lpips']:.3f}" for n in STEPS if n in report["steps"]
    )
    return f"LPIPS {steps}; {len(report['edits'])} edits"

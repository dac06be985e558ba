"""The whole way for one picture, as functions; `cycle-core run` and the demo are made of them.

photo -> detect, align -> crop -> encode -> refine -> pivot -> tune -> generator'
pivot -> edit -> code' -> generator' -> edited crop -> paste -> photo'

`invert_picture` and `edit_picture` are its two halves: the first takes seconds to minutes, the
second can be repeated for any number of edits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoints.registry import load_encoder, load_generator
from ..codes import Code
from ..directions.text import Edit, apply_edit
from ..errors import InputError
from ..faces.choose import check_choice, check_points, choose
from ..faces.detect import detect
from ..faces.frame import Face, Frame, align
from ..faces.paste import paste
from ..images.io import Photo
from ..invert.checks import check_pair, check_photos
from ..invert.encode import encode
from ..invert.generate import generate
from ..invert.project import project
from ..invert.refine import refine
from ..invert.settings import (
    PROJECT_PRESETS,
    REFINE_PRESETS,
    TUNE_PRESETS,
    ProjectSettings,
    RefineSettings,
    TuneSettings,
)
from ..invert.tune import Tuned, tune
from ..measure.comparison import Judge
from ..measure.selection import Networks, in_embedded_domain
from ..models.encoder import Encoder
from ..models.fingerprints import short
from ..models.generator import Generator
from ..runtime.progress import Callback, StepCallback, Stopwatch


@dataclass(frozen=True)
class RunSettings:
    """What decides the result, besides the photo and the models."""

    detector: str = "auto"
    face: str | int = "largest"
    no_face: str = "error"
    refine: RefineSettings = field(default_factory=RefineSettings)
    tune: TuneSettings = field(default_factory=TuneSettings)
    seed: int = 0
    project: ProjectSettings | None = None  # without an encoder; the published ones if None

    def to_json(self) -> dict[str, Any]:
        settings = asdict(self)
        if self.project is None:
            del settings["project"]
        if self.tune.dtype is not None:
            settings["tune"]["dtype"] = str(self.tune.dtype)
        return settings


@dataclass(frozen=True)
class Models:
    """The networks of a run, all on one device: a generator with its encoder, or None to project,
    the networks of the losses, and the judge."""

    generator: Generator
    encoder: Encoder | None
    losses: Networks
    judge: Judge

    @cached_property
    def fingerprint(self) -> str:
        """Hexadecimal digits of all weights that decide the result."""
        digest = hashlib.sha256(short(self.generator.fingerprint).encode())
        for network in filter(None, (self.encoder, *self.losses)):
            for name, tensor in network.state_dict().items():
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().contiguous().numpy())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class InvertedPhoto:
    """One face of one photo, inverted.

    crop: float32 [1,3,R,R] in [-1,1], the aligned face at the generator's resolution; frame: its
    place in the photo. code: the encoder's; pivot: the refined one; without an encoder both are the
    projected one. tuned: the generator that gives the crop at the pivot. images: float32 [1,3,R,R]
    of the steps "encode", "refine" and "tune", or "project" and "tune".
    report: for each of them the measures, the seconds and what is worth knowing.
    """

    photo: Photo
    crop: Tensor
    frame: Frame
    code: Code
    pivot: Code
    tuned: Tuned
    images: dict[str, Tensor]
    report: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Edited:
    """One edit: its code, the edited crop float32 [1,3,R,R] in [-1,1], and the photo with it."""

    edit: Edit
    code: Code
    image: Tensor
    photo: Photo
    report: dict[str, Any]


def load_models(
    generator: str | Path,
    encoder: str | Path | None,
    device: torch.device | str,
    architecture: str | None = None,
    same_space: bool = False,
) -> Models:
    """Open the networks of a run; without an encoder pictures are projected. Raises
    MissingFileError, CheckpointError, MismatchError.

    architecture, same_space: as `load_encoder`.

    Embedded models are tuned and measured by the embedded networks; for others the published
    ones are taken where their files are found."""
    G = load_generator(generator, device)
    check_photos(G)
    E = None
    if encoder is not None:
        E = load_encoder(encoder, device, G, architecture, same_space)
        check_pair(E, G)
    embedded = in_embedded_domain(G)
    return Models(G, E, Networks.for_loss(embedded).to(device), Judge(device, embedded))


def is_name(model: str | Path) -> bool:
    """Whether an embedded model is named, and no file given by its path."""
    return not Path(model).suffix and Path(model).name == str(model) and not Path(model).exists()


def preset(name: str, G: Generator) -> tuple[RefineSettings, TuneSettings]:
    """The settings of a preset for a generator: "paper", "fast", "instant", "embedded", or "auto":
    "embedded" for an embedded one and what was tuned from it, "paper" for any other. Raises
    InputError for another name."""
    name = _preset_name(name, G, TUNE_PRESETS)
    return REFINE_PRESETS[name], TUNE_PRESETS[name]


def project_preset(name: str, G: Generator) -> ProjectSettings:
    """The same of projection, which takes its steps: it has no "instant"."""
    return PROJECT_PRESETS[_preset_name(name, G, PROJECT_PRESETS)]


def _preset_name(name: str, G: Generator, presets: Mapping[str, Any]) -> str:
    if name == "auto":
        name = "embedded" if in_embedded_domain(G) else "paper"
    if name not in presets:
        raise InputError(f"The presets here are auto, {', '.join(presets)}, not {name!r}.")
    return name


def find_targets(
    photo: Photo, settings: RunSettings, faces: Sequence[Face] | None = None
) -> list[Face | str]:
    """The faces to work on, of those that are found or given by hand; see `choose` for what happens
    without one. Raises PlaceError for points or a choice of a place that the photo has not."""
    check_choice(settings.face, *photo.size)
    check_points(faces or (), *photo.size)
    found = detect(photo, settings.detector) if faces is None else faces
    return choose(found, settings.face, settings.no_face)


def invert_picture(
    photo: Photo,
    target: Face | Frame | str,
    models: Models,
    settings: RunSettings,
    progress: StepCallback | None = None,
) -> InvertedPhoto:
    """Align, encode, refine and tune one face; without an encoder the code is projected and is the
    pivot. target: a Face, a Frame or "centre"."""
    G, E, losses = models.generator, models.encoder, models.losses
    advanced = progress or (lambda name, done, total: None)
    report: dict[str, dict[str, Any]] = {}
    images: dict[str, Tensor] = {}

    def on_step(name: str) -> Callback:
        return lambda step, total, _: advanced(name, step, total)

    clock = Stopwatch()
    crop, frame = align(photo.image.to(G.device), target, G.resolution)
    report["align"] = {"size": frame.size, "found_by": frame.source, "seconds": clock.lap()}

    if E is None:  # nothing is refined
        how = settings.project or ProjectSettings()
        found = project(
            G, crop, how, seed=settings.seed, callback=on_step("project"),
            perceptual=losses.perceptual, identity=losses.identity,
        )  # fmt: skip
        code, images["project"] = found.code, found.image
        report["project"] = {"space": code.space, "steps": how.steps, "seconds": clock.lap()}
    else:
        code = encode(E, crop, settings.refine.space, G)
        images["encode"] = generate(G, code)
        report["encode"] = {"space": code.space, "stage": code.stage, "seconds": clock.lap()}
        found = refine(
            E, G, crop, settings.refine, seed=settings.seed, callback=on_step("refine"),
            perceptual=losses.perceptual, identity=losses.identity,
        )  # fmt: skip
        report["refine"] = {
            "space": found.code.space,
            "steps": settings.refine.steps,
            "seconds": clock.lap(),
        }
        images["refine"] = found.image
    pivot = found.code

    tuned = tune(G, pivot, crop, settings.tune, on_step("tune"), settings.seed, losses.perceptual)
    images["tune"] = tuned.image
    report["tune"] = {"steps": tuned.best, "seconds": clock.lap()}
    if tuned.note:
        report["tune"]["note"] = tuned.note

    for step, image in images.items():
        report[step] |= models.judge.compare(crop, image)
    return InvertedPhoto(photo, crop, frame, code, pivot, tuned, images, report)


def edit_picture(
    inversion: InvertedPhoto,
    edits: Sequence[Edit],
    models: Models,
    progress: StepCallback | None = None,
) -> list[Edited]:
    """Edit the pivot, render it by the tuned generator, paste it back: one result for each edit.

    The report of an edit says, against the picture of the unedited pivot: how much of the identity
    is kept (`identity`), how far the picture moved (`change`, LPIPS), and which attributes of the
    embedded domain changed, by how many standard deviations (`attributes`)."""
    advanced = progress or (lambda name, done, total: None)
    results = []
    for number, edit in enumerate(edits, start=1):
        clock = Stopwatch()
        code = apply_edit(inversion.pivot, edit, models.generator)
        image = generate(inversion.tuned.generator, code)
        photo = paste(inversion.photo, image, inversion.frame, reference=inversion.tuned.image)
        seconds = clock.lap()
        measured = models.judge.compare(inversion.tuned.image, image)
        report = {
            "edit": str(edit),
            "name": edit.name,
            "identity": measured["identity"],
            "change": measured["lpips"],
            "attributes": models.judge.changes(inversion.tuned.image, image),
            "seconds": seconds,
        }
        results.append(Edited(edit, code, image, photo, report))
        advanced("edit", number, len(edits))
    return results

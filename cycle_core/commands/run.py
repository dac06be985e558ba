"""`run` and `demo`: the whole way, for pictures, folders of pictures, and two of our own."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..invert.settings import (
    PROJECT_PRESETS,
    REFINE_PRESETS,
    TUNE_STEPS,
    ProjectSettings,
    RefineSettings,
    TuneSteps,
)
from ..run.video_settings import ClipSettings
from .console import Console, sentence_of
from .options import (
    FACE,
    add_command,
    add_edit,
    add_encoder,
    add_options,
    add_out,
    add_settings,
    device_of,
    given,
)

if TYPE_CHECKING:
    from ..run.batch import Batch
    from ..run.inputs import Inputs


def add_commands(commands: Any) -> None:
    command = add_command(
        commands,
        "run",
        run,
        "the whole way for pictures or folders of them: align, encode, refine, tune, edit, paste",
        "run photo.jpg --edit smile=2 --edit age=+1,keep=glasses --out results",
    )
    command.add_argument(
        "pictures", type=Path, nargs="+", help="picture files, folders of them, or videos"
    )
    command.add_argument(
        "--recursive", "-r", action="store_true", help="also the pictures of folders below"
    )
    add_edit(command, repeated=True)
    add_out(command, "the folder of the results: one folder a picture, and report.json")
    add_options(command, "preset", *FACE, "generator")
    add_encoder(command, needed=False)
    add_options(command, "same-space", "seed", "device")
    of_preset = command.add_argument_group("in place of the preset's")
    add_settings(of_preset, RefineSettings, ("steps",), REFINE_PRESETS, step="refine_")
    add_settings(of_preset, TuneSteps, ("steps",), TUNE_STEPS, step="tune_")
    projection = command.add_argument_group("the same without an encoder")
    add_settings(projection, ProjectSettings, ("steps",), PROJECT_PRESETS, step="project_")
    add_settings(command.add_argument_group("videos"), ClipSettings, ("smoothing", "key_frames"))

    demo = add_command(
        commands,
        "demo",
        run_demo,
        "the whole way for a rendered scene and a real photograph",
        "demo --out demo-output",
    )
    add_out(demo, "the folder of the results", default="demo-output")
    add_options(demo, "seed", "device")


def run(arguments: argparse.Namespace) -> None:
    from ..run.batch import run_batch
    from ..runtime import distributed

    with distributed.processes(arguments.device):
        console = Console(arguments.quiet)
        with distributed.raise_everywhere():
            batch, inputs = _prepare(arguments, console)
        try:
            run_batch(batch, inputs)
        finally:
            console.close()


def _prepare(arguments: argparse.Namespace, console: Console) -> tuple[Batch, Inputs]:
    """Everything that can be wrong before the work begins is found here."""
    from ..directions.text import check_edit, check_names, needs_generator, parse_edit, steps_of
    from ..faces.points import EVERY, load_points
    from ..run.batch import Batch
    from ..run.inputs import find_pictures
    from ..run.pipeline import RunSettings, is_name, load_models, preset, project_preset
    from ..run.results import make_folder
    from ..runtime import distributed

    edits = list(dict.fromkeys(map(parse_edit, arguments.edit)))
    check_names((str(edit), edit.name) for edit in edits)
    for edit in edits:
        if not needs_generator(edit):
            steps_of(edit)  # an unknown direction is reported before the work, not after it
    inputs = find_pictures(arguments.pictures, arguments.recursive)
    points = {} if arguments.points is None else load_points(arguments.points)
    if EVERY in points and len(inputs.pictures) > 1:
        raise InputError(
            f"--points are of one picture, and {len(inputs.pictures)} are given: name a file that "
            "has the points of each after its name."
        )
    encoder = arguments.encoder
    if encoder is None and is_name(arguments.generator):
        encoder = arguments.generator
    make_folder(arguments.out)
    models = load_models(
        arguments.generator,
        encoder,
        device_of(arguments),
        arguments.architecture,
        arguments.same_space,
    )
    for edit in edits:
        check_edit(edit, models.generator)
    refining, tuning = preset(arguments.preset, models.generator)
    refining = replace(refining, **given(arguments, RefineSettings, "refine_"))
    if most := given(arguments, TuneSteps, "tune_"):
        tuning = tuning.in_steps(**most)
    projecting = None
    if encoder is None:
        projecting = project_preset(arguments.preset, models.generator)
        projecting = replace(projecting, **given(arguments, ProjectSettings, "project_"))
    settings = RunSettings(
        arguments.detector, arguments.face, arguments.no_face, refining, tuning, arguments.seed,
        projecting,
    )  # fmt: skip
    first = distributed.rank() == 0
    progress = console.progress if first else lambda name, step, total: None
    clip = ClipSettings(**given(arguments, ClipSettings))
    batch = Batch(
        models, settings, edits, arguments.out, console.say, progress, clip, points, sentence_of
    )
    return batch, inputs


def run_demo(arguments: argparse.Namespace) -> None:
    from ..run.demo import demo

    demo(arguments.out, device_of(arguments), arguments.seed, Console(arguments.quiet))

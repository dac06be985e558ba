"""From a crop to its code, each step alone: `encode`, `refine`, `tune`, and `project` for a
generator without an encoder."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..invert.settings import (
    REFINE_PRESETS,
    TUNE_PRESETS,
    TUNE_STEPS,
    ProjectSettings,
    RefineSettings,
    TuneSettings,
    TuneSteps,
)
from .console import Console
from .options import (
    add_command,
    add_encoder,
    add_options,
    add_out,
    add_settings,
    device_of,
    given,
    names_of,
    output_file,
)

DEFAULT = "portraits"  # of --generator

if TYPE_CHECKING:
    import torch

    from ..codes import Code


def add_commands(commands: Any) -> None:
    encode = add_command(
        commands,
        "encode",
        run_encode,
        "give the code that the encoder sees in a crop",
        "encode crop.png --out code.safetensors",
    )
    encode.add_argument("crop", type=Path, help="an aligned crop, as `align` makes it")
    add_out(encode, "the code")
    add_encoder(encode)
    add_options(encode, "generator", "same-space", "space", "device")

    refine = add_command(
        commands,
        "refine",
        run_refine,
        "give a better code: refine a copy of the encoder for this crop",
        "refine crop.png --out pivot.safetensors",
    )
    refine.add_argument("crop", type=Path, help="an aligned crop, as `align` makes it")
    add_out(refine, "the pivot, a code")
    refine.add_argument(
        "--domain",
        "--images",  # its name before
        type=Path,
        metavar="FOLDER",
        help="aligned crops that hold the encoder in place (default: samples of the generator)",
    )
    add_encoder(refine)
    add_options(refine, "generator", "same-space", "space", "preset")
    add_settings(
        refine.add_argument_group("in place of the preset's"),
        RefineSettings,
        names_of(RefineSettings, without=("space",)),
        presets=REFINE_PRESETS,
        spelling={"images": "--m"},
    )
    add_options(refine, "seed", "device")

    tune = add_command(
        commands,
        "tune",
        run_tune,
        "tune a copy of the generator until it generates the crops at their pivots",
        "tune a.png b.png a.safetensors b.safetensors --out tuned.safetensors",
    )
    tune.add_argument(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="the aligned crop and its pivot, from `refine` or `encode`; or several crops of one "
        "person, then as many pivots (or one file with all of them), for one tuned generator",
    )
    add_out(tune, "what tuning changed; `generate --tuned` takes it")
    add_settings(tune, TuneSteps, ("steps",), TUNE_STEPS)
    add_options(tune, "generator", "same-space", "preset")
    add_settings(
        tune.add_argument_group("in place of the preset's"),
        TuneSettings,
        names_of(TuneSettings, without=("steps", "betas", "dtype")),
        presets=TUNE_PRESETS,
    )
    add_options(tune, "seed", "device")

    project = add_command(
        commands,
        "project",
        run_project,
        "find the code of a crop by optimisation: for a generator without an encoder",
        "project crop.png --generator own.pkl --space W+ --out pivot.safetensors",
    )
    project.add_argument(
        "crops", type=Path, nargs="+", metavar="crop", help="square pictures, aligned if faces"
    )
    add_out(project, "the codes, one row for each crop")
    names = ("space", "steps", "samples", "starts", "learning_rate", "l2", "lpips", "identity")
    names += ("noise_maps",)
    add_settings(project, ProjectSettings, names)
    project.add_argument(
        "--start", type=Path, help="codes to start at, such as an encoder's (default: the mean)"
    )
    add_options(project, "class", "preset", "generator", "seed", "device")


def run_encode(arguments: argparse.Namespace) -> None:
    from ..checkpoints.latents import save_code
    from ..checkpoints.registry import load_encoder, load_generator
    from ..images.io import read_crop
    from ..invert.encode import encode

    out = output_file(arguments.out, [arguments.crop])
    crop = read_crop(arguments.crop)
    device = device_of(arguments)
    generator = None
    if arguments.generator != DEFAULT or arguments.same_space:
        generator = load_generator(arguments.generator, device)
    encoder = load_encoder(
        arguments.encoder, device, generator, arguments.architecture, arguments.same_space
    )
    if encoder.config.iterations and generator is None:  # ReStyle looks at its pictures
        generator = load_generator(arguments.generator, device)
    code = encode(encoder, crop.to(device), arguments.space, generator)
    save_code(code, out)
    Console(arguments.quiet).say(f"{out}: a code of {code.w.shape[1]} styles in {code.space}")


def run_refine(arguments: argparse.Namespace) -> None:
    from ..checkpoints.latents import save_code
    from ..checkpoints.registry import load_encoder, load_generator
    from ..images.io import list_images, read_crop
    from ..invert.refine import refine
    from ..run.pipeline import preset

    console = Console(arguments.quiet)
    out = output_file(arguments.out, [arguments.crop])
    if arguments.domain is not None:
        list_images(arguments.domain)  # fails before the work begins
    crop = read_crop(arguments.crop)
    device = device_of(arguments)
    generator = load_generator(arguments.generator, device)
    settings, _ = preset(arguments.preset, generator)
    settings = replace(settings, **given(arguments, RefineSettings))
    refined = refine(
        load_encoder(
            arguments.encoder, device, generator, arguments.architecture, arguments.same_space
        ),
        generator,
        crop.to(device),
        settings,
        domain=arguments.domain or "generator",
        callback=console.callback("refine"),
        seed=arguments.seed,
    )
    save_code(refined.code, out)
    history = refined.history[0]
    best = min(entry["total"] for entry in history)
    console.say(
        f"{out}: the pivot in {refined.code.space}, loss {history[0]['total']:.4f} -> {best:.4f}"
    )


def run_tune(arguments: argparse.Namespace) -> None:
    from ..checkpoints.registry import load_generator
    from ..invert.tune import tune
    from ..invert.tuned_files import save_tuned
    from ..models.same_space import adopt
    from ..run.pipeline import preset

    console = Console(arguments.quiet)
    out = output_file(arguments.out, arguments.files)
    crops, pivots = _crops_and_pivots(arguments.files)
    device = device_of(arguments)
    generator = load_generator(arguments.generator, device)
    _, settings = preset(arguments.preset, generator)
    own = given(arguments, TuneSettings)
    if "steps" in own:
        settings = settings.in_steps(own.pop("steps"))
    settings = replace(settings, **own)
    pivots = adopt(pivots, generator) if arguments.same_space else pivots
    tuned = tune(
        generator,
        pivots.to(device),
        crops.to(device),
        settings,
        callback=console.callback("tune"),
        seed=arguments.seed,
    )
    save_tuned(tuned, out, original=generator)
    console.say(f"{out}: {tuned.summary()}")


def _crops_and_pivots(files: list[Path]) -> tuple[torch.Tensor, Code]:
    """The pictures among the files, of one size, and the codes among them, as one batch."""
    import torch

    from ..checkpoints.latents import load_code
    from ..directions.editing import join
    from ..images.decode import READABLE
    from ..images.io import read_crop
    from ..images.resize import resize

    pictures = [path for path in files if path.suffix.lower() in READABLE]
    codes = [path for path in files if path not in pictures]
    if not pictures or not codes:
        raise InputError(
            f"{len(pictures)} pictures and {len(codes)} files of codes were given: give crops, "
            "then the pivots of each, such as `tune a.png b.png a.safetensors b.safetensors`."
        )
    crops = [read_crop(path) for path in pictures]
    side = max(crop.shape[-1] for crop in crops)
    resized = [crop if crop.shape[-1] == side else resize(crop, side) for crop in crops]
    return torch.cat(resized), join([load_code(path) for path in codes])


def run_project(arguments: argparse.Namespace) -> None:
    import torch

    from ..checkpoints.latents import load_code, save_code
    from ..checkpoints.registry import load_generator
    from ..images.io import read_crop
    from ..images.resize import resize
    from ..invert.project import project
    from ..run.pipeline import project_preset

    console = Console(arguments.quiet)
    read = [*arguments.crops, *([arguments.start] if arguments.start else [])]
    out = output_file(arguments.out, read)
    crops = [read_crop(path) for path in arguments.crops]
    device = device_of(arguments)
    start = None if arguments.start is None else load_code(arguments.start, device)
    G = load_generator(arguments.generator, device)
    settings = project_preset(arguments.preset, G)
    settings = replace(settings, **given(arguments, ProjectSettings))
    found = project(
        G,
        torch.cat([resize(crop, G.resolution) for crop in crops]).to(device),
        settings,
        start,
        console.callback("project"),
        arguments.seed,
        label=arguments.label,
    )
    save_code(found.code, out)
    for path, log in zip(arguments.crops, found.history, strict=True):
        best = min(log, key=lambda entry: entry["total"])
        first = log[0]
        console.say(
            f"{path}: loss {first['total']:.4f} -> {best['total']:.4f}, LPIPS {best['lpips']:.4f}"
        )
    console.say(f"{out}: {len(crops)} codes in {found.code.space}")

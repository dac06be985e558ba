"""The steps between crop and crop, each alone: `encode, refine, tune, edit, generate, sample`."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..invert.settings import (
    REFINE_PRESETS,
    TUNE_PRESETS,
    TUNE_STEPS,
    RefineSettings,
    TuneSettings,
    TuneSteps,
)
from ..models.settings import SampleSettings
from .console import Console
from .options import (
    add_command,
    add_edit,
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
SHEET = 64  # pictures on the sheet of samples, at most

if TYPE_CHECKING:
    import torch

    from ..codes import Code
    from ..models.generator import Generator


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

    edit = add_command(
        commands,
        "edit",
        run_edit,
        "move a code along directions",
        "edit pivot.safetensors --edit smile=2,age=+1,keep=glasses --out edited.safetensors",
    )
    edit.add_argument("code", type=Path, help="a code")
    add_edit(edit, repeated=False)
    add_out(edit, "the edited code")
    add_options(edit, "generator", "same-space")

    generate = add_command(
        commands,
        "generate",
        run_generate,
        "generate the picture of a code",
        "generate edited.safetensors --tuned tuned.safetensors --out edited.png",
    )
    generate.add_argument("code", type=Path, help="a code")
    add_out(generate, "the picture; several are numbered")
    add_options(generate, "tuned", "generator", "same-space", "device")

    sample = add_command(
        commands,
        "sample",
        run_sample,
        "generate new pictures",
        "sample --count 16 --seed 1 --out samples",
    )
    add_out(sample, "the folder: pictures, a sheet of them and their codes")
    add_settings(sample, SampleSettings, ("count",))
    add_options(sample, "class")
    add_settings(sample, SampleSettings, ("truncation",))
    add_options(sample, "generator", "seed", "device")


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


def run_edit(arguments: argparse.Namespace) -> None:
    from ..checkpoints.latents import load_code, save_code
    from ..checkpoints.registry import load_generator
    from ..directions.text import apply_edit, needs_generator, parse_edit
    from ..models.same_space import adopt

    if len(arguments.edit) > 1:
        raise InputError(
            f"{len(arguments.edit)} edits were given for one code: join changes that act together "
            "by commas (smile=2,age=1), or call this once for each."
        )
    out = output_file(arguments.out, [arguments.code])
    edit = parse_edit(arguments.edit[0])
    code, generator = load_code(arguments.code), None
    if needs_generator(edit) or arguments.same_space:
        generator = load_generator(arguments.generator)
    if arguments.same_space and generator is not None:
        code = adopt(code, generator)
    save_code(apply_edit(code, edit, generator), out)
    Console(arguments.quiet).say(f"{out}: {edit}")


def run_generate(arguments: argparse.Namespace) -> None:
    from ..checkpoints.latents import load_code
    from ..images.io import save_image
    from ..invert.generate import generate
    from ..models.same_space import adopt

    console = Console(arguments.quiet)
    inputs = [arguments.code] + ([arguments.tuned] if arguments.tuned else [])
    out = output_file(arguments.out, inputs)
    device = device_of(arguments)
    code = load_code(arguments.code, device)
    generator = load_given_generator(arguments, device)
    images = generate(generator, adopt(code, generator) if arguments.same_space else code)
    for index, image in enumerate(images):
        path = out if len(images) == 1 else out.with_name(f"{out.stem}-{index}{out.suffix}")
        save_image(image, path)
        console.say(str(path))


def run_sample(arguments: argparse.Namespace) -> None:
    from ..checkpoints.latents import save_code
    from ..checkpoints.registry import load_generator
    from ..images.io import save_image
    from ..images.sheet import save_sheet
    from ..invert.generate import generate
    from ..invert.sampling import sample
    from ..run.results import make_folder

    console = Console(arguments.quiet)
    make_folder(arguments.out)
    device = device_of(arguments)
    generator = load_generator(arguments.generator, device)
    how = SampleSettings(**given(arguments, SampleSettings))
    code = sample(generator, how.count, arguments.seed, how.truncation, how.label)
    shown = []  # on the sheet
    for index in range(how.count):
        image = generate(generator, code.with_w(code.w[index : index + 1]))
        save_image(image, arguments.out / f"sample-{index:04d}.png")
        shown += [image] if len(shown) < SHEET else []
        console.progress("sample", index + 1, how.count)
    save_code(code, arguments.out / "codes.safetensors")
    save_sheet(sheet_of(shown), arguments.out)
    console.say(f"{arguments.out}: {how.count} pictures, sheet.png, codes.safetensors")


def load_given_generator(arguments: argparse.Namespace, device: torch.device) -> Generator:
    """The generator of --generator, with what --tuned changed where that is given."""
    from ..checkpoints.registry import load_generator
    from ..invert.tuned_files import load_tuned

    generator = load_generator(arguments.generator, device)
    if arguments.tuned is None:
        return generator
    return load_tuned(arguments.tuned, generator, arguments.same_space).generator


def sheet_of(images: list[torch.Tensor]) -> torch.Tensor:
    """Pictures as a square table."""
    from ..images.io import as_rgb
    from ..images.sheet import contact_sheet

    shown = [as_rgb(image) for image in images]
    width = math.isqrt(len(shown) - 1) + 1
    return contact_sheet([shown[i : i + width] for i in range(0, len(shown), width)], cell=160)

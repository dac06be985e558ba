"""Make every embedded model again, from seeds, by one command.

    python -m cycle_core.training.embedded FOLDER --preset cpu

Renders the portraits, then trains, in the order in which they need each other, the networks that
read portraits, the generator, the encoder, the directions and the landmark network. Each step is
one of the project's own commands and is printed before it runs; data and runs go to FOLDER, each
finished model into the package. The same command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..checkpoints.native import read_model, save_model
from ..errors import CycleError, InputError
from ..files.assets import ASSETS


@dataclass(frozen=True)
class Preset:
    """How large and how long. "cpu" made what is embedded, apart from what the model card says."""

    resolution: int
    portraits: int
    wide: int  # portraits with heads turned further, for the landmark network
    perceptual: int  # steps
    identity: int  # steps
    generator: tuple[str, ...]
    encoder: tuple[str, ...]
    landmarks: int  # minutes
    device: tuple[str, ...]


PRESETS = {
    "cpu": Preset(
        resolution=64,
        portraits=40_000,
        wide=7_000,
        perceptual=1_500,
        identity=700,
        generator=("--compile", "--device", "cpu"),
        encoder=("--warmup-steps", "2000", "--steps", "3000", "--lr", "3e-4",
                 "--lr-decay", "0.4"),
        landmarks=45,
        device=("--bf16",),
    ),
    "gpu": Preset(
        resolution=128,
        portraits=150_000,
        wide=12_000,
        perceptual=4_000,
        identity=4_000,
        generator=("--channels", "256-256-256-256-128-64", "--w-dim", "256", "--batch", "64",
                   "--regression-images", "4000000", "--adversarial-images", "500000"),
        encoder=("--warmup-steps", "4000", "--steps", "30000", "--lr", "3e-4",
                 "--lr-decay", "0.4"),
        landmarks=15,
        device=("--device", "cuda", "--bf16"),
    ),
}  # fmt: skip


def commands(folder: Path, preset: Preset) -> dict[str, list[str]]:
    """{step: arguments of `python -m cycle_core....`}, in the order in which they run."""
    data, wide = folder / "portraits", folder / "wide"
    train = "cli", "train"
    size = ["--workers", "2", "--compile"]
    steps = {
        "portraits": ["portraits.dataset", data, "--count", preset.portraits, "--seed", 0,
                      "--resolution", preset.resolution, *size],
        "wide portraits": ["portraits.dataset", wide, "--count", preset.wide, "--seed", 1,
                           "--resolution", 128, "--wide", "--unaligned", *size],
    }  # fmt: skip
    for role in ("loss", "metrics"):
        for kind, count in (("perceptual", preset.perceptual), ("identity", preset.identity)):
            name = f"{kind}_{role}"
            steps[name] = [*train, "features", kind, data, "--role", role,
                           "--out", folder / name, "--steps", count, *preset.device]  # fmt: skip
    steps["generator"] = [*train, "generator", data, "--out", folder / "generator",
                          *preset.generator, *preset.device]  # fmt: skip
    steps["encoder"] = [*train, "encoder", "--generator", "portraits", "--data", data,
                        "--out", folder / "encoder", *preset.encoder, *preset.device]  # fmt: skip
    steps["directions"] = [*train, "directions", "--generator", "portraits",
                           "--out", ASSETS / "directions.safetensors",
                           "--table", folder / "directions.json"]  # fmt: skip
    steps["landmarks"] = [*train, "landmarks", wide, "--out", folder / "landmarks",
                          "--minutes", preset.landmarks,
                          *(x for x in preset.device if x == "--bf16")]  # fmt: skip
    return {name: [f"cycle_core.{step[0]}", *map(str, step[1:])] for name, step in steps.items()}


# where a run leaves its model, and what it is called in the package
RESULTS = {
    "generator": "portraits_generator.safetensors",
    "encoder": "portraits_encoder.safetensors",
    "landmarks": "landmarks.safetensors",
}


def make(folder: Path, preset: Preset) -> None:
    """Run every step. Raises CycleError where one fails; what came before it is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, command in commands(folder, preset).items():
        print(f"# {name}\npython -m {shlex.join(command)}", flush=True)
        if subprocess.run([sys.executable, "-m", *command], check=False).returncode:
            raise CycleError(
                f"The step `{name}` failed, see above; the same command goes on there."
            )
        if name in RESULTS:
            compress(folder / name / f"{name}.safetensors", ASSETS / RESULTS[name], name)


def compress(source: Path, target: Path, kind: str) -> None:
    """Write a model in half precision, with the header that it has."""
    config, state, metadata = read_model(source, kind)
    metadata = {k: v for k, v in metadata.items() if k not in ("kind", "config")}
    save_model(target, kind, config, state, metadata, dtype=torch.float16)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m cycle_core.training.embedded",
        description="Make every embedded model again; run it again to continue.",
    )
    parser.add_argument("folder", type=Path, help="for data and runs")
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument(
        "--float32", action="store_true", help="for processors without bfloat16: twice as long"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the commands only")
    args = parser.parse_args(argv)
    preset = PRESETS[args.preset]
    if args.float32:
        preset = replace(preset, device=tuple(x for x in preset.device if x != "--bf16"))
    try:
        if "cuda" in preset.device and not torch.cuda.is_available() and not args.dry_run:
            raise InputError("The preset gpu needs a CUDA device; use --preset cpu here.")
        if args.dry_run:
            for name, command in commands(args.folder, preset).items():
                print(f"# {name}\npython -m {shlex.join(command)}")
        else:
            make(args.folder, preset)
    except CycleError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

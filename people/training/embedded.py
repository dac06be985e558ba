"""Make every embedded model, from seeds, by one command.

    python -m people.training.embedded FOLDER --preset cpu

Renders the people, then trains, in the order in which they need each other, the networks that read
people, the generator, which grows, the encoder, the directions and the landmark network. Each step
is one of the project's own commands and is printed before it runs; it is run in the project's
folder, whose Makefile has the renderer. Data and runs go to FOLDER, each finished model into the
package. The same command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from cycle_core.checkpoints.native import read_model, save_model
from cycle_core.errors import CycleError, InputError
from cycle_core.files.assets import ASSETS


@dataclass(frozen=True)
class Stage:
    """A size at which the generator is trained, and for how many images."""

    resolution: int
    regression: int
    adversarial: int = 0
    perceptual: float = 0.0  # weight
    learning_rate: float = 8e-3


@dataclass(frozen=True)
class Preset:
    """How large and how long. "cpu" is for one thread each."""

    people: int
    scenes: int
    perceptual: int  # steps
    identity: int  # steps
    channels: tuple[int, ...]
    batch: int
    stages: tuple[Stage, ...]
    encoder: tuple[str, ...]
    pairs: int  # people of each set with true edits, for the detail encoder
    detail: int  # steps
    landmarks: int  # minutes
    device: tuple[str, ...]

    @property
    def resolution(self) -> int:
        """Of the finished generator, and of the renders."""
        return self.stages[-1].resolution


PRESETS = {
    "cpu": Preset(
        people=24_000,
        scenes=4_000,
        perceptual=1_500,
        identity=900,
        channels=(128, 128, 128, 96, 64, 32, 16),
        batch=16,
        stages=(
            Stage(64, 110_000),
            Stage(128, 56_000, learning_rate=6e-3),
            # no texture: in the crops that a CPU can afford hair becomes felt
            Stage(256, 100_000, perceptual=1.0, learning_rate=5e-3),
        ),
        encoder=("--size", "128", "--warmup-steps", "1500", "--steps", "4500",
                 "--learning-rate", "3e-4", "--learning-rate-decay", "0.4"),
        pairs=300,
        detail=3_500,
        landmarks=45,
        device=("--bf16",),
    ),
    "gpu": Preset(
        people=150_000,
        scenes=12_000,
        perceptual=4_000,
        identity=4_000,
        channels=(256, 256, 256, 256, 128, 64, 32),
        batch=64,
        stages=(
            Stage(64, 1_000_000),
            Stage(128, 1_000_000, learning_rate=6e-3),
            Stage(256, 2_000_000, 500_000, perceptual=1.0, learning_rate=5e-3),
        ),
        encoder=("--warmup-steps", "4000", "--steps", "30000", "--learning-rate", "3e-4",
                 "--learning-rate-decay", "0.4"),
        pairs=1_000,
        detail=40_000,
        landmarks=15,
        device=("--device", "cuda", "--bf16"),
    ),
}  # fmt: skip

_PROJECT = Path(__file__).resolve().parents[2]
# where a run leaves its model, and what it is called in the package
RESULTS = {
    "generator": "portraits_generator.safetensors",
    "encoder": "portraits_encoder.safetensors",
    "detail": "portraits_detail.safetensors",
    "landmarks": "landmarks.safetensors",
}


def commands(folder: Path, preset: Preset) -> dict[str, list[str]]:
    """{step: command}, in the order in which they run."""
    data, scenes = folder / "people", folder / "scenes"
    train = [sys.executable, "-m", "cycle_core.cli", "train"]
    build = [sys.executable, "-m", "people.training"]
    steps: dict[str, list[object]] = {
        "people": ["make", "people", f"PEOPLE={data}", f"PEOPLE_COUNT={preset.people}",
                   f"PEOPLE_SIZE={preset.resolution}"],
        "scenes": ["make", "scenes", f"SCENES={scenes}", f"SCENES_COUNT={preset.scenes}"],
    }  # fmt: skip
    count = {"perceptual": preset.perceptual, "identity": preset.identity}
    networks = [(kind, role) for role in ("loss", "metrics") for kind in count]
    for kind, role in (*networks, ("perceptual", "reading"), ("perceptual", "calibration")):
        name = f"{kind}_{role}"
        steps[name] = [*build, "features", kind, data, "--role", role,
                       "--out", folder / name, "--steps", count[kind], *preset.device]  # fmt: skip
    reader = folder / "calibration.safetensors"  # of the build alone
    steps["perceptual_calibration"] += ["--save", reader]
    start: list[object] = []
    for stage in preset.stages:
        last = stage is preset.stages[-1]
        name = "generator" if last else f"generator {stage.resolution}"
        out = folder / name.replace(" ", "_")
        channels = preset.channels[: stage.resolution.bit_length() - 2]
        steps[name] = [*build, "generator", data, "--out", out, *start,
                       "--resolution", stage.resolution, "--channels", "-".join(map(str, channels)),
                       "--batch", preset.batch, "--learning-rate", stage.learning_rate,
                       "--perceptual-weight", stage.perceptual,
                       "--regression-images", stage.regression,
                       "--adversarial-images", stage.adversarial, *preset.device]  # fmt: skip
        start = ["--start", out / "generator.safetensors"]
    steps["encoder"] = [*train, "encoder", "--generator", "portraits", "--data", data,
                        "--out", folder / "encoder", *preset.encoder, *preset.device]  # fmt: skip
    steps["directions"] = [*build, "directions", reader, "--generator", "portraits",
                           "--out", ASSETS / "directions.safetensors",
                           "--table", folder / "directions.json"]  # fmt: skip
    sets = folder / "sets"
    steps["sets"] = ["make", "sets", f"SETS={sets}", "SPLIT=tuning", "SETS_OPTIONS="
                     f"--inside {preset.pairs} --outside {preset.pairs} --person 0"]  # fmt: skip
    steps["detail"] = [*build, "detail", sets, "--out", folder / "detail",
                       "--steps", preset.detail,
                       *(x for x in preset.device if x != "--bf16")]  # fmt: skip
    steps["landmarks"] = [*build, "landmarks", scenes, data, "--out", folder / "landmarks",
                          "--minutes", preset.landmarks,
                          *(x for x in preset.device if x == "--bf16")]  # fmt: skip
    return {name: [str(part) for part in step] for name, step in steps.items()}


def make(folder: Path, preset: Preset) -> None:
    """Run every step. Raises CycleError where one fails; what came before it is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, command in commands(folder, preset).items():
        print(f"# {name}\n{shlex.join(command)}", flush=True)
        if subprocess.run(command, check=False, cwd=_PROJECT).returncode:
            raise CycleError(
                f"The step `{name}` failed, see above; the same command goes on there."
            )
        if name in RESULTS:
            compress(folder / name / f"{name}.safetensors", ASSETS / RESULTS[name], name)


def compress(source: Path, target: Path, kind: str) -> None:
    """Write a model in 8 bits, with the header that it has. A generator, which every code and
    direction was made for, is kept in half precision."""
    config, state, metadata = read_model(source, kind)
    metadata = {k: v for k, v in metadata.items() if k not in ("kind", "config")}
    dtype = torch.float16 if kind == "generator" else torch.int8
    save_model(target, kind, config, state, metadata, dtype)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m people.training.embedded",
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
            for name, command in commands(args.folder.absolute(), preset).items():
                print(f"# {name}\n{shlex.join(command)}")
        else:
            make(args.folder.absolute(), preset)
    except CycleError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What becomes of photographs of real people, judged by networks that have nothing to do with ours.

    pip install dlib-bin face_recognition_models "setuptools<80"
    npm install --prefix JUDGE @vladmandic/face-api pngjs @tensorflow/tfjs \
        @tensorflow/tfjs-backend-wasm
    python benchmarks/photographs.py PHOTOS OUT --judge JUDGE --card docs/embedded-models.md

PHOTOS is a folder of pictures. Every person in them counts once, by the first face whose crop has
128 pixels. Each crop is encoded, refined, tuned and edited with the embedded models and the
settings that nodes and commands have; the pictures are OUT/PHOTO-FACE/STEP.png, and what is there
already is not made again. Then

- dlib's network (Davis King, CC0) tells how far the person of each step is from that of the crop:
  0.6 is its limit of the same person;
- the networks of face-api (Vincent Mühler, Vladimir Mandic, MIT) tell expression and age before and
  after an edit;
- LPIPS to the crop is that of the embedded network of role "metrics".

--card writes the table between the two `photographs` marks of a Markdown file (with --preset
instant the `photographs-instant` ones), --sheet a picture of the photographs that --show names.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from statistics import fmean as mean
from statistics import median
from typing import Any

import numpy as np
import torch

import cycle_core as cc
from cycle_core.bench.report import put
from cycle_core.images.io import list_images, to_pil
from cycle_core.invert.settings import REFINE_PRESETS, TUNE_PRESETS
from cycle_core.measure import metrics
from cycle_core.measure.perceptual import load_perceptual

dlib: Any = import_module("dlib")  # compiled, without types
files: Any = import_module("face_recognition_models")
STEPS = ("crop", "encode", "refine", "tune")
PRESETS = ("embedded", "instant")  # as nodes and commands have them
EDITS = {"smile": 2.0, "frown": -2.0, "age": 1.5, "turn": 1.0, "glasses": 2.0, "hair": 1.5}
DIRECTIONS = {"frown": "smile", "turn": "yaw", "hair": "hair_colour"}  # where they are not the name
SIZE, SMALLEST = 256, 128  # of a crop: in the table, and at least in the photograph
SAME = 0.6  # dlib's limit of the same person
_JUDGE = Path(__file__).with_name("photographs.js")


def find(photos: Sequence[Path], out: Path) -> None:
    """Write the crop of every person in the photographs, once; `out` is there when all are."""
    person, part = Person(), out.with_name(f"{out.name}.part")
    known: list[np.ndarray] = []
    for photo in photos:
        image = cc.read_image(photo)
        for number, face in enumerate(cc.detect(image)):
            crop, frame = cc.align(image, face, SIZE)
            if math.dist(*frame.quad[:2]) < SMALLEST:
                continue
            one = person(crop)
            if all(float(np.linalg.norm(one - other)) > SAME for other in known):
                known.append(one)
                cc.save_image(crop, part / f"{photo.stem}-{number}" / "crop.png")
    part.rename(out)


def make(folder: Path, preset: str) -> None:
    """Every step and edit of one crop, with the seconds of each step."""
    G, E = cc.load_generator("portraits"), cc.load_encoder("portraits")
    crop = cc.read_image(folder / "crop.png")
    clock = [time.perf_counter()]
    codes = {"encode": cc.encode(E, crop)}
    clock.append(time.perf_counter())
    codes["refine"] = cc.refine(E, G, crop, REFINE_PRESETS[preset], domain="generator").code
    clock.append(time.perf_counter())
    tuned = cc.tune(G, codes["refine"], crop, TUNE_PRESETS[preset])
    clock.append(time.perf_counter())
    images = {"tune": tuned.image, **{name: cc.generate(G, code) for name, code in codes.items()}}
    for name, strength in EDITS.items():
        direction = cc.load_direction(DIRECTIONS.get(name, name))
        moved = cc.edit(codes["refine"], direction, strength)
        images[name] = cc.generate(tuned.generator, moved)
    for name, image in images.items():
        cc.save_image(image, folder / f"{name}.png")
    seconds = [round(b - a, 2) for a, b in pairwise(clock)]
    (folder / "seconds.json").write_text(json.dumps(dict(zip(STEPS[1:], seconds, strict=True))))


# ------------------------------------------------------------------ the judges
class Person:
    """dlib's descriptor [128] of the person in a crop float32 [1,3,R,R] in [-1,1]."""

    def __init__(self) -> None:
        self.points = dlib.shape_predictor(files.pose_predictor_five_point_model_location())
        self.network = dlib.face_recognition_model_v1(files.face_recognition_model_location())

    def __call__(self, crop: torch.Tensor) -> np.ndarray:
        image = np.asarray(to_pil(crop).resize((512, 512)))
        face = dlib.rectangle(130, 170, 382, 422)  # where FFHQ's crop has it
        return np.array(self.network.compute_face_descriptor(image, self.points(image, face)))


def distances(folders: Sequence[Path]) -> dict[str, list[float]]:
    """{step: how far its person is from that of the crop, of each photograph}"""
    person = Person()
    found: dict[str, list[float]] = {name: [] for name in (*STEPS[1:], *EDITS)}
    for folder in folders:
        crop = person(cc.read_image(folder / "crop.png"))
        for name, values in found.items():
            one = person(cc.read_image(folder / f"{name}.png"))
            values.append(float(np.linalg.norm(one - crop)))
    return found


def read_faces(folders: Sequence[Path], judge: Path) -> dict[str, list[dict[str, float]]]:
    """{picture: {"happy", "age", ...} of each photograph}, by face-api in node."""
    names = ("crop", "tune", *EDITS)
    paths = [str((folder / f"{name}.png").absolute()) for folder in folders for name in names]
    done = subprocess.run(
        ["node", _JUDGE, judge.absolute()],
        input=json.dumps(paths), capture_output=True, text=True, check=True,
    )  # fmt: skip
    read = iter(json.loads(done.stdout))
    rows = [{name: next(read) for name in names} for _ in folders]
    return {name: [row[name] for row in rows] for name in names}


def steps_of(preset: str) -> list[str]:
    """The steps that do something: `instant` refines nothing."""
    return [step for step in STEPS if preset != "instant" or step != "refine"]


def table(folders: Sequence[Path], judge: Path, preset: str) -> str:
    """What was measured, as Markdown."""
    perceptual = load_perceptual("metrics")
    person, seen = distances(folders), read_faces(folders, judge)
    seconds = [json.loads((folder / "seconds.json").read_text()) for folder in folders]

    def lpips(name: str) -> float:
        pairs = ([cc.read_image(f / f"{one}.png") for one in ("crop", name)] for f in folders)
        with torch.no_grad():
            return mean([float(metrics.lpips(a, b, perceptual)) for a, b in pairs])

    def change(name: str, key: str) -> str:
        if name not in EDITS:
            return ""
        pairs = zip(seen[name], seen["tune"], strict=True)
        return f"{mean([after[key] - before[key] for after, before in pairs]):+.2f}"

    lines = [
        "| step | LPIPS | distance of the person | below 0.6 | happy | years | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in (*steps_of(preset)[1:], *EDITS):
        step = "one pass" if preset == "instant" and name == "tune" else name
        tuned = "" if preset == "instant" else "tuned, "
        edit = f"{tuned}{DIRECTIONS.get(name, name)} {EDITS.get(name, 0):+g}"
        same = sum(value < SAME for value in person[name])
        spent = f"{median(one[name] for one in seconds):.2g}" if name in STEPS else ""
        lines.append(
            f"| {edit if name in EDITS else step} | {lpips(name):.3f} | {mean(person[name]):.3f} | "
            f"{same} of {len(folders)} | "
            f"{change(name, 'happy')} | {change(name, 'age')} | {spent} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--preset", choices=PRESETS, default="embedded", help="one folder OUT each")
    parser.add_argument("--judge", type=Path, help="folder of face-api; without it only pictures")
    parser.add_argument("--card", type=Path)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--show", nargs="+", default=[], help="folders of OUT; all if not given")
    a = parser.parse_args()
    torch.set_num_threads(1)
    if not a.out.is_dir():
        find(list_images(a.photos), a.out)
    folders = sorted(path.parent for path in a.out.glob("*/crop.png"))
    for number, folder in enumerate(folders, start=1):
        if not (folder / "seconds.json").is_file():
            make(folder, a.preset)
            print(f"{number} of {len(folders)}: {folder.name}", file=sys.stderr)
    if a.sheet is not None:
        columns = [*steps_of(a.preset), *EDITS]
        shown = [a.out / name for name in a.show] or folders
        rows = [[cc.read_image(folder / f"{name}.png") for name in columns] for folder in shown]
        cc.save_image(cc.contact_sheet(rows, columns=columns, cell=160), a.sheet)
    if a.judge is not None:
        text = table(folders, a.judge, a.preset)
        print(text)
        if a.card is not None:
            put(text, a.card, "photographs" + ("-instant" if a.preset == "instant" else ""))


if __name__ == "__main__":
    main()

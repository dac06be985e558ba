"""Test sets for the comparison: people that no training saw, and their true edits.

    python -m people.sets FOLDER --inside 200 --outside 100 --person 20 --split test

A set is one file, which `cycle_core/bench/sets.py` describes and reads. "inside" is the domain,
"outside" people with one thing each that the domain does not have, "person" one person many times.
The people depend on the set and its split alone: a larger set begins with a smaller one.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from safetensors.numpy import save

from .dataset import DatasetError, check_renderer, write_file
from .factors import FACTORS, gaussian_to_factors, index, sample_factors, sample_gaussian
from .person import describe

if TYPE_CHECKING:
    from .render import Renderer

SETS = ("inside", "outside", "person")
SPLITS = ("test", "tuning", "calibration")
# What everybody has; what may be absent cannot be moved the same way in all.
EDITED = ("yaw", "pitch", "smile", "brows", "look_x", "age", "gender", "light_direction",
          "skin_tone", "hair_colour", "hair_length", "nose_length")  # fmt: skip
OUTSIDE = ("hat", "scarf", "sunglasses", "earrings", "face_paint", "coloured_light", "pattern")
_SEED = 20_220_718  # far from the trainings', which begin at 0


def people_of(name: str, count: int, split: str) -> tuple[np.ndarray, np.ndarray]:
    """The factors [count, F] of a set and its extras [count, len(OUTSIDE)], 0 or 1."""
    seed = [_SEED, SETS.index(name) + len(SETS) * SPLITS.index(split)]
    first = int(np.random.SeedSequence(seed).generate_state(1)[0])
    codes = np.concatenate([sample_gaussian(1, first + i) for i in range(count)])
    if name == "person":
        same = [i for i, factor in enumerate(FACTORS) if factor.group == "identity"]
        codes[:, same] = codes[:1, same]
    extras = np.zeros((count, len(OUTSIDE)), np.float32)
    if name == "outside":
        extras[np.arange(count), np.arange(count) % len(OUTSIDE)] = 1
    return gaussian_to_factors(codes), extras


def write_set(path: Path, name: str, count: int, split: str, renderer: Renderer) -> None:
    """Render a set into a file."""
    from .extras import NONE, Extras

    factors, extras = people_of(name, count, split)
    unit = sample_factors(20_000, _SEED - 1).std(0)
    columns = [index(attribute) for attribute in EDITED]
    middle = np.array([(FACTORS[i].low + FACTORS[i].high) / 2 for i in columns])
    signs = np.where(factors[:, columns] > middle, -1, 1).astype(np.float32, order="C")
    files = []
    for person, worn, ways in zip(factors, extras, signs, strict=True):
        wearing = NONE
        if worn.any():  # the hue is anything, but always the same one for the same thing
            what = dict(zip(OUTSIDE, map(float, worn), strict=True))
            wearing = Extras(**what, hue=float(np.flatnonzero(worn)[0]) / len(OUTSIDE))
        versions = np.repeat(person[None], 1 + len(columns), 0)
        versions[np.arange(1, 1 + len(columns)), columns] += ways * unit[columns]
        files += [_packed(renderer.render(describe(v), extras=wearing).image) for v in versions]
    config = {
        "name": name,
        "split": split,
        "resolution": renderer.resolution,
        "edited": EDITED,
        "outside": OUTSIDE,
        "factors": [asdict(factor) for factor in FACTORS],
        "deviations": [float(deviation) for deviation in unit],
    }
    state = {
        "pictures": np.frombuffer(b"".join(files), np.uint8),
        "ends": np.cumsum([len(file) for file in files]),
        "factors": factors,
        "extras": extras,
        "signs": signs,
    }
    write_file(path, save(state, {"kind": "test set", "config": json.dumps(config)}))


def _packed(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "WEBP", quality=95, method=6)
    return file.getvalue()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m people.sets", description=(
        "Render the test sets into a folder."))  # fmt: skip
    parser.add_argument("folder", type=Path)
    for name, count in zip(SETS, (200, 100, 20), strict=True):
        parser.add_argument(f"--{name}", type=int, default=count, help="people of this set")
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument("--resolution", type=int, default=256)
    a = parser.parse_args(arguments)
    try:
        check_renderer()
    except DatasetError as error:
        print(error, file=sys.stderr)
        return 1
    from .render import Renderer

    a.folder.mkdir(parents=True, exist_ok=True)
    renderer = Renderer(a.resolution)
    for name in SETS:
        if count := getattr(a, name):
            path = a.folder / f"{name}-{a.split}.safetensors"
            write_set(path, name, count, a.split, renderer)
            print(path, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

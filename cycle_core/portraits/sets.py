"""Render test sets: people that no training saw, and their true edits; `bench/sets.py` reads them.

    python -m cycle_core.portraits.sets FOLDER --inside 200 --outside 100 --person 20

The people depend on the name and the split of a set alone: a larger set begins with a smaller one.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from ..bench.sets import NAMES, SPLITS
from ..errors import InputError
from ..files.atomic import write_atomically
from ..images.io import to_pil
from .factors import FACTORS, IDENTITY, TABLE, index, sample_factors
from .renderer import Extras, render

# Those that a portrait always has; what may be absent cannot be moved the same way in all.
EDITED = ("yaw", "pitch", "smile", "eyes_open", "age", "light_az", "light_el", "skin_tone",
          "hair_color", "hair_len", "face_width", "nose_len")  # fmt: skip
OUTSIDE = ("hat", "paint", "moles", "pattern", "light")  # what no portrait of the domain has
COUNTS = {"inside": 200, "outside": 100, "person": 20}
_SEED = 20_220_718  # training data has seeds from 0 on
_CHUNK = 8  # portraits rendered at once, with their edits


def describe_set(name: str, split: str = "test") -> tuple[Tensor, Tensor]:
    """The factors [N,COUNT] and the extras [N,len(OUTSIDE)] of a set. Raises InputError."""
    if name not in NAMES or split not in SPLITS:
        raise InputError(
            f"The test sets are {', '.join(NAMES)}, of {', '.join(SPLITS)}; {name!r} of {split!r} "
            "was asked for."
        )
    total = COUNTS[name]
    # far from each other: torch's generators dislike neighbouring seeds
    kind = NAMES.index(name) + len(NAMES) * SPLITS.index(split)
    seed = int(np.random.SeedSequence([_SEED, kind]).generate_state(1)[0])
    factors = sample_factors(total, seed)
    if name == "person":
        factors[:, IDENTITY] = factors[:1, IDENTITY]
    extras = torch.zeros(total, len(OUTSIDE))
    if name == "outside":
        extras[torch.arange(total), torch.arange(total) % len(OUTSIDE)] = 1.0
    return factors, extras


def write_set(
    path: Path, name: str, count: int, split: str, resolution: int, compile: bool = False
) -> None:
    """Render a set into a file. compile: ten times faster after minutes; needs a compiler."""
    factors, extras = describe_set(name, split)
    factors, extras = factors[:count], extras[:count]
    columns = [index(attribute) for attribute in EDITED]
    middle = torch.tensor([(FACTORS[i].low + FACTORS[i].high) / 2 for i in columns])
    signs = torch.where(factors[:, columns] > middle, -1.0, 1.0)
    unit, files = deviations(), []
    for at in torch.arange(count).split(_CHUNK):
        versions = factors[at].repeat(1 + len(columns), 1, 1)  # [1 + edits, n, COUNT]
        for j, column in enumerate(columns):
            versions[1 + j, :, column] += signs[at, j] * unit[column]
        several = extras[at].repeat(1 + len(columns), 1)
        made = _render(versions.flatten(0, 1), several, resolution, compile)
        made = made.unflatten(0, versions.shape[:2]).transpose(0, 1)  # [n, 1 + edits, 3, R, R]
        files += [_packed(picture) for picture in made.flatten(0, 1)]
    config = {
        "name": name,
        "split": split,
        "resolution": resolution,
        "edited": EDITED,
        "outside": OUTSIDE,
        "factors": TABLE.rows(),
        "deviations": unit.tolist(),
    }
    state = {
        "pictures": torch.from_numpy(np.frombuffer(b"".join(files), np.uint8).copy()),
        "ends": torch.tensor([len(file) for file in files]).cumsum(0),
        "factors": factors.contiguous(),
        "extras": extras.contiguous(),
        "signs": signs,
    }
    header = {"kind": "test set", "config": json.dumps(config)}
    write_atomically(path, lambda to: save_file(state, to, metadata=header))


def _packed(picture: Tensor) -> bytes:
    file = io.BytesIO()
    to_pil(picture[None]).save(file, "WEBP", lossless=True, method=6)
    return file.getvalue()


def deviations() -> Tensor:
    """Standard deviation of every factor over the domain, float32 [COUNT]."""
    return sample_factors(20_000, _SEED - 1).std(0)


def _render(factors: Tensor, extras: Tensor, resolution: int, compile: bool) -> Tensor:
    given = {name: extras[:, i] for i, name in enumerate(OUTSIDE)}
    image = render(factors, resolution, extras=Extras(**given), compile=compile).image
    return (image * 127.5).round() / 127.5  # as a picture file keeps it


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m cycle_core.portraits.sets", description=(
        "Render the test sets into a folder."))  # fmt: skip
    parser.add_argument("folder", type=Path)
    for name in NAMES:
        parser.add_argument(f"--{name}", type=int, default=COUNTS[name], help="people of this set")
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--compile", action="store_true", help="much faster, slow to start")
    a = parser.parse_args(arguments)
    a.folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        path = a.folder / f"{name}-{a.split}.safetensors"
        if count := min(getattr(a, name), COUNTS[name]):
            write_set(path, name, count, a.split, a.resolution, a.compile)
            print(path, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

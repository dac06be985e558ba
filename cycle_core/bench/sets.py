"""What methods are tested on: portraits that no training saw, their factors, and their true edits.

Edits are exact here: the picture that a perfect edit would give is the render of the same factors
with one of them moved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checkpoints.native import read_model, save_model
from ..errors import InputError, MissingFileError
from ..portraits.factors import FACTORS, IDENTITY, index, sample_factors
from ..portraits.renderer import Extras, render

# Those that a portrait always has; what may be absent cannot be moved the same way in all.
EDITED = ("yaw", "pitch", "smile", "eyes_open", "age", "light_az", "light_el", "skin_tone",
          "hair_color", "hair_len", "face_width", "nose_len")  # fmt: skip
OUTSIDE = ("hat", "paint", "moles", "pattern", "light")  # what no portrait of the domain has
COUNTS = {"inside": 200, "outside": 100, "person": 20}
# what is compared, and other portraits of the same kinds: to choose settings by, and to calibrate
SPLITS = ("test", "tuning", "calibration")
_SEED = 20_220_718  # training data has seeds from 0 on
_CHUNK = 8  # portraits rendered at once, with their edits


@dataclass(frozen=True)
class TestSet:
    """name: "inside" the domain, "outside" of it, or one "person" many times.

    images: float32 [N,3,R,R] in [-1,1]; factors: float32 [N,COUNT]; extras: float32
    [N,len(OUTSIDE)] in 0..1; signs: float32 [N,len(EDITED)], -1 or 1, the way in which each
    attribute has room: towards the middle of its range.  edited: float32 [N,len(EDITED),3,R,R],
    renders of the same portrait with one attribute moved by one standard deviation that way."""

    __test__ = False  # no test of pytest, whatever its name looks like

    name: str
    images: Tensor
    factors: Tensor
    extras: Tensor
    signs: Tensor
    edited: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def part(self, start: int, stop: int) -> TestSet:
        """Some of the portraits. Those of a set outside take turns in what is unusual."""
        fields = [name for name in self.__dataclass_fields__ if name != "name"]
        return replace(self, **{name: getattr(self, name)[start:stop] for name in fields})


def make_set(
    name: str,
    count: int | None = None,
    resolution: int = 64,
    compile: bool = False,
    say: Callable[[int, int], object] | None = None,
    split: str = "test",
) -> TestSet:
    """Render a set of `COUNTS`, or its first `count` portraits, at a resolution.

    compile: ten times faster after minutes of compiling; needs a compiler. say(done, total): while
    it renders. Raises InputError for another name."""
    factors, extras = describe_set(name, count, split)
    total = len(factors)
    columns = [index(attribute) for attribute in EDITED]
    middle = torch.tensor([(FACTORS[i].low + FACTORS[i].high) / 2 for i in columns])
    signs = torch.where(factors[:, columns] > middle, -1.0, 1.0)
    images, edited = [], []
    for at in torch.arange(total).split(_CHUNK):
        versions = factors[at].repeat(1 + len(columns), 1, 1)  # [1 + edits, n, COUNT]
        for j, column in enumerate(columns):
            versions[1 + j, :, column] += signs[at, j] * deviations()[column]
        several = extras[at].repeat(1 + len(columns), 1)
        made = _render(versions.flatten(0, 1), several, resolution, compile)
        made = made.unflatten(0, versions.shape[:2])  # [1 + edits, n, 3, R, R]
        images.append(made[0])
        edited.append(made[1:].transpose(0, 1).contiguous())
        if say is not None:
            say(int(at[-1]) + 1, total)
    return TestSet(name, torch.cat(images), factors, extras, signs, torch.cat(edited))


def describe_set(name: str, count: int | None = None, split: str = "test") -> tuple[Tensor, Tensor]:
    """The factors [N,COUNT] and the extras [N,len(OUTSIDE)] of a set. Raises InputError."""
    if name not in COUNTS or split not in SPLITS:
        raise InputError(
            f"The test sets are {', '.join(COUNTS)}, of {', '.join(SPLITS)}; {name!r} of {split!r} "
            "was asked for."
        )
    total = COUNTS[name] if count is None else min(count, COUNTS[name])
    # far from each other: torch's generators dislike neighbouring seeds
    kind = list(COUNTS).index(name) + len(COUNTS) * SPLITS.index(split)
    seed = int(np.random.SeedSequence([_SEED, kind]).generate_state(1)[0])
    factors = sample_factors(COUNTS[name], seed)[:total]
    if name == "person":
        factors[:, IDENTITY] = factors[:1, IDENTITY]
    extras = torch.zeros(total, len(OUTSIDE))
    if name == "outside":
        extras[torch.arange(total), torch.arange(total) % len(OUTSIDE)] = 1.0
    return factors, extras


def open_set(
    folder: str | Path,
    name: str,
    count: int | None = None,
    resolution: int = 64,
    compile: bool = False,
    say: Callable[[int, int], object] | None = None,
    split: str = "test",
) -> TestSet:
    """The same, kept in a file of a folder: rendering takes minutes.

    Raises InputError where there is no such folder."""
    if not Path(folder).is_dir():
        raise InputError(f"There is no folder {folder} to keep the test sets in: make it first.")
    made = COUNTS[name] if count is None else min(count, COUNTS[name])
    ending = "" if split == "test" else f"-{split}"
    path = Path(folder) / f"set-{name}-{made}{ending}.safetensors"
    try:
        config, state, _ = read_model(path, "test set")
    except MissingFileError:
        config, state = {}, {}
    wanted: dict[str, Any] = {"count": made, "resolution": resolution, "edited": list(EDITED)}
    if config != wanted:
        fresh = make_set(name, count, resolution, compile, say, split)
        state = {key: getattr(fresh, key) for key in TestSet.__dataclass_fields__ if key != "name"}
        save_model(path, "test set", wanted, state)
    return TestSet(name, **state)


def deviations() -> Tensor:
    """Standard deviation of every factor over the domain, float32 [COUNT]."""
    return sample_factors(20_000, _SEED - 1).std(0)


def _render(factors: Tensor, extras: Tensor, resolution: int, compile: bool) -> Tensor:
    given = {name: extras[:, i] for i, name in enumerate(OUTSIDE)}
    image = render(factors, resolution, extras=Extras(**given), compile=compile).image
    return (image * 127.5).round() / 127.5  # as a picture file keeps it

"""What methods are tested on: rendered people that no training saw, their factors, and their true
edits.

Edits are exact here: the picture that a perfect edit would give is the render of the same factors
with one of them moved. A set is one file; the package has small ones, and the renderer makes larger
ones of the same kind::

    NAME-SPLIT.safetensors    header "config": name, split, resolution, edited (names), outside
                              (names), factors (the table), deviations (of each factor)
                              pictures uint8 [bytes], WebP files one behind the other: each person
                              followed by its edits; ends int64 [N * (1 + edits)], where each
                              picture ends; factors, extras, signs float32 as in `TestSet`
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import CheckpointError, InputError, MissingFileError
from ..files.assets import ASSETS
from ..files.json import parse_json
from ..images.io import from_pil
from ..images.resize import resize
from ..models.factors import FactorTable

NAMES = ("inside", "outside", "person")
# what is compared, and other people of the same kinds: to choose settings by, and to calibrate
SPLITS = ("test", "tuning", "calibration")
_CONFIG = {"edited": [str], "outside": [str], "factors": [{}], "deviations": [float]}


@dataclass(frozen=True)
class TestSet:
    """name: "inside" the domain, "outside" of it, or one "person" many times. N people, E edits, F
    factors.

    images: float32 [N,3,R,R] in [-1,1]; factors: float32 [N,F], in the order of `table`; extras:
    float32 [N,len(outside)] in 0..1, of what no person of the domain has; signs: float32 [N,E], -1
    or 1, the way in which each attribute has room: towards the middle of its range; edited: float32
    [N,E,3,R,R], renders of the same person with one attribute moved by one standard deviation that
    way. attributes: names of the edited ones; deviations: float32 [F], over the domain."""

    __test__ = False  # no test of pytest, whatever its name looks like

    name: str
    table: FactorTable
    attributes: tuple[str, ...]
    outside: tuple[str, ...]
    deviations: Tensor
    images: Tensor
    factors: Tensor
    extras: Tensor
    signs: Tensor
    edited: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def part(self, start: int, stop: int) -> TestSet:
        """Some of the people. Those of a set outside take turns in what is unusual."""
        rows = ("images", "factors", "extras", "signs", "edited")
        return replace(self, **{row: getattr(self, row)[start:stop] for row in rows})

    def resized(self, size: int) -> TestSet:
        """The same with smaller pictures."""
        edited = resize(self.edited.flatten(0, 1), size).unflatten(0, self.edited.shape[:2])
        return replace(self, images=resize(self.images, size), edited=edited)


def open_set(
    name: str, count: int | None = None, folder: str | Path | None = None, split: str = "test"
) -> TestSet:
    """A set, or its first `count` people: of the package, or of a folder of larger ones.

    Raises InputError for another name and for fewer people than `count`, MissingFileError without
    the file, CheckpointError for a damaged one."""
    if name not in NAMES or split not in SPLITS:
        raise InputError(
            f"The test sets are {', '.join(NAMES)}, of {', '.join(SPLITS)}; {name!r} of {split!r} "
            "was asked for."
        )
    path = (ASSETS / "sets" if folder is None else Path(folder)) / f"{name}-{split}.safetensors"
    if not path.is_file():
        raise MissingFileError(
            f"There is no test set {path}. The archives of the node pack have none: take the "
            "folder cycle_core/assets/sets out of a clone of the project and give it as `sets`, "
            f"or {_MORE}."
        )
    test = read_set(path)
    if count is not None and count > len(test):
        raise InputError(
            f"{count} pictures were asked for, but {path} holds {len(test)}: ask for fewer, or "
            f"{_MORE}."
        )
    return test if count is None else test.part(0, count)


_MORE = "render larger sets with `make sets SETS=FOLDER` in the project and give FOLDER as `sets`"


def read_set(path: Path) -> TestSet:
    """A file of the layout above. Raises CheckpointError for any other."""
    try:
        with safe_open(path, framework="pt") as file:
            config = parse_json((file.metadata() or {})["config"], _CONFIG)
            tensors = {key: file.get_tensor(key) for key in ("factors", "extras", "signs", "ends")}
            packed = memoryview(file.get_tensor("pictures").numpy().tobytes())
        ends = tensors.pop("ends").tolist()
        pictures = _unpack([packed[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)])
        people = pictures.unflatten(0, (-1, 1 + len(config["edited"])))
        return TestSet(
            path.stem.partition("-")[0],
            FactorTable.of(config["factors"]),
            tuple(config["edited"]),
            tuple(config["outside"]),
            torch.tensor(config["deviations"]),
            images=people[:, 0],
            edited=people[:, 1:],
            **tensors,
        )
    except (SafetensorError, OSError, UnidentifiedImageError, KeyError, ValueError, RuntimeError,
            InputError) as error:  # fmt: skip
        raise CheckpointError(
            f"{path} is not a test set of this program ({type(error).__name__}): {_MORE}."
        ) from error


def _unpack(files: Sequence[memoryview]) -> Tensor:
    """float32 [N,3,R,R] in [-1,1]"""
    pictures = []
    for file in files:
        with Image.open(io.BytesIO(file)) as picture:
            pictures.append(from_pil(picture.convert("RGB")).image)
    return torch.cat(pictures)

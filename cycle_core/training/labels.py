"""Labels of pictures, as NVIDIA's `dataset_tool.py` writes them into `dataset.json`:

    {"labels": [["00000/img00000000.png", 3], ...]}

A label is the number of a class, from 0 on, or a vector of numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from ..files.json import JsonError, parse_json

MAX_CLASSES = 1 << 15


class Labels:
    """The labels of all pictures of a set, by their places.

    values: int64 [n] of classes, or float32 [n, c_dim]. c_dim: numbers of a condition, one more
    than the highest class."""

    def __init__(self, values: Tensor):
        self.values = values
        self.c_dim = values.shape[1] if values.ndim == 2 else int(values.max()) + 1

    def __getitem__(self, places: Tensor) -> Tensor:
        """places: int64 [B]. Gives the conditions, float32 [B, c_dim]: one-hot of classes."""
        chosen = self.values[places]
        return chosen if chosen.ndim == 2 else F.one_hot(chosen, self.c_dim).float()

    def one_of_each(self, places: Tensor, most: int) -> Tensor:
        """Of the given places those of the first picture of each label, `most` labels at most,
        evenly spread over them, int64 [at most `most`]."""
        labels, kinds = torch.unique(self.values[places], dim=0, return_inverse=True)
        first = torch.full((len(labels),), len(places))
        first.scatter_reduce_(0, kinds, torch.arange(len(places)), "amin")
        chosen = torch.arange(min(most, len(labels))) * len(labels) // min(most, len(labels))
        return places[first[chosen]]


def read_labels(text: bytes | None, names: Sequence[str], path: Path) -> Labels:
    """The labels of the pictures of these names. text: of a `dataset.json`; path: of the set.

    Raises InputError where there are none, where a picture has none, where one is out of range, and
    for what is no such file."""
    try:
        content = {} if text is None else parse_json(text)
    except JsonError as error:
        raise InputError(f"The dataset.json of {path} cannot be read: {error}.") from error
    pairs = content.get("labels")
    if pairs is None:
        raise InputError(
            f"{path} holds no labels, which `cond` learns: leave it out, or bring a dataset.json "
            'with {"labels": [["NAME", CLASS], ...]}.'
        )
    table = _table(pairs, path)
    missing = [name for name in names if name not in table]
    if missing:
        raise InputError(
            f"The dataset.json of {path} has no label for {len(missing)} of {len(names)} pictures, "
            f"the first of them {missing[0]}: each needs one."
        )
    labels = [table[name] for name in names]
    if all(type(label) is int for label in labels):
        for name, label in zip(names, labels, strict=True):
            if not 0 <= label < MAX_CLASSES:
                raise InputError(
                    f"The dataset.json of {path} gives {name} the class {label}, but classes are "
                    f"counted from 0 to {MAX_CLASSES - 1} at most."
                )
        return Labels(torch.tensor(labels))
    widths = {len(label) if isinstance(label, list) else 0 for label in labels}
    if len(widths) > 1 or not 0 < max(widths) < MAX_CLASSES:
        raise InputError(
            f"The dataset.json of {path} has labels of different kinds: each is the number of a "
            "class, or each is a vector of as many numbers."
        )
    values = torch.tensor(labels, dtype=torch.float32)
    if not bool(values.isfinite().all()):
        raise InputError(f"The dataset.json of {path} has labels that float32 cannot hold.")
    return Labels(values)


def _table(pairs: object, path: Path) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        name, label = pair if isinstance(pair, list) and len(pair) == 2 else (None, None)
        numbers = label if isinstance(label, list) else [label]
        if type(name) is not str or not all(type(x) in (int, float) for x in numbers):
            raise InputError(
                f"The dataset.json of {path} holds something else than pairs of a picture's name "
                "and its label: make it anew."
            )
        if type(label) is float:
            raise InputError(
                f"The dataset.json of {path} gives {name} the class {label}, but a class is a "
                "whole number."
            )
        if name in table:
            raise InputError(f"The dataset.json of {path} has two labels for {name}: leave one.")
        table[name] = label
    return table

"""Pictures side by side with their targets, and how near they are, as a table."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import InputError
from ..images.resize import resize
from ..images.sheet import contact_sheet
from ..runtime.progress import Callback
from .judge import Judge
from .metrics import METRICS

ROWS = 8  # of a sheet; all pictures are measured


def compare(
    target: Tensor,
    images: Mapping[str, Tensor],
    judge: Judge,
    cell: int = 256,
    callback: Callback | None = None,
    columns: int = 0,
) -> tuple[Tensor, dict[str, dict[str, float]]]:
    """(a sheet float32 [1,3,H,W] with one row a target, name -> mean of each measure of `Judge`).

    target: float [B,3,H,W] in [-1,1]. images: name -> as many pictures, or one, of any size; they
        are resized to the target's. cell: width of a picture on the sheet. columns: how many of a
        target's pictures are beside each other before the next line; 0 puts all into one.
    Raises InputError where the numbers do not fit."""
    means: dict[str, dict[str, float]] = {}
    rows: list[list[Tensor | None]] = [[picture[None]] for picture in target[:ROWS]]
    captions = [[""] for _ in rows]
    done, total = 0, len(images) * len(target)
    for name, pictures in images.items():
        if len(pictures) not in (1, len(target)):
            raise InputError(
                f"{len(pictures)} pictures {name!r} are compared with {len(target)}: give as many, "
                "or one."
            )
        fitted = resize(pictures, (target.shape[-2], target.shape[-1]), "bicubic")
        fitted = fitted.expand(len(target), -1, -1, -1).to(target)
        measured = []
        for i in range(len(target)):
            measured.append(judge.compare(target[i : i + 1], fitted[i : i + 1]))
            done += 1
            if callback is not None:
                callback(done, total, None)
            if i < ROWS:
                rows[i].append(fitted[i : i + 1])
                seen = [metric for metric in METRICS if metric.network]
                near = ", ".join(f"{one.title} {measured[i][one.key]:.3f}" for one in seen)
                captions[i].append(near)
        means[name] = {
            key: sum(entry[key] for entry in measured) / len(measured) for key in measured[0]
        }
    count = len(images) + 1
    beside = min(columns or count, count)
    padding = -count % beside
    names = ["target", *images, *[""] * padding]
    for row in rows:
        row += [None] * padding
    parts = [slice(start, start + beside) for start in range(0, count, beside)]
    sheets = [
        contact_sheet(
            [row[part] for row in rows], names[part], cell=cell,
            captions=[lines[part] for lines in captions],
        )
        for part in parts
    ]  # fmt: skip
    return torch.cat(sheets, 2), means


def as_table(means: Mapping[str, Mapping[str, float]]) -> str:
    """Means of `compare` as text, one line a measure, so that a narrow node shows it."""
    keys = list(next(iter(means.values()), {}))
    first = max(map(len, keys), default=0)
    widths = {name: max(len(name), 7) + 2 for name in means}
    lines = [" " * first + "".join(f"{name:>{width}}" for name, width in widths.items())]
    lines += [
        f"{key:<{first}}" + "".join(f"{means[name][key]:>{widths[name]}.4f}" for name in means)
        for key in keys
    ]
    return "\n".join(lines)

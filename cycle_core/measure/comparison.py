"""Pictures side by side with their targets, and how near they are, as a table."""

from __future__ import annotations

from collections.abc import Mapping

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
) -> tuple[Tensor, dict[str, dict[str, float]]]:
    """(a sheet float32 [1,3,H,W] with one row a target, name -> mean of each measure of `Judge`).

    target: float [B,3,H,W] in [-1,1]. images: name -> as many pictures, or one, of any size; they
        are resized to the target's. cell: width of a picture on the sheet.
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
    sheet = contact_sheet(rows, ["target", *images], cell=cell, captions=captions)
    return sheet, means


def as_table(means: Mapping[str, Mapping[str, float]]) -> str:
    """Means of `compare` as text, one line a name."""
    first = next(iter(means.values()), {})
    width = max(map(len, means), default=0)
    lines = [" " * width + "".join(f"{key:>10}" for key in first)]
    lines += [
        f"{name:<{width}}" + "".join(f"{value:>10.4f}" for value in values.values())
        for name, values in means.items()
    ]
    return "\n".join(lines)

"""What a report says of pictures beside their targets: every measure of `METRICS`, the attributes
that changed, a sheet, a table."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import InputError
from ..images.resize import resize
from ..images.sheet import contact_sheet
from ..runtime.devices import one_thread_if_small
from ..runtime.progress import Callback
from .metrics import METRICS, Pair
from .perceptual import load_attributes
from .selection import Networks

ROWS = 8  # of a sheet; all pictures are measured
NOTICEABLE = 0.5  # standard deviations of an attribute


class Judge:
    """The measuring networks on one device; nothing is trained by them.

    They are other networks than those of the losses where there are others; `names` says where
    there are not."""

    def __init__(self, device: torch.device | str = "cpu", embedded: bool = True):
        """embedded: whether the pictures are of the embedded domain, whose attributes can be read.

        Raises MissingFileError, CheckpointError."""
        self.networks = Networks.for_metrics(embedded).to(device)
        self.attributes = load_attributes().to(device) if embedded else None

    def names(self, losses: Networks | None = None) -> dict[str, str]:
        """Which networks measure, and which of them `losses` minimise too."""
        return self.networks.names(losses)

    @torch.no_grad()
    def compare(self, target: Tensor, image: Tensor) -> dict[str, float]:
        """How near `image` is to `target`, both float [1,3,R,R] in [-1,1], by each of METRICS."""
        return self.compare_all(target, image)[0]

    @torch.no_grad()
    def compare_all(self, target: Tensor, images: Tensor) -> list[dict[str, float]]:
        """The same for each of several pictures [B,3,R,R] of one target, which is read once."""
        with one_thread_if_small(self.networks.perceptual, self.networks.identity):
            pair = Pair(target, images)
            measured = {metric.key: metric.of(pair, self.networks).tolist() for metric in METRICS}
        return [
            {key: round(values[k], 5) for key, values in measured.items()}
            for k in range(len(images))
        ]

    @torch.no_grad()
    def changes(self, before: Tensor, after: Tensor) -> dict[str, float]:
        """The attributes that differ between two pictures float [1,3,R,R] by at least NOTICEABLE
        standard deviations of the domain, the largest first; {} outside the embedded domain."""
        if self.attributes is None:
            return {}
        with one_thread_if_small(self.attributes):
            moved = (self.attributes.codes(after) - self.attributes.codes(before))[0].tolist()
        named = zip(self.attributes.config.names, moved, strict=True)
        changed = [(name, round(x, 3)) for name, x in named if abs(x) >= NOTICEABLE]
        return dict(sorted(changed, key=lambda item: -abs(item[1])))


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
    fitted = {}
    for name, pictures in images.items():
        if len(pictures) not in (1, len(target)):
            raise InputError(
                f"{len(pictures)} pictures {name!r} are compared with {len(target)}: give as many, "
                "or one."
            )
        with one_thread_if_small():
            same_size = resize(pictures, (target.shape[-2], target.shape[-1]), "bicubic")
        fitted[name] = same_size.expand(len(target), -1, -1, -1).to(target)
    rows: list[list[Tensor | None]] = []
    captions, measured = [], []
    for i in range(len(target)):
        versions = torch.cat([pictures[i : i + 1] for pictures in fitted.values()])
        measured.append(judge.compare_all(target[i : i + 1], versions))
        if callback is not None:
            callback(i + 1, len(target), None)
        if i < ROWS:
            rows.append([target[i : i + 1], *versions.split(1)])
            captions.append(["", *map(_nearness, measured[i])])
    means = {
        name: {key: sum(row[k][key] for row in measured) / len(measured) for key in measured[0][k]}
        for k, name in enumerate(fitted)
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


def _nearness(measured: Mapping[str, float]) -> str:
    """What stands under a picture: the measures by networks."""
    seen = [metric for metric in METRICS if metric.network]
    return ", ".join(f"{one.title} {measured[one.key]:.3f}" for one in seen)


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

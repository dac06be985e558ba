"""Directions that are vectors in W or W+, and how an attribute is read off a code. Those of other
projects are read in `published`, which has the TYPE of this class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..codes import Code
from ..errors import InputError, MismatchError
from .base import BaseDirection, Layers, Strength, column
from .syntax import read_layers

LEFT = 0.05  # share of a direction that must be left after others were kept


@dataclass(frozen=True)
class Direction(BaseDirection):
    """w + strength * vectors, as in InterFaceGAN (Shen et al. 2020, section 3.2).

    vectors: float32 [w_dim], the same for every style, or [num_ws, w_dim].
    layers: the styles that it moves, None for all.
    readout, bias: a linear probe of the attribute, float32 [w_dim] or None where none is known:
        value(w) = readout . w + bias, in the direction's unit, 0 for the domain's mean. Of a W+
        code the mean over the styles that are moved is read.
    See `BaseDirection` for the other fields.
    """

    space: ClassVar[str] = "W"  # which W+ belongs to

    vectors: Tensor
    layers: tuple[int, ...] | None = None
    readout: Tensor | None = None
    bias: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.vectors.ndim not in (1, 2):
            raise InputError(
                f"The direction {self.name!r} has the shape {tuple(self.vectors.shape)}, but "
                "[w_dim] or [num_ws, w_dim] is expected."
            )
        check_vectors(self.name, self.vectors)
        if self.readout is not None and self.readout.shape != self.vectors.shape[-1:]:
            raise InputError(
                f"The readout of the direction {self.name!r} has the shape "
                f"{tuple(self.readout.shape)}, but [{self.vectors.shape[-1]}] is expected."
            )

    def __call__(self, code: Code, strength: Strength = 1.0) -> Code:
        """See `BaseDirection`. A code in W of which only some styles move becomes one in W+."""
        self.check(code)
        move = self.spread(code.w.shape[1]).to(code.w)
        uniform = bool((move == move[:1]).all())
        w = code.w + column(strength, code.w) * move
        return code.with_w(w, code.space if uniform else "W+")

    @property
    def length(self) -> float:
        """The norm of the vectors, the mean over the styles: 1 for InterFaceGAN's unit normals."""
        return float(self.vectors.norm(dim=-1).mean())

    def value(self, code: Code, layers: Layers = None) -> Tensor:
        if self.readout is None:
            return super().value(code)
        self.check(code)
        moved = list(self.moved(code.w.shape[1], layers))
        return code.w[:, moved].mean(1) @ self.readout.to(code.w) + self.bias

    def spread(self, num_ws: int, layers: Layers = None) -> Tensor:
        """What a strength of 1 adds to a code: [num_ws, w_dim], 0 where nothing moves."""
        rows = self.vectors.expand(num_ws, -1)
        mask = torch.zeros(num_ws, 1, dtype=rows.dtype, device=rows.device)
        mask[list(self.moved(num_ws, layers))] = 1
        return rows * mask

    def moved(self, num_ws: int, layers: Layers = None) -> tuple[int, ...]:
        """The styles that move: those asked for, else the direction's own, else all."""
        chosen = parse_layers(self.layers if layers is None else layers, num_ws)
        return tuple(range(num_ws)) if chosen is None else chosen

    def check_shape(self, code: Code) -> None:
        num_ws, w_dim = code.w.shape[1:]
        if self.vectors.shape not in ((w_dim,), (num_ws, w_dim)):
            raise MismatchError(
                f"The direction {self.name!r} has the shape {tuple(self.vectors.shape)}, but the "
                f"code has {num_ws} styles of {w_dim} dimensions: use a direction of the same "
                "generator."
            )

    def conditioned(
        self, num_ws: int, layers: Layers = None, keep: Sequence[BaseDirection] = ()
    ) -> Direction:
        """Conditional manipulation (InterFaceGAN, section 3.3): orthogonal to what is kept, and the
        same change of its own attribute. In double precision, on the CPU."""
        moved = self.moved(num_ws, layers)
        move = self.spread(num_ws, layers).cpu().double()
        chosen = replace(self, vectors=move, layers=moved)
        if not keep:
            return chosen
        kept = torch.stack([k.probe(moved, num_ws).flatten() for k in keep])  # [K, N*w_dim]
        shares = torch.linalg.pinv(kept @ kept.T, hermitian=True) @ (kept @ move.flatten())
        rest = move - (shares @ kept).view_as(move)
        if self.readout is None:
            before, after = move.norm(), rest.norm()  # InterFaceGAN: the same length
        else:
            own = self.probe(moved, num_ws)
            before, after = (own * move).sum(), (own * rest).sum()  # the same change of its own
        if float(rest.norm() / move.norm()) < LEFT or float(after / before) < LEFT:
            names = ", ".join(k.name for k in keep)
            raise InputError(
                f"Nothing of the direction {self.name!r} is left when {names} must stay as it is: "
                "keep fewer attributes."
            )
        return replace(chosen, vectors=rest * (before / after))

    def probe(self, styles: Sequence[int], num_ws: int) -> Tensor:
        rows = self.vectors if self.readout is None else self.readout
        form = torch.zeros(num_ws, self.vectors.shape[-1], dtype=torch.double)
        chosen = list(styles)
        form[chosen] = rows.cpu().double().expand(num_ws, -1)[chosen] / len(chosen)
        return form

    def scaled(self, factor: float) -> Direction:
        """See `BaseDirection`. The units are as much larger: the value that it reads falls."""
        return replace(
            self,
            vectors=self.vectors * factor,
            readout=None if self.readout is None else self.readout / factor,
            bias=self.bias / factor,
            range=scaled_range(self.range, factor),
        )

    def lies(self) -> str:
        return "is a vector in W"

    def describe(self) -> dict[str, Any]:
        return {"shape": list(self.vectors.shape), "length": round(self.length, 4)}


def parse_layers(layers: Layers, num_ws: int) -> tuple[int, ...] | None:
    """Styles as numbers from 0 on, or as text such as "0-3+6"; None stays None.

    Raises InputError for what cannot be read or is not in the generator."""
    if layers is None:
        return None
    chosen = read_layers(layers if isinstance(layers, str) else "+".join(map(str, layers)))
    if chosen[-1] >= num_ws:
        raise InputError(
            f"There is no layer {chosen[-1]}: this generator has the layers 0 to {num_ws - 1}, of "
            "which some are chosen as in 0-3+6."
        )
    return chosen


def check_vectors(name: str, vectors: Tensor) -> None:
    """Raise InputError for a direction that leads nowhere."""
    if not bool(torch.isfinite(vectors).all()) or not bool(vectors.any()):
        raise InputError(
            f"The direction {name!r} is zero or holds values that are not finite: it cannot be "
            "followed; use another file."
        )


def scaled_range(limits: tuple[float, float] | None, factor: float) -> tuple[float, float] | None:
    """A range of strengths in units that are `factor` times as large."""
    return None if limits is None else (limits[0] / factor, limits[1] / factor)

"""What a direction is: the vectors that a strength of 1 adds, and how an attribute is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..codes import Code
from ..errors import InputError, MismatchError
from .strengths import read_layers

UNITS = ("sd", "raw")
SPACES = ("W", "S")
Layers = str | Sequence[int] | None


@dataclass(frozen=True)
class Direction:
    """One way to change a picture, in the latent space of one generator.

    vectors: float32 [w_dim], the same for every style, or [num_ws, w_dim]; in StyleSpace
        [channels], those of all `Synthesis.style_layers` one after the other.
    layers: the styles that it moves, None for all.
    unit: "sd": a strength of 1 is one standard deviation of the attribute (in StyleSpace: of the
        channels) over the domain.
        "raw": a strength of 1 is the vector as it was found, such as InterFaceGAN's unit normal.
    readout, bias: a linear probe of the attribute, float32 [w_dim] or None where none is known:
        value(w) = readout . w + bias, in the direction's unit, 0 for the domain's mean. Of a W+
        code the mean over the styles that are moved is read.
    range: the strengths, from the domain's mean, between which the domain lies, None if unknown.
    generator: fingerprint of the generator whose space it is, "" if unknown.
    curve: measured (strength, change of the attribute in standard deviations), see `calibrate`.
    meaning: what it does, in a few words.
    space: "W", which W+ belongs to, or "S", StyleSpace: without layers and readout.
    """

    name: str
    vectors: Tensor
    layers: tuple[int, ...] | None = None
    unit: str = "raw"
    readout: Tensor | None = None
    bias: float = 0.0
    range: tuple[float, float] | None = None
    generator: str = ""
    curve: tuple[tuple[float, float], ...] = ()
    meaning: str = ""
    space: str = "W"

    def __post_init__(self) -> None:
        if self.vectors.ndim not in (1, 2):
            raise InputError(
                f"The direction {self.name!r} has the shape {tuple(self.vectors.shape)}, but "
                "[w_dim] or [num_ws, w_dim] is expected."
            )
        if not bool(torch.isfinite(self.vectors).all()) or not bool(self.vectors.any()):
            raise InputError(
                f"The direction {self.name!r} is zero or holds values that are not finite: it "
                "cannot be followed; use another file."
            )
        if self.readout is not None and self.readout.shape != self.vectors.shape[-1:]:
            raise InputError(
                f"The readout of the direction {self.name!r} has the shape "
                f"{tuple(self.readout.shape)}, but [{self.vectors.shape[-1]}] is expected."
            )
        if self.unit not in UNITS:
            raise InputError(f'The unit of a direction is "sd" or "raw", not {self.unit!r}.')
        if self.space not in SPACES:
            raise InputError(f'The space of a direction is "W" or "S", not {self.space!r}.')
        if self.space == "S" and not (
            self.vectors.ndim == 1 and self.layers is None and self.readout is None
        ):
            raise InputError(
                f"The direction {self.name!r} lies in StyleSpace, where a direction has one number "
                "for each channel, no layers and no readout: leave these out."
            )

    @property
    def length(self) -> float:
        """The norm of the vectors, the mean over the styles: 1 for InterFaceGAN's unit normals."""
        return float(self.vectors.norm(dim=-1).mean())

    def value(self, code: Code, layers: Layers = None) -> Tensor:
        """What the readout says of each code: float32 [B]. Raises InputError without a readout."""
        if self.readout is None:
            raise InputError(
                f"The direction {self.name!r} has no readout, so the value that a code has is not "
                "known: edit by a strength, or fit a direction to labelled codes."
            )
        self.check(code)
        moved = list(self.moved(code.w.shape[1], layers))
        return code.w[:, moved].mean(1) @ self.readout.to(code.w) + self.bias

    def spread(self, num_ws: int, layers: Layers = None) -> Tensor:
        """What a strength of 1 adds to a code: float32 [num_ws, w_dim], 0 where nothing moves."""
        rows = self.vectors.expand(num_ws, -1)
        mask = torch.zeros(num_ws, 1, dtype=rows.dtype, device=rows.device)
        mask[list(self.moved(num_ws, layers))] = 1
        return rows * mask

    def moved(self, num_ws: int, layers: Layers = None) -> tuple[int, ...]:
        """The styles that move: those asked for, else the direction's own, else all."""
        chosen = parse_layers(self.layers if layers is None else layers, num_ws)
        return tuple(range(num_ws)) if chosen is None else chosen

    def check(self, code: Code) -> None:
        """Raise MismatchError unless the direction lies in the code's latent space."""
        num_ws, w_dim = code.w.shape[1:]
        if self.space == "S":
            if code.offsets is not None and code.offsets.shape[1:] != self.vectors.shape:
                raise MismatchError(
                    f"The direction {self.name!r} has {len(self.vectors)} style channels, but the "
                    f"code {code.offsets.shape[1]}: use a direction of the same generator."
                )
        elif self.vectors.shape not in ((w_dim,), (num_ws, w_dim)):
            raise MismatchError(
                f"The direction {self.name!r} has the shape {tuple(self.vectors.shape)}, but the "
                f"code has {num_ws} styles of {w_dim} dimensions: use a direction of the same "
                "generator."
            )
        if self.generator and code.generator and self.generator != code.generator:
            raise MismatchError(
                f"The direction {self.name!r} belongs to the generator {self.generator}, but the "
                f"code to {code.generator}: use directions of the code's generator."
            )

    def to(self, device: torch.device | str) -> Direction:
        readout = None if self.readout is None else self.readout.to(device)
        return replace(self, vectors=self.vectors.to(device), readout=readout)

    def scaled(self, factor: float) -> Direction:
        """The same direction with a strength of 1 that goes `factor` times as far, in units that
        are as much larger: the value that it reads falls by that factor."""
        readout = None if self.readout is None else self.readout / factor
        limits = None if self.range is None else (self.range[0] / factor, self.range[1] / factor)
        return replace(
            self,
            vectors=self.vectors * factor,
            readout=readout,
            bias=self.bias / factor,
            range=limits,
        )


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

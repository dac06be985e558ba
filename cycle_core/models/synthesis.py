"""w -> image: what the synthesis networks of StyleGAN2 and StyleGAN3 share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..errors import InputError
from .flow import flow, moved
from .layers import StyleLayer
from .settings import NOISE_MODES


class BelowDetail(NamedTuple):
    """What a synthesis network has made of a code where the detail comes in."""

    features: Tensor  # [B,C,s,s]
    image: Tensor | None  # of the blocks below, where they make one: [B,3,s/2,s/2]
    styles: list[Any]


class Synthesis(nn.Module, ABC):
    """What the synthesis networks share; their own `forward` tells the rest.

    gradient_checkpointing: whether a block's activations are computed again in the backward pass
    instead of kept: a quarter more time and a tenth to a fifth less memory (docs/performance.md).
    The gradients are the same.
    detail: float [1,C,s,s], added to the features after block `detail_at`, or None: what a tuned
    generator renders of one picture beyond what weights and code say, see `tune`.
    detail_code: float [1, num_ws, w_dim], the code of that picture: where another code is rendered,
    the detail goes where its place went (`flow`), and fades where that is nowhere. None: it stays
    where it is."""

    detail: nn.Parameter | None
    detail_code: Tensor | None

    def __init__(self, num_ws: int, w_dim: int):
        super().__init__()
        self.num_ws, self.w_dim = num_ws, w_dim
        self.gradient_checkpointing = False
        self.register_parameter("detail", None)
        self.register_buffer("detail_code", None)
        self.detail_at = -1

    @property
    @abstractmethod
    def feature_shapes(self) -> list[tuple[int, int, int]]:
        """(channels, height, width) of the features after every block."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sides of the smaller pictures that `forward` renders by its lower blocks alone."""
        return ()

    def check_size(self, size: int) -> int:
        """Gives it. Raises InputError where it is none of `sizes`."""
        if size not in self.sizes:
            raise InputError(
                f"This generator renders no pictures of {size} pixels, but of "
                f"{', '.join(map(str, self.sizes)) or 'its own size only'}."
            )
        return size

    def add_detail(self, size: int) -> nn.Parameter:
        """Begin a map of zeros after the last block whose features are at most of this size."""
        shapes = self.feature_shapes
        sides = [max(shape[1:]) for shape in shapes]
        fitting = [i for i, side in enumerate(sides) if side <= max(size, sides[0])]
        return self.put_detail(fitting[-1], None)

    def put_detail(self, block: int, values: Tensor | None) -> nn.Parameter:
        """A map after a block, zeros if None. Raises InputError where it does not fit."""
        shapes = self.feature_shapes
        if not 0 <= block < len(shapes):
            raise InputError(f"There is no block {block}: this generator has {len(shapes)}.")
        shape = (1, *shapes[block])
        if values is None:
            values = torch.zeros(shape, device=next(self.parameters()).device)
        if values.shape != shape:
            raise InputError(
                f"The detail has the shape {list(values.shape)}, but block {block} of this "
                f"generator takes {list(shape)}."
            )
        self.detail, self.detail_at = nn.Parameter(values), block
        return self.detail

    def with_detail_code(self, w: Tensor, offsets: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The codes behind the detail's own, where the detail moves for any of them: what is
        rendered of the first row tells `moved_detail` from where. Else as they are."""
        code = self.detail_code
        if self.detail is None or code is None or (offsets is None and bool((w == code).all())):
            return w, offsets
        return torch.cat([code.to(w), w]), None if offsets is None else F.pad(offsets, (0, 0, 1, 0))

    @torch.no_grad()
    def rest_detail(self, w: Tensor) -> None:
        """Make the map the detail of another code, [1, num_ws, w_dim]: as it has moved there."""
        if self.detail is None or self.detail_code is None or bool((w == self.detail_code).all()):
            return
        rows, _ = self.with_detail_code(w, None)
        self.detail.copy_(self.moved_detail(self.below_detail(rows).features))
        self.detail_code = w

    @abstractmethod
    def below_detail(self, w: Tensor, dtype: torch.dtype | None = None) -> BelowDetail:
        """What lies below the detail, with constant noise. w, dtype: as `forward`."""

    @abstractmethod
    def above_detail(
        self, below: BelowDetail, detail: Tensor | None, noise: str = "const"
    ) -> Tensor:
        """The picture [B,3,R,R] of what `below_detail` gave and a detail [1 or B, C, s, s]. Parts
        of both, cut out alike, give that part of the picture, where noise is "none"."""

    def moved_detail(self, features: Tensor) -> Tensor:
        """The detail for each row but the first, whose picture it belongs to, from the features
        [1 + B, C, s, s] at its place; [B, C, s, s]."""
        assert self.detail is not None
        found, likeness = flow(features[:1], features[1:])
        return moved(self.detail, found) * likeness

    def detail_of(self, block: int) -> Tensor | None:
        return self.detail if block == self.detail_at else None

    @property
    @abstractmethod
    def style_layers(self) -> list[StyleLayer]:
        """Every layer that takes a style, in the order of the styles."""

    @property
    def style_channels(self) -> tuple[int, ...]:
        """The number of channels of each layer of StyleSpace."""
        return tuple(layer.affine.bias.shape[0] for layer in self.style_layers)

    def styles(self, w: Tensor, noise: str, offsets: Tensor | None) -> list[Tensor]:
        """The styles [B, channels] of every layer. Raises InputError as `forward`."""
        if w.ndim != 3 or w.shape[1:] != (self.num_ws, self.w_dim):
            raise InputError(
                f"The codes have the shape {tuple(w.shape)}, but this generator takes "
                f"[batch, {self.num_ws}, {self.w_dim}]."
            )
        if noise not in NOISE_MODES:
            raise InputError(f"The noise is one of {', '.join(NOISE_MODES)}, not {noise!r}.")
        styles = [layer.affine(w[:, layer.style]) for layer in self.style_layers]
        if offsets is None:
            return styles
        parts = offsets.split(self.style_channels, dim=1)
        return [style + part for style, part in zip(styles, parts, strict=True)]

    def run(self, block: nn.Module, *inputs: Any, random: bool = False) -> Any:
        """block(*inputs), checkpointed if wanted. random: whether it uses random numbers."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=random)
        return block(*inputs)

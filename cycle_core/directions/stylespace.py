"""StyleSpace: directions that move the style channels themselves.

A generator makes of w, layer by layer, the factors of its convolutions' input channels. These style
channels are the space S of "StyleSpace Analysis" (Wu, Lischinski and Shechtman 2021): 26 layers and
9,088 channels at 1024, of which 6,048 belong to convolutions and 3,040 to the RGB outputs. A single
channel often changes one thing in one place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..codes import Code
from ..errors import InputError, MismatchError
from ..models.generator import Generator
from .base import BaseDirection, DirectionType, Strength, column
from .clip_text import read_texts, text_difference
from .direction import check_vectors, scaled_range
from .discovery import style_matrix, w_statistics
from .published import load_relevances, load_style_deviations, load_vectors

BETA = 0.15  # in the range that StyleCLIP's authors use, 0.08 (broad) to 0.3 (a few channels)
_CHANNEL = re.compile(r"S:(\d{1,6})_(\d{1,6})")
_GLOBAL = re.compile(r"(.+\.npy):(.+\.(?:npy|pt|pth|txt))(?::(\d{0,9}\.?\d{1,9}))?")


@dataclass(frozen=True)
class StyleDirection(BaseDirection):
    """Style offsets + strength * vectors, with vectors float32 [channels]: those of all
    `Synthesis.style_layers` one after the other. See `BaseDirection` for the other fields."""

    space: ClassVar[str] = "S"

    vectors: Tensor

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.vectors.ndim != 1:
            raise InputError(
                f"The direction {self.name!r} lies in StyleSpace, where a direction has one number "
                f"for each channel, but {list(self.vectors.shape)} was given."
            )
        check_vectors(self.name, self.vectors)

    def __call__(self, code: Code, strength: Strength = 1.0) -> Code:
        self.check(code)
        vectors = self.vectors.to(code.w)
        move = column(strength, vectors[None]) * vectors  # [1 or B, channels]
        before = torch.zeros_like(move) if code.offsets is None else code.offsets
        return replace(code, offsets=(before + move).expand(code.batch, -1))

    def check_shape(self, code: Code) -> None:
        if code.offsets is not None and code.offsets.shape[1:] != self.vectors.shape:
            raise MismatchError(
                f"The direction {self.name!r} has {len(self.vectors)} style channels, but the "
                f"code {code.offsets.shape[1]}: use a direction of the same generator."
            )

    def scaled(self, factor: float) -> StyleDirection:
        limits = scaled_range(self.range, factor)
        return replace(self, vectors=self.vectors * factor, range=limits)

    def lies(self) -> str:
        return "lies in StyleSpace"

    def describe(self) -> dict[str, Any]:
        return {"shape": list(self.vectors.shape), "length": round(float(self.vectors.norm()), 4)}


def style_deviations(G: Generator, samples: int = 4000, seed: int = 0) -> Tensor:
    """The standard deviation of every style channel over random z: float32 [channels].

    With C the covariance of w and a the row of the affine map that makes the channel,
    sqrt(a C a^T): only w is sampled, 4,000 times to be exact to one or two parts in a hundred."""
    _, covariance = w_statistics(G, samples, seed)
    matrix = torch.cat([style_matrix(layer) for layer in G.synthesis.style_layers])
    return ((matrix @ covariance) * matrix).sum(1).clamp(min=0).sqrt().float()


def style_channel(
    G: Generator, layer: int, channel: int, deviations: Tensor | None = None
) -> StyleDirection:
    """One style channel as a direction, in units of its standard deviation.

    layer: from 0 on, RGB outputs counted, as StyleSpace counts them (0-25 at 1024); channel: from 0
    on. deviations: float [channels] as `style_deviations` computes them, which is done if None.
    Raises InputError for a channel that the generator does not have."""
    sizes = G.synthesis.style_channels
    if not 0 <= layer < len(sizes) or not 0 <= channel < sizes[layer]:
        known = f"layers 0 to {len(sizes) - 1}"
        if 0 <= layer < len(sizes):
            known = f"channels 0 to {sizes[layer] - 1} in layer {layer}"
        raise InputError(
            f"There is no style channel {layer}_{channel} in this generator, which has {known}: "
            "choose one of these."
        )
    deviations = style_deviations(G) if deviations is None else _of_all(G, deviations)
    vectors = torch.zeros(sum(sizes))
    index = sum(sizes[:layer]) + channel
    vectors[index] = deviations[index]
    name = f"S:{layer}_{channel}"
    return StyleDirection(name, vectors, unit="sd", generator_id=G.base_fingerprint)


def global_direction(
    G: Generator,
    relevance: Tensor,
    text: Tensor,
    beta: float = BETA,
    deviations: Tensor | None = None,
    name: str = "global",
) -> StyleDirection:
    """StyleCLIP's global direction of a text (Patashnik et al. 2021, section 6).

    A channel's relevance to the text is the product of its row with the text's unit vector.
    Channels less relevant than beta stay; the others move by their relevance, the greatest being 1,
    times their standard deviation. A strength of 1 is StyleCLIP's alpha of 1.

    relevance: float [conv channels, D], how the embedding of the picture moves with each channel
        (`fs3.npy`). text: float [D], the embedding of the wanted text less that of a neutral one.
    beta: 0.08 changes much, 0.3 a few channels. deviations: float [channels] or [conv channels],
        StyleCLIP's S_mean_std; those of `style_deviations` if None.
    Raises MismatchError for another number of channels or dimensions, InputError where no channel
    reaches beta or the text says nothing."""
    convolutions = _convolution_mask(G)
    count = int(convolutions.sum())
    if relevance.ndim != 2 or len(relevance) != count:
        raise MismatchError(
            f"The relevances have the shape {tuple(relevance.shape)}, but this generator has "
            f"{count} convolution channels: use those that were computed for it."
        )
    text = text.detach().cpu().double().flatten()
    if len(text) != relevance.shape[1]:
        raise MismatchError(
            f"The text has {len(text)} dimensions, but the relevances {relevance.shape[1]}: embed "
            "it with the network of the relevances, CLIP ViT-B/32 in StyleCLIP."
        )
    length = float(text.norm())
    if not 0 < length < float("inf"):
        raise InputError(
            "The difference of the texts is zero or not finite: embed two texts that differ."
        )
    scores = relevance.detach().cpu().double() @ (text / length)  # [conv channels]
    greatest = float(scores.abs().max())
    if not greatest >= beta or greatest == 0:
        raise InputError(
            f"No channel is as relevant to the text as beta = {beta:g}, the greatest relevance is "
            f"{greatest:.3g}: give a smaller beta."
        )
    scores = torch.where(scores.abs() < beta, 0.0, scores) / greatest
    deviations = style_deviations(G) if deviations is None else _of_all(G, deviations)
    vectors = torch.zeros(len(convolutions))
    vectors[convolutions] = scores.float() * deviations[convolutions]
    return StyleDirection(name, vectors, unit="sd", generator_id=G.base_fingerprint)


def _convolution_mask(G: Generator) -> Tensor:
    """Which channels belong to convolutions and not to the RGB outputs: bool [channels]."""
    layers = zip(G.synthesis.style_layers, G.synthesis.style_channels, strict=True)
    return torch.cat([torch.full((size,), not layer.rgb) for layer, size in layers])


def _of_all(G: Generator, deviations: Tensor | Sequence[float]) -> Tensor:
    """Standard deviations of all channels, 0 for the RGB ones where they are not given."""
    given = torch.as_tensor(deviations).detach().cpu().float().flatten()
    convolutions = _convolution_mask(G)
    if len(given) == int(convolutions.sum()):
        whole = torch.zeros(len(convolutions))
        whole[convolutions] = given
        return whole
    if len(given) != len(convolutions):
        raise MismatchError(
            f"{len(given)} standard deviations were given, but this generator has "
            f"{len(convolutions)} style channels, {int(convolutions.sum())} of them of "
            "convolutions: use the statistics that were computed for it."
        )
    return given


def _is_named(name: str) -> bool:
    return bool(_CHANNEL.fullmatch(name) or _GLOBAL.fullmatch(name))


def _made(name: str, generator: Generator) -> StyleDirection:
    """ "S:6_501" or "fs3.npy:smile.npy:0.15", see `files.load_direction`."""
    if match := _CHANNEL.fullmatch(name):
        return style_channel(generator, int(match[1]), int(match[2]))
    match = _GLOBAL.fullmatch(name)
    assert match is not None  # by `_is_named`
    relevance, text = Path(match[1]), Path(match[2])
    statistics = relevance.with_name("S_mean_std")
    return global_direction(
        generator,
        load_relevances(relevance),
        text_difference(*read_texts(text))
        if text.suffix == ".txt"
        else load_vectors(text, "the difference of two text embeddings [512]"),
        float(match[3] or BETA),
        load_style_deviations(statistics) if statistics.is_file() else None,
        text.stem,
    )


TYPE = DirectionType(StyleDirection, named=_is_named, made=_made)

"""The encoders: a picture -> a code in W, W+ or anything between.

Encoder4editing's architecture (Tov et al. 2021) as Cycle Encoding uses it (docs/method.md): an
IR-SE body, a pyramid of three levels, one map-to-style head for each style input. Head 0 gives w_0,
head i gives D_i; at stage s the heads 0..s are active, so stage 0 is W. Tensor names are those of
the published checkpoints without their prefix `encoder.`.

Its relatives differ in the configuration alone: in pSp (Richardson et al. 2021) each head gives a
whole w of its own, or one head gives the w of all styles; ReStyle (Alaluf et al. 2021) corrects its
code several times, looking at the picture and at what the generator renders of the code so far.

The published code switches on every head when it refines and when it is used, although training
ended with them off. Here the default is the stage that was trained last, and any other can be asked
for by number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError, MismatchError
from ..images.resize import average_pool, resize
from .generator import Generator
from .irse import Conv2d, IdentityNet, check_body, make_body
from .layers import Linear


@dataclass(frozen=True)
class EncoderConfig:
    """The defaults are the published encoder of a 1024 px generator (267 M parameters)."""

    num_ws: int = 18  # style inputs of the generator
    w_dim: int = 512
    input_size: int = 256
    widths: tuple[int, ...] = (64, 64, 128, 256, 512)  # of the input layer and the four stages
    units: tuple[int, ...] = (3, 4, 14, 3)
    reduction: int = 16  # of squeeze-and-excitation, 0 for none
    stem_stride: int = 1
    head_width: int | None = None  # channels inside the heads, w_dim if None
    coarse: int = 3  # heads below this read the coarse level,
    middle: int = 7  # heads below this the middle one, the others the fine one
    stage: int | None = None  # trained last, the last one if None
    deltas: bool = True  # head i gives D_i; False: a whole w (pSp)
    pooled: bool = False  # one head, which reads the mean of the coarse level: W only
    iterations: int = 0  # of ReStyle; 0: the code is given at once
    resnet: bool = False  # the body is a ResNet
    rows: tuple[int, int] | None = None  # of the square picture that are read, all if None
    farthest: float | None = None  # distance from the mean at which codes end, None for no end

    def __post_init__(self) -> None:
        check_body(self.widths, self.units, self.stem_stride, self.input_size)
        top, bottom = self.rows or (0, self.input_size)
        stage = 0 if self.stage is None else self.stage
        if not 0 <= stage < self.num_ws or not 0 <= top < bottom <= self.input_size:
            raise InputError(
                f"Stage {self.stage} and rows {self.rows} are not within the {self.num_ws} styles "
                f"and the {self.input_size} rows of the encoder."
            )
        if self.input_size & (self.input_size - 1):
            raise InputError(
                f"The encoder's input size is a power of two, because its heads halve it down to "
                f"one pixel, not {self.input_size}."
            )

    @classmethod
    def for_generator(cls, generator: Generator) -> EncoderConfig:
        """The published encoder for generators as large and as rich as those that it was made for,
        the embedded one for smaller or narrower ones."""
        if is_full_size(generator):
            return cls(num_ws=generator.num_ws, w_dim=generator.w_dim)
        return cls.embedded(generator.num_ws, generator.w_dim, min(generator.resolution, 128))

    @classmethod
    def embedded(cls, num_ws: int, w_dim: int, input_size: int = 64) -> EncoderConfig:
        """A small encoder that trains on a CPU; its body has the shape of the embedded identity
        network's, see `Encoder.init_body`."""
        return cls(
            num_ws=num_ws,
            w_dim=w_dim,
            input_size=input_size,
            widths=EMBEDDED_WIDTHS,
            units=EMBEDDED_UNITS,
            reduction=EMBEDDED_REDUCTION,
            stem_stride=2,
            head_width=EMBEDDED_HEAD_WIDTH,
        )


def is_full_size(generator: Generator) -> bool:
    """Whether a generator is of the size of the published ones: 256 pixels, 512 dimensions of w.
    What is smaller in either is of the embedded kind, made to train on a CPU."""
    return generator.resolution >= 256 and generator.w_dim >= 512


EMBEDDED_WIDTHS = (24, 24, 48, 96, 128)
EMBEDDED_UNITS = (1, 2, 2, 2)
EMBEDDED_REDUCTION = 8
EMBEDDED_HEAD_WIDTH = 64


class Encoder(nn.Module):
    w_avg: Tensor

    def __init__(self, config: EncoderConfig | None = None):
        super().__init__()
        self.config = config = config or EncoderConfig()
        self.generator_id = ""  # fingerprint of the generator that it was trained for
        self.origin = ""  # of the one before `adopt` took it for another
        self.input_layer, self.body = make_body(
            config.widths,
            config.units,
            config.reduction,
            config.stem_stride,
            config.resnet,
            6 if config.iterations else 3,
        )
        fine, middle, coarse = config.widths[2:]
        if config.coarse < config.num_ws and not config.pooled:
            self.latlayer1 = Conv2d(middle, coarse, 1)
            self.latlayer2 = Conv2d(fine, coarse, 1)
        head_width = config.head_width or config.w_dim
        sizes = [config.input_size // 2 ** (4 - self._level(i)) for i in range(config.num_ws)]
        self.styles = nn.ModuleList(
            [PooledHead(coarse, config.w_dim)]
            if config.pooled
            else [Head(coarse, head_width, config.w_dim, size) for size in sizes]
        )
        self.register_buffer("w_avg", torch.zeros(config.num_ws, config.w_dim))

    @property
    def spaces(self) -> tuple[str, ...]:
        """The spaces that it can encode into; both only where head 0 stands for all styles."""
        if self.config.pooled:
            return ("W",)
        return ("W", "W+") if self.config.deltas else ("W+",)

    @property
    def stages(self) -> range:
        """The stages that there are: 0 is W, num_ws - 1 is W+."""
        last = self.config.num_ws - 1
        first = 0 if "W" in self.spaces else last
        return range(first, 1 if self.config.pooled else last + 1)

    @property
    def stage(self) -> int:
        """The stage that was trained last, the default of `forward`. Assign to change it; it is
        part of `config` and so of a saved file."""
        return self.stages[-1] if self.config.stage is None else self.config.stage

    @stage.setter
    def stage(self, stage: int) -> None:
        self.config = replace(self.config, stage=self._checked(stage))

    def forward(self, image: Tensor, stage: int | None = None) -> Tensor:
        """image: float [B, 3, S, S] in [-1, 1] with S = config.input_size (see `resize`); ReStyle
        takes [B, 6, S, S], the picture and what the generator renders of its code so far.
        stage: 0 (W) ... num_ws - 1 (W+); the stage trained last if None.
        Gives offsets [B, num_ws, w_dim]: the code is `w_avg + offsets`, in ReStyle the code so far
        plus them. Row i is w_0 + D_i, and equals row 0 where i > stage; in pSp it is head i's own.
        Raises InputError where a shape or the stage is wrong."""
        stage = self.stage if stage is None else self._checked(stage)
        self._check_image(image)
        levels = self._levels(image, stage)
        w0 = self.styles[0](levels[0])
        rows = [w0]
        for i in range(1, self.config.num_ws):
            if i > stage:
                rows.append(w0)
                continue
            row = self.styles[i](levels[self._level(i)])
            rows.append(w0 + row if self.config.deltas else row)
        return torch.stack(rows, dim=1)  # [B, N, w_dim]

    def encode(
        self,
        image: Tensor,
        stage: int | None = None,
        generator: Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """The code [B, num_ws, w_dim] of pictures [B, 3, H, W] of any size in [-1, 1].

        It is `w_avg + forward(resize(image))`, or nearer to `w_avg` where that is farther from it
        than `farthest`: of pictures unlike all that it was trained on, an encoder gives codes far
        outside of W, of which no generator makes a picture. ReStyle begins with `w_avg` and adds as
        much in each of its iterations: it sees what `generator` renders, with constant noise, and
        corrects it.
        dtype: that the encoder multiplies in, that of the weights if None; the code is summed up in
        float32.
        Raises InputError where ReStyle is given no generator."""
        image = self.resize(image)
        if not self.config.iterations:
            return self._within(self.w_avg + self._offsets(image, stage, dtype))
        if generator is None:
            raise InputError(
                "This is a ReStyle encoder, which compares the picture with what the generator "
                "renders of its code: give the generator, too."
            )
        w = self.w_avg[None]
        for _ in range(self.config.iterations):
            rendered = average_pool(generator.synthesis(w, "const"), self.config.input_size)
            rendered = self._cut(rendered).expand(len(image), -1, -1, -1)
            w = w + self._offsets(torch.cat([image, rendered], dim=1), stage, dtype)
        return self._within(w)

    def _within(self, w: Tensor) -> Tensor:
        """Codes at most `farthest` from the mean; those that are stay as they are, to the bit."""
        if self.config.farthest is None:
            return w
        offsets = w - self.w_avg
        distance = offsets.norm(dim=-1, keepdim=True)
        pulled = self.w_avg + offsets * (self.config.farthest / distance.clamp(min=1e-8))
        return torch.where(distance > self.config.farthest, pulled, w)

    def resize(self, image: Tensor) -> Tensor:
        """Square pictures [B, 3, H, W] at the encoder's input size, antialiased; only the rows that
        it reads."""
        return self._cut(resize(image, self.config.input_size))

    def init_body(self, identity: IdentityNet | Encoder) -> None:
        """Take over the body of an identity network, where training starts in the paper, or of
        another encoder.

        Raises MismatchError where the bodies have different shapes."""
        own, given = self.config, identity.config
        if any(
            getattr(own, part) != getattr(given, part)
            for part in ("widths", "units", "reduction", "stem_stride")
        ) or (own.resnet or own.iterations):
            raise MismatchError(
                f"The encoder's body has the widths {own.widths} and units {own.units}, the "
                f"given one's {given.widths} and {given.units}: give both the same."
            )
        self.input_layer.load_state_dict(identity.input_layer.state_dict())
        self.body.load_state_dict(identity.body.state_dict())

    def _offsets(self, image: Tensor, stage: int | None, dtype: torch.dtype | None) -> Tensor:
        if dtype in (None, image.dtype):
            return self(image, stage)
        # weights are cast as they are used: a copy in another dtype would have to follow them
        with torch.autocast(image.device.type, dtype):
            return self(image, stage).float()

    def _levels(self, image: Tensor, stage: int) -> list[Tensor]:
        """The pyramid: coarse, middle, fine (the latter only if a head of this stage reads it)."""
        ends = [sum(self.config.units[: i + 1]) - 1 for i in range(4)]
        features = []
        if image.device.type != "mps":  # which has convolved parts of such tensors wrongly
            image = image.contiguous(memory_format=torch.channels_last)  # a quarter faster
        x = self.input_layer(image)
        for i, unit in enumerate(self.body):
            x = unit(x)
            if i in ends:
                features.append(x)
        _, fine, middle, coarse = features
        levels = [coarse]
        if stage >= self.config.coarse:
            levels.append(_upsample_add(coarse, self.latlayer1(middle)))
        if stage >= self.config.middle:
            levels.append(_upsample_add(levels[1], self.latlayer2(fine)))
        return levels

    def _level(self, head: int) -> int:
        return (head >= self.config.coarse) + (head >= self.config.middle)

    def _checked(self, stage: int) -> int:
        if stage not in self.stages:
            first, last = self.stages[0], self.stages[-1]
            raise InputError(
                f"The stages of this encoder are {first} ({self.spaces[0]}) to {last} "
                f"({self.spaces[-1]}), not {stage}."
            )
        return stage

    def _cut(self, image: Tensor) -> Tensor:
        top, bottom = self.config.rows or (0, self.config.input_size)
        return image[:, :, top:bottom]

    def _check_image(self, image: Tensor) -> None:
        top, bottom = self.config.rows or (0, self.config.input_size)
        shape = (self.input_layer[0].in_channels, bottom - top, self.config.input_size)
        if image.ndim != 4 or image.shape[1:] != shape:
            raise InputError(
                f"The encoder takes images [batch, {', '.join(map(str, shape))}], but "
                f"{tuple(image.shape)} was given: resize them with `encoder.resize`."
            )


class Head(nn.Module):
    """Map to style: 3x3 convolutions of stride 2 down to one pixel, then one linear layer."""

    def __init__(self, in_width: int, width: int, w_dim: int, size: int):
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(int(math.log2(size))):
            layers += [Conv2d(width if i else in_width, width, 3, 2, 1), nn.LeakyReLU()]
        self.convs = nn.Sequential(*layers)
        self.linear = Linear(width if layers else in_width, w_dim)  # 16 px: there is one pixel

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.convs(x).flatten(1))


class PooledHead(nn.Module):
    """The mean over all positions, then one linear layer."""

    def __init__(self, in_width: int, w_dim: int):
        super().__init__()
        self.linear = Linear(in_width, w_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.mean((2, 3)))


def _upsample_add(small: Tensor, large: Tensor) -> Tensor:
    # align_corners as in the published encoders: the weights were trained with it.
    up = F.interpolate(small, large.shape[-2:], mode="bilinear", align_corners=True)
    return up + large

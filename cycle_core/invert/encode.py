"""A picture to its code by the encoder alone, and a code to its picture by the generator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ..codes import SPACES, Code, HasCode, as_code
from ..errors import InputError, MismatchError
from ..models.encoder import Encoder
from ..models.fingerprints import short
from ..models.generator import Generator
from ..runtime.devices import compiled, in_parts, say_once, supported_dtype
from ..runtime.progress import Callback

COMPILING = {"cuda": {"mode": "reduce-overhead"}}  # CUDA graphs: a picture is hundreds of kernels
BATCH = 8  # pictures that pass through a network at once: bounds the memory of a long batch


def encode(
    E: Encoder,
    image: Tensor,
    space: str | None = None,
    generator: Generator | None = None,
    batch: int = BATCH,
    callback: Callback | None = None,
    dtype: torch.dtype | None = None,
    compile: bool = False,
) -> Code:
    """The code that the encoder gives for pictures (docs/method.md), head by head.

    image: float [B,3,H,W] in [-1,1], any size (aligned crops; resized with antialiasing).
    space: "W" uses head 0 alone, "W+" the heads of the stage that was trained last, or every head
        where that stage is 0, which are then stale: they were trained before the last phase. None
        takes the stage that was trained last, in which the encoder is best. An encoder may have
        one space only (`E.spaces`).
    generator: whose codes they are to be; ReStyle needs it, for other encoders it is only checked.
    batch: pictures at once, fewer where memory is not enough (`devices.in_parts`).
    callback(done, total, pictures): after each batch; what it raises ends this.
    dtype: that the encoder multiplies in, float32 if None. The codes differ by a part of their
        distance from the mean: .2 % in torch.float16, which is for GPUs, 1.3 % in torch.bfloat16.
    compile: with torch.compile, which takes minutes before the first picture: for very many.
    Gives a Code with w float32 [B, num_ws, w_dim] that knows its space, stage and generator.
    Raises InputError for another shape or space, for values that are not finite, for ReStyle
    without a generator; MismatchError for another generator than the encoder's."""
    check_image(image)
    stage = stage_of(E, space)
    if generator is not None:
        check_pair(E, generator)
    device = E.w_avg.device
    dtype = supported_dtype(dtype, device)
    fast = compiled(E.encode) if compile else E.encode

    def run(encoder: Encoder, generator: Generator | None, rows: slice) -> tuple[Tensor, Tensor]:
        coded = fast if encoder is E else encoder.encode
        part = image[rows].to(encoder.w_avg.device, torch.float32)
        code = coded(part, stage, generator, dtype)
        if dtype is not None and not bool(torch.isfinite(code).all()):
            say_once(f"This encoder exceeds the range of {dtype}: float32 is used.")
            code = coded(part, stage, generator)
        return part, code.to(device, torch.float32)

    codes: list[Tensor] = []
    with torch.no_grad(), evaluating(E):
        for part, code in in_parts(run, (E, generator), len(image), batch):
            codes.append(code)
            if callback is not None:
                callback(sum(map(len, codes)), len(image), part)
    fingerprint = E.generator_id or (generator.base_fingerprint if generator else "")
    space = "W" if stage == 0 else "W+"
    return Code(torch.cat(codes), space, fingerprint, stage, origin=E.origin)


def generate(
    G: Generator,
    code: Code | HasCode,
    noise: str = "const",
    truncation: float = 1.0,
    seed: int | None = None,
    dtype: torch.dtype | None = None,
    batch: int = BATCH,
    callback: Callback | None = None,
    compile: bool = False,
    size: int | None = None,
) -> Tensor:
    """The pictures of a code: float32 [B,3,R,R], clamped to [-1,1].

    truncation: 1 renders the code itself, 0 the generator's mean face, between them a mixture.
    seed: of random noise, the same for one batch size; None draws from torch's own generator.
    dtype: of the convolutions, such as torch.bfloat16; that of the weights if None.
    batch: pictures at once, fewer where memory is not enough (`devices.in_parts`).
    callback(done, total, pictures): after each batch; what it raises ends this.
    compile: with torch.compile, which takes minutes before the first picture: for very many.
    size: one of `G.synthesis.sizes`, for smaller pictures in less time.
    Raises MismatchError where the code belongs to another generator, InputError for a noise mode
    or a size that there is not."""
    code = as_code(code)
    G.check_code(code)
    w, offsets = code.w.to(G.device), code.offsets
    if truncation != 1.0:
        w = torch.lerp(G.w_avg.to(w), w, truncation)
        offsets = None if offsets is None else offsets * truncation
    dtype = supported_dtype(dtype, w.device)
    fast = compiled(G.synthesis, **COMPILING.get(w.device.type, {})) if compile else G.synthesis

    def run(generator: Generator, rows: slice) -> Tensor:
        synthesis = fast if generator is G else generator.synthesis
        part = w[rows].to(generator.device)
        moved = None if offsets is None else offsets[rows].to(part)
        return synthesis(part, noise, dtype, offsets=moved, size=size).clamp(-1, 1).to(w.device)

    images: list[Tensor] = []
    devices = [w.device] if w.device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices, enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        for rendered in in_parts(run, (G,), len(w), batch):
            images.append(rendered)
            if callback is not None:
                callback(sum(map(len, images)), len(w), rendered)
    return torch.cat(images)


def check_pair(E: Encoder, G: Generator) -> None:
    """Raise MismatchError unless the encoder's codes are codes of the generator."""
    own, wanted = (E.config.num_ws, E.config.w_dim), (G.num_ws, G.w_dim)
    if own != wanted:
        raise MismatchError(
            f"The encoder makes codes of {own[0]} styles of {own[1]} dimensions, but the "
            f"generator takes {wanted[0]} of {wanted[1]}: load the pair that was trained together."
        )
    if E.generator_id and not G.has_space_of(E.generator_id):
        raise MismatchError(
            f"The encoder was trained for the generator {short(E.generator_id)}, but this is "
            f"{short(G.base_fingerprint)}: load the pair that was trained together, or, if one "
            "generator was trained from the other, take them as they are (--same-space)."
        )


def check_photos(G: Generator) -> None:
    """Raise InputError unless the generator's pictures are what a photo can be compared with."""
    channels, height, width = G.image_shape
    if channels != 3 or height != width:
        raise InputError(
            f"This generator makes pictures of {width}x{height} pixels and {channels} channel(s), "
            "with which photos cannot be inverted: square RGB ones are needed. Its codes can be "
            "sampled, edited and rendered."
        )


def stage_of(E: Encoder, space: str | None) -> int:
    """The encoder stage that stands for a space, see `encode`."""
    if space is None:
        return E.stage
    if space not in SPACES:
        raise InputError(f'The space to encode into is "W" or "W+", not {space!r}.')
    if space not in E.spaces:
        raise InputError(
            f"This encoder gives codes in {E.spaces[0]} only: encode into {E.spaces[0]} or choose "
            "an encoder of e4e or Cycle Encoding, which has both spaces."
        )
    return 0 if space == "W" else E.stage or E.stages[-1]


def check_image(image: Tensor) -> None:
    """Raise InputError unless `image` is a batch of finite pictures [B,3,H,W]."""
    if image.ndim != 4 or image.shape[1] != 3 or 0 in image.shape:
        raise InputError(
            f"Pictures have the shape [batch, 3, height, width], but {list(image.shape)} was given."
        )
    if not bool(torch.isfinite(image).all()):
        raise InputError(
            "The picture holds NaN or infinite values: read it again or look at what made it."
        )


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """The module in evaluation mode for a while; its modes are the caller's again afterwards."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True

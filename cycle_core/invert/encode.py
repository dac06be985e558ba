"""A picture to its code: the encoder alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..codes import SPACES, Code
from ..errors import InputError
from ..models.encoder import Encoder
from ..models.generator import Generator
from ..runtime.devices import BATCH, compiled, in_parts, say_once, supported_dtype
from ..runtime.progress import Callback
from .checks import check_image, check_pair


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
    with torch.no_grad(), _evaluating(E):
        for part, code in in_parts(run, (E, generator), len(image), batch):
            codes.append(code)
            if callback is not None:
                callback(sum(map(len, codes)), len(image), part)
    fingerprint = E.generator_id or (generator.base_fingerprint if generator else "")
    space = "W" if stage == 0 else "W+"
    return Code(torch.cat(codes), space, fingerprint, stage, origin=E.origin)


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


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """The module in evaluation mode for a while; its modes are the caller's again afterwards."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True

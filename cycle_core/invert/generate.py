"""A code to its picture: the generator alone."""

from __future__ import annotations

import torch
from torch import Tensor

from ..codes import Code, HasCode, as_code
from ..models.generator import Generator
from ..models.settings import GenerateSettings
from ..runtime.devices import BATCH, compiled, in_parts, supported_dtype
from ..runtime.progress import Callback

COMPILING = {"cuda": {"mode": "reduce-overhead"}}  # CUDA graphs: a picture is hundreds of kernels


def generate(
    G: Generator,
    code: Code | HasCode,
    noise: str = GenerateSettings.noise,
    truncation: float = GenerateSettings.truncation,
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

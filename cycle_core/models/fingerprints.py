"""Which generator something belongs to: a text that follows from its weights alone.

    0123456789abcdef-<64 hexadecimal digits>

The first part changes with the configuration and with every bit of every tensor. The second is 16
numbers that depend on the weights of mapping and synthesis alone, and hardly on how they were
rounded: two generators whose numbers agree have one latent space, whatever their files say of the
mean of w, the clamps, the noise maps and the number format. Files that were written before hold the
first part only, and are compared by it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

DIGITS = 16  # of the first part
PROJECTIONS = 16  # numbers of the second part
SAMPLES = 64  # weights of a tensor that they are made of
STEP = 1 / 4096  # what a number is rounded to
# Rounding to bfloat16 moves the numbers by about 0.001 (root mean square), to float16 by 0.0001;
# a hundred steps of fine-tuning by 0.01 and more. Unrelated weights: about 1.4.
TOLERANCE = 0.003
# fields of a configuration that fingerprints did not know at first: left out at their defaults
_LATER = {"img_channels": 3, "const_size": (4, 4)}


def fingerprint(config: Any, state: Mapping[str, Tensor]) -> str:
    """The text for a configuration and the whole state of a generator."""
    shown = ", ".join(
        f"{field.name}={getattr(config, field.name)!r}"
        for field in fields(config)
        if field.name not in _LATER or getattr(config, field.name) != _LATER[field.name]
    )
    digest = hashlib.sha256(f"{type(config).__name__}({shown})".encode())
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().float().cpu().contiguous().numpy().data)
    return f"{digest.hexdigest()[:DIGITS]}-{_projections(state)}"


def short(fingerprint: str) -> str:
    """As messages show it."""
    return fingerprint[:DIGITS]


def same(one: str, other: str) -> bool:
    """Whether two fingerprints are of generators with one latent space."""
    if one[:DIGITS] == other[:DIGITS]:
        return True
    a, b = _numbers(one), _numbers(other)
    if a is None or b is None:
        return False
    return math.sqrt(float(np.mean((a - b) ** 2))) < TOLERANCE


def _projections(state: Mapping[str, Tensor]) -> str:
    """Sums of weights with signs that follow from the tensor's name, each about normal."""
    total, count = np.zeros(PROJECTIONS), 0
    for name in sorted(state):
        tensor = state[name]
        if tensor.ndim < 2 or name.endswith(("noise_const", "_filter")) or tensor.numel() == 0:
            continue  # biases and strengths may be zero, and what is rounded of them is not small
        size = min(SAMPLES, tensor.numel())
        places = torch.arange(size, device=tensor.device) * tensor.numel() // size
        values = tensor.detach().reshape(-1)[places].double().cpu().numpy()
        scale = math.sqrt(float(np.mean(values**2)))
        if scale > 0:
            seed = hashlib.shake_256(name.encode()).digest(PROJECTIONS * SAMPLES // 8)
            bits = np.unpackbits(np.frombuffer(seed, np.uint8)).reshape(PROJECTIONS, SAMPLES)
            total += (2.0 * bits[:, :size] - 1) @ (values / scale)
            count += size
    total /= math.sqrt(max(count, 1)) * STEP
    return np.clip(np.rint(total), -(2**15), 2**15 - 1).astype(">i2").tobytes().hex()


def _numbers(fingerprint: str) -> np.ndarray | None:
    """The numbers of a fingerprint, which may come from a file; None if it has none."""
    _, _, digits = fingerprint.partition("-")
    if len(digits) != 4 * PROJECTIONS:
        return None
    try:
        return np.frombuffer(bytes.fromhex(digits), ">i2").astype(np.float64) * STEP
    except ValueError:
        return None

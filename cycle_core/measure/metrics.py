"""What is measured of a picture beside its target, and the list of it: `METRICS`.

Pictures are float [B, 3, H, W] in [-1, 1], clamped to it first, because that is what a picture file
keeps; every measure is one number for each picture. The first argument may be one picture, which is
compared with each of the second and looked at once. A further measure is a function, here or in a
file of its own, and one line of `METRICS`: reports, comparisons and their tables follow it.
Sets of pictures have `frechet_distance`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from .perceptual import Lpips
from .selection import Networks

_WINDOW, _SIGMA = 11, 1.5  # Wang et al. 2004
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003


@dataclass(frozen=True)
class Pair:
    """Pictures beside their targets: what several measures need of them is computed once."""

    target: Tensor
    image: Tensor

    @cached_property
    def scales(self) -> list[tuple[Tensor, Tensor]]:
        """SSIM, and of it contrast and structure alone, [B] each, at every scale that has room."""
        _check_pair(self.target, self.image)
        a, b = _clamp(self.target), _clamp(self.image)
        found = [_ssim(a, b)]
        for _ in range(1, ms_ssim_scales(*b.shape[-2:])):
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
            found.append(_ssim(a, b))
        return found


def mse(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared error in [-1, 1] (four times that in [0, 1]), float [B]."""
    _check_pair(a, b)
    return (_clamp(a) - _clamp(b)).square().mean((1, 2, 3))


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, float [B]; at most 100 (equal)."""
    return psnr_of(mse(a, b))


def psnr_of(error: Tensor) -> Tensor:
    """10 log10(2^2 / MSE) of mean squared errors [B]."""
    return 10 * torch.log10(4 / error.clamp(min=4e-10))


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004, equation 13), float [B], 1 for equal pictures.

    Gaussian window of 11 pixels, sigma 1.5, whole windows only, mean over the colour channels.
    Raises InputError for pictures below 11 pixels."""
    return Pair(a, b).scales[0][0]


def ms_ssim_scales(height: int, width: int) -> int:
    """How many of the five scales a picture has room for: 5 from 176 px on, 3 at 64 px."""
    scales = 0
    while scales < len(_SCALES) and min(height, width) >> scales >= _WINDOW:
        scales += 1
    return scales


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Multi-scale structural similarity (Wang et al. 2003, equation 7), float [B].

    Small pictures have fewer scales (`ms_ssim_scales`, to be reported with the number): the first
    ones, their exponents divided by their sum. Negative structure counts as none.
    Raises InputError for pictures below 11 pixels."""
    return _ms_ssim_of(Pair(a, b))


@torch.no_grad()
def lpips(a: Tensor, b: Tensor, network: Lpips) -> Tensor:
    """Perceptual distance (Zhang et al. 2018), float [B], 0 for equal pictures."""
    _check_pair(a, b)
    return network(_clamp(a), _clamp(b))


@torch.no_grad()
def identity(a: Tensor, b: Tensor, network: Callable[[Tensor], Tensor]) -> Tensor:
    """Cosine of the embeddings of two aligned faces, float [B], 1 for the same person.

    network: such as an `IdentityNet`, [B, 3, H, W] -> [B, D] of length 1."""
    _check_pair(a, b)
    return (network(_clamp(a)) * network(_clamp(b))).sum(1)


@dataclass(frozen=True)
class Metric:
    """A measure of pictures beside their targets.

    key: in reports; title: in tables; more: whether more is better; of(pair, networks): float
    [B]. network: the key of `Networks.names` that it needs, "" for none. compared: whether
    the comparison of methods has it, which leaves out what says the same as another."""

    key: str
    title: str
    more: bool
    of: Callable[[Pair, Networks], Tensor]
    network: str = ""
    compared: bool = True


METRICS = (
    Metric("mse", "MSE", False, lambda p, _: mse(p.target, p.image)),
    Metric("psnr", "PSNR", True, lambda p, _: psnr(p.target, p.image), compared=False),
    Metric("ssim", "SSIM", True, lambda p, _: p.scales[0][0], compared=False),
    Metric("lpips", "LPIPS", False, lambda p, n: lpips(p.target, p.image, n.perceptual), "lpips"),
    Metric("ms_ssim", "MS-SSIM", True, lambda p, _: _ms_ssim_of(p)),
    Metric(
        "identity",
        "identity",
        True,
        lambda p, n: identity(p.target, p.image, n.identity),
        "identity",
    ),
)


@torch.no_grad()
def lec(
    codes: Tensor,
    edit: Callable[[Tensor], Tensor],
    undo: Callable[[Tensor], Tensor],
    generate: Callable[[Tensor], Tensor],
    encode: Callable[[Tensor], Tensor],
) -> Tensor:
    """Latent editing consistency (e4e, section 5), float [B]: ||w - undo(encode(G(edit(w))))||_2.

    codes: [B, N, w_dim], of the pictures under test. The norm is over all N * w_dim numbers,
    divided by sqrt(N), so that it compares between W and W+; 0 is perfect."""
    again = undo(encode(_clamp(generate(edit(codes)))))
    return (codes - again).flatten(1).norm(dim=1) / codes.shape[1] ** 0.5


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Frechet distance of two Gaussians fitted to features [N, D] and [M, D] (Heusel et al. 2017,
    equation 6).

    |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)), in float64 on the CPU. It is biased by the
    number of samples: compare only numbers from as many.
    Raises InputError for fewer than 2 rows."""
    if min(len(a), len(b)) < 2 or a.shape[1:] != b.shape[1:] or a.ndim != 2:
        raise InputError(
            "A Frechet distance compares two sets of features [N, D] of at least two rows, but "
            f"{tuple(a.shape)} and {tuple(b.shape)} were given."
        )
    a, b = a.detach().cpu().double(), b.detach().cpu().double()
    mean = (a.mean(0) - b.mean(0)).square().sum()
    s, t = torch.cov(a.T).reshape(a.shape[1], -1), torch.cov(b.T).reshape(a.shape[1], -1)
    values, vectors = torch.linalg.eigh(s)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ t @ root).clamp(min=0).sqrt().sum()
    return float((mean + s.trace() + t.trace() - 2 * cross).clamp(min=0))


def _ms_ssim_of(pair: Pair) -> Tensor:
    *upper, (last, _) = pair.scales
    parts = torch.stack([*(contrast for _, contrast in upper), last])
    exponents = torch.tensor(_SCALES[: len(parts)], device=parts.device)
    return parts.clamp(min=0).pow((exponents / exponents.sum())[:, None]).prod(0)


def _ssim(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """(similarity, contrast and structure alone), means over positions and channels, [B] each.

    kornia's `ssim` gives the first alone, and MS-SSIM needs both."""
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2  # the range of [-1, 1] is 2
    mean_a, mean_b, product, squares = map(_blur, (a, b, a * b, a * a + b * b))
    means, both = mean_a**2 + mean_b**2, mean_a * mean_b
    contrast = (2 * (product - both) + c2) / (squares - means + c2)  # both variances in one
    luminance = (2 * both + c1) / (means + c1)
    return (luminance * contrast).mean((1, 2, 3)), contrast.mean((1, 2, 3))


def _blur(x: Tensor) -> Tensor:
    """Gaussian window over whole neighbourhoods: [B, C, H, W] -> [B, C, H - 10, W - 10]."""
    if min(x.shape[-2:]) < _WINDOW:
        raise InputError(
            f"SSIM needs pictures of at least {_WINDOW} pixels, but {tuple(x.shape)} was given."
        )
    at = torch.arange(_WINDOW, dtype=torch.float32) - _WINDOW // 2
    window = torch.exp(-(at**2) / (2 * _SIGMA**2))
    first, *others = (window / window.sum()).tolist()
    for axis in (-1, -2):  # sums of shifted pictures: CPUs convolve single channels slowly
        size = x.shape[axis] - _WINDOW + 1
        blurred = x.narrow(axis, 0, size) * first
        for shift, weight in enumerate(others, 1):
            blurred.add_(x.narrow(axis, shift, size), alpha=weight)
        x = blurred
    return x


def _clamp(image: Tensor) -> Tensor:
    return image.float().clamp(-1, 1)


def _check_pair(a: Tensor, b: Tensor) -> None:
    if a.ndim != 4 or a.shape[1:] != b.shape[1:] or len(a) not in (1, len(b)):
        raise InputError(
            f"Pictures are compared that have the same shape [B, 3, H, W], but {tuple(a.shape)} "
            f"and {tuple(b.shape)} were given: align or resize one of them."
        )

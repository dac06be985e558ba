"""How far two sets of pictures are apart: Frechet distances of features, such as FID."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checkpoints.registry import open_model
from ..errors import InputError
from ..files.weights import find
from ..models.inception import FidInception


def find_inception() -> FidInception | None:
    """The network of the Frechet inception distance, on the CPU, frozen; None where its file,
    `inception` of `weights`, is not on this machine. Raises CheckpointError."""
    file = find("inception")
    return None if file is None else open_model(file, "fid")


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
    root = _sqrt(s)
    cross = torch.linalg.eigvalsh(root @ t @ root).clamp(min=0).sqrt().sum()
    return float((mean + s.trace() + t.trace() - 2 * cross).clamp(min=0))


def _sqrt(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T

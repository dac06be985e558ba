"""Which networks compare pictures: one rule for losses, reports and comparisons.

Pictures of the embedded domain are compared by the embedded networks, all others by the published
ones where their files are found. What measures is another network than what a loss minimises,
wherever there is another one:

| | loss | metrics |
| --- | --- | --- |
| embedded domain | embedded "loss" | embedded "metrics" |
| other: LPIPS | AlexNet, else embedded "loss" | VGG-16, else AlexNet, else embedded "metrics" |
| other: identity | ArcFace, else embedded "loss" | insightface's, else ArcFace, else embedded |

`Networks.names` says which ones they are, and of what measures, which of them a loss minimises
too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..checkpoints.registry import load_generator
from ..files.assets import ASSETS
from ..models.generator import Generator
from ..runtime.session import frozen
from .perceptual import find_vgg, load_perceptual
from .recognition import find_recognizer, load_identity


class Distance(Protocol):
    """A network whose features are compared, so that those of a target are computed once:

    target = network.features(photo)
    loss = network.distance(network.features(image), target)  # [B]
    """

    def features(self, image: Tensor) -> Any:
        """image: float [B,3,H,W] in [-1,1]."""
        ...

    def distance(self, a: Any, b: Any) -> Tensor:
        """Two results of `features` -> float [B], 0 for equal pictures."""
        ...


@dataclass(frozen=True)
class Networks:
    """LPIPS and identity; None for what is not compared.

    perceptual: of a loss a `Distance`, of a measure an `Lpips`. identity: of a loss a `Distance`;
    of a measure aligned faces [B,3,H,W] in [-1,1] -> [B,D] of length 1."""

    perceptual: Any = None
    identity: Any = None

    @staticmethod
    def for_loss(embedded: bool) -> Networks:
        """Those that refinement, tuning and projection minimise, on the CPU, frozen.

        embedded: whether the pictures are of the embedded domain. Raises MissingFileError,
        CheckpointError."""
        network = "embedded" if embedded else "auto"
        return Networks(load_perceptual("loss", network), load_identity("loss", network))

    @staticmethod
    def for_metrics(embedded: bool) -> Networks:
        """Those that measure, on the CPU, frozen. Arguments and errors as `for_loss`."""
        if embedded:
            return Networks(load_perceptual("metrics"), load_identity("metrics"))
        perceptual = find_vgg() or load_perceptual("metrics", "auto")
        return Networks(perceptual, find_recognizer() or load_identity("metrics", "auto"))

    def completed(self, G: Generator, lpips_weight: float, identity_weight: float) -> Networks:
        """These, with those of `for_loss` in the place of what is None, on the generator's device.

        lpips_weight, identity_weight: in the loss; a network of weight 0 is left out. Raises
        MissingFileError, CheckpointError."""
        perceptual, identity = self
        network = "embedded" if in_embedded_domain(G) else "auto"
        if lpips_weight and perceptual is None:
            perceptual = load_perceptual("loss", network).to(G.device)
        if identity_weight and identity is None:
            identity = load_identity("loss", network).to(G.device)
        return Networks(perceptual if lpips_weight else None, identity if identity_weight else None)

    def frozen(self) -> Networks:
        """The same to differentiate through, see `session.frozen`."""
        return Networks(*(frozen(n) if isinstance(n, nn.Module) else n for n in self))

    def to(self, device: torch.device | str) -> Networks:
        return Networks(*(
            network.to(device) if isinstance(network, nn.Module) else network for network in self
        ))  # fmt: skip

    def __iter__(self) -> Iterator[Any]:
        yield self.perceptual
        yield self.identity

    def names(self, losses: Networks | None = None) -> dict[str, str]:
        """What each is called in reports; what `losses` minimise by the same network, too, is
        said."""
        minimised = [] if losses is None else [network.name for network in losses if network]
        return {
            key: network.name + (", also minimised" if network.name in minimised else "")
            for key, network in zip(("lpips", "identity"), self, strict=True)
        }


NONE = Networks()


def in_embedded_domain(G: Generator) -> bool:
    """Whether a generator is an embedded one, or was tuned from it."""
    return G.base_fingerprint in _embedded_generators()


@lru_cache(maxsize=1)
def _embedded_generators() -> frozenset[str]:
    return frozenset(
        load_generator(file).base_fingerprint for file in ASSETS.glob("*_generator.safetensors")
    )

"""What makes two pictures alike: the L_S of refinement and tuning, one number for each picture."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from ..images.resize import resize

MAX_SIZE = 256  # the encoder's losses are taken at 256 px (METHOD section 1)
Module = TypeVar("Module", bound=nn.Module)


class Distance(Protocol):
    """A network whose features are compared: LPIPS or identity. See `cycle_core.losses`."""

    def features(self, image: Tensor) -> Any:
        """image: float [B,3,H,W] in [-1,1]."""
        ...

    def distance(self, a: Any, b: Any) -> Tensor:
        """Two results of `features` -> float [B], 0 for equal pictures."""
        ...


class Weights(Protocol):
    """Settings that weigh the terms of L_S."""

    @property
    def l2(self) -> float: ...
    @property
    def lpips(self) -> float: ...
    @property
    def identity(self) -> float: ...


@dataclass(frozen=True)
class Objective:
    """L_S = l2 * L2 + lpips * LPIPS + identity * ID (METHOD section 2).

    max_size: larger pictures are made smaller first, None compares at full size.
    """

    l2: float
    lpips: float
    identity: float = 0.0
    perceptual: Distance | None = None
    faces: Distance | None = None
    max_size: int | None = None

    def target(self, image: Tensor) -> Target:
        """Prepare pictures [B,3,R,R] to be compared with: their features are computed once."""
        image = self._fit(image)
        with torch.no_grad():
            lpips = self.perceptual.features(image) if self.perceptual and self.lpips else None
            faces = self.faces.features(image) if self.faces and self.identity else None
        return Target(image, lpips, faces)

    def __call__(self, image: Tensor, target: Target) -> Terms:
        """Compare generated pictures [B,3,R,R] with the prepared ones."""
        image = self._fit(image)
        l2 = (image - target.image).square().mean((1, 2, 3))
        lpips = identity = torch.zeros_like(l2)
        if target.lpips is not None and self.perceptual is not None:
            lpips = self.perceptual.distance(self.perceptual.features(image), target.lpips)
        if target.faces is not None and self.faces is not None:
            identity = self.faces.distance(self.faces.features(image), target.faces)
        total = self.l2 * l2 + self.lpips * lpips + self.identity * identity
        return Terms(total, l2, lpips, identity)

    def _fit(self, image: Tensor) -> Tensor:
        if self.max_size is None or image.shape[-1] <= self.max_size:
            return image
        return resize(image, self.max_size)


@dataclass(frozen=True)
class Target:
    """Pictures and their features."""

    image: Tensor
    lpips: Any  # what the networks' `features` gave, None where they are not used
    faces: Any


@dataclass(frozen=True)
class Terms:
    """The loss of each picture and its unweighted parts, each float [B]."""

    total: Tensor
    l2: Tensor
    lpips: Tensor
    identity: Tensor

    def means(self) -> dict[str, float]:
        """The mean of each over the pictures."""
        return Terms.told(self.averages())

    def averages(self) -> Tensor:
        """The same on the device, float [4]: for `told`, which waits for the device once."""
        return torch.stack([value.detach().mean() for value in _values(self)])

    @staticmethod
    def told(averages: Tensor) -> dict[str, float]:
        return dict(zip(Terms.__dataclass_fields__, averages.tolist(), strict=True))

    def detached(self) -> Terms:
        return Terms(*(value.detach() for value in vars(self).values()))

    @staticmethod
    def together(parts: Sequence[Terms]) -> Terms:
        """Those of several batches, one after the other."""
        return Terms(*(torch.cat(values) for values in zip(*map(_values, parts), strict=True)))


def _values(terms: Terms) -> list[Tensor]:
    return list(vars(terms).values())


def perceptual_network(given: Distance | None, device: torch.device) -> Distance:
    """The network of LPIPS: the given one, AlexNet where its files are on this machine, or the
    embedded one that is meant for losses."""
    if given is None:
        from ..measure.perceptual import load_perceptual

        given = load_perceptual("loss", network="auto").to(device)
    return _usable(given)


def identity_network(given: Distance | None, device: torch.device) -> Distance:
    """The network of identity: the given one, ArcFace where found, or the embedded one."""
    if given is None:
        from ..measure.recognition import load_identity

        given = load_identity("loss", network="auto").to(device)
    return _usable(given)


def _usable(network: Any) -> Any:
    return frozen(network) if isinstance(network, nn.Module) else network


def similarity(
    settings: Weights, device: torch.device, perceptual: Distance | None, faces: Distance | None
) -> Objective:
    """L_S with the weights of some settings, at MAX_SIZE at most; a network of weight 0 is not
    loaded. perceptual, faces: as for `refine`."""
    return Objective(
        settings.l2,
        settings.lpips,
        settings.identity,
        perceptual_network(perceptual, device) if settings.lpips else None,
        identity_network(faces, device) if settings.identity else None,
        MAX_SIZE,
    )


def trainable_copy(module: Module) -> Module:
    """A copy that shares nothing with the module, in evaluation mode, every parameter trainable.

    Call it with inference mode off: the copy can then be trained, and be differentiated through,
    even where the module was loaded in inference mode."""
    twin = copy.deepcopy(module).eval()
    for part in twin.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            setattr(part, name, nn.Parameter(parameter.detach().clone()))
        for name, buffer in list(part.named_buffers(recurse=False)):
            setattr(part, name, buffer.detach().clone())
    return twin


def frozen(module: Module) -> Module:
    """The module itself where one can differentiate through it at no needless cost, else a copy
    without gradients: the caller's module is never changed."""
    tensors = [*module.parameters(), *module.buffers()]
    if any(t.is_inference() or t.requires_grad for t in tensors) or module.training:
        return trainable_copy(module).requires_grad_(False)
    return module

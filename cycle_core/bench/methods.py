"""The methods that are compared: each gives a pivot code for every picture of a test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from ..codes import Code
from ..errors import InputError
from ..invert.encode import encode
from ..invert.project import project
from ..invert.refine import refine
from ..invert.settings import TUNE_PRESETS, ProjectSettings, RefineSettings
from ..measure.selection import Networks
from ..models.encoder import Encoder
from ..models.generator import Generator


@dataclass(frozen=True)
class BenchModels:
    """What a method may use: a generator, the encoder of the method and training seed (None for
    optimisation), the networks of the losses, and real pictures of the domain float32 [K,3,R,R]
    that no method refines or optimises for."""

    generator: Generator
    encoder: Encoder | None
    losses: Networks
    real: Tensor | None = None


@dataclass(frozen=True)
class Method:
    """key: in file names; encoder: which training it uses, a folder's name (see docs/results.md),
    "" for none; space: of its codes; steps: how many, which --quick shortens; pivots(models,
    images, steps, seed): the codes of pictures float32 [N,3,R,R] in [-1,1]; detail_steps: of a map
    of the detail that follows tuning (DHR, Cao et al. 2023), which is for one picture alone."""

    key: str
    title: str
    encoder: str
    space: str
    steps: int
    pivots: ByEncoder | ByProjection | ByRefinement
    detail_steps: int = 0


@dataclass(frozen=True)
class ByEncoder:
    """What the encoder gives in a space."""

    space: str

    def __call__(self, models: BenchModels, images: Tensor, steps: int, seed: int) -> Code:
        assert models.encoder is not None
        return encode(models.encoder, images, self.space, models.generator)


@dataclass(frozen=True)
class ByProjection:
    """Optimisation of the code itself in a space."""

    space: str

    def __call__(self, models: BenchModels, images: Tensor, steps: int, seed: int) -> Code:
        return project(
            models.generator,
            images,
            ProjectSettings(space=self.space, steps=steps),
            seed=seed,
            perceptual=models.losses.perceptual,
            identity=models.losses.identity,
        ).code


@dataclass(frozen=True)
class ByRefinement:
    """Refinement of the encoder, with another number of steps; real: whether the M pictures are
    those of the test set that nothing is done for, in place of generated ones."""

    settings: RefineSettings
    real: bool = False

    def __call__(self, models: BenchModels, images: Tensor, steps: int, seed: int) -> Code:
        assert models.encoder is not None
        if self.real and (models.real is None or not len(models.real)):
            raise InputError(
                "Real pictures of the domain hold the encoder in place, and every one is refined "
                "for: take more pictures `inside` than are `projected`."
            )
        return refine(
            models.encoder,
            models.generator,
            images,
            replace(self.settings, steps=steps),
            models.real if self.real else "generator",
            seed=seed,
            perceptual=models.losses.perceptual,
            identity=models.losses.identity,
        ).code


# the preset `embedded` of the time when docs/results.md was measured
_REFINE = RefineSettings(steps=20, learning_rate=1e-3, images=3, reg=3.0)
METHODS = (
    Method("optimise-w", "optimisation in W", "", "W", 500, ByProjection("W")),
    Method("optimise-w+", "optimisation in W+", "", "W+", 500, ByProjection("W+")),
    Method("encoder-w", "encoder trained in W", "w", "W", 0, ByEncoder("W")),
    Method("e4e", "e4e (W to W+)", "w+", "W+", 0, ByEncoder("W+")),
    Method("cycle", "cycle encoding", "cycle", "W", 0, ByEncoder("W")),
    Method("untightened", "cycle without tightening", "untightened", "W", 0, ByEncoder("W")),
    Method("w-decay", "in W, adversarial weights of the cycle", "w-decay", "W", 0, ByEncoder("W")),
    Method("cycle-delta", "cycle, delta weight alone", "cycle-delta", "W", 0, ByEncoder("W")),
    Method("cycle-stale", "cycle, all heads on", "cycle", "W+", 0, ByEncoder("W+")),
    Method("cycle-refined", "cycle + refinement", "cycle", "W", _REFINE.steps,
           ByRefinement(_REFINE)),
    Method("cycle-free", "cycle + refinement, M = 0", "cycle", "W", _REFINE.steps,
           ByRefinement(replace(_REFINE, images=0))),
    Method("cycle-real", "cycle + refinement, M real pictures", "cycle", "W", _REFINE.steps,
           ByRefinement(_REFINE, real=True)),
    Method("e4e-refined", "e4e + refinement", "w+", "W+", _REFINE.steps,
           ByRefinement(replace(_REFINE, space="W+"))),
    Method("cycle-detail", "cycle encoding, a map of the detail after tuning", "cycle", "W", 0,
           ByEncoder("W"), TUNE_PRESETS["embedded"].detail_steps),
)  # fmt: skip


def find(key: str, among: Sequence[Method] = METHODS) -> Method:
    """A method by its key. Raises InputError for another."""
    for method in among:
        if method.key == key:
            return method
    known = ", ".join(method.key for method in among)
    raise InputError(f"There is no method {key!r}: the methods are {known}.")

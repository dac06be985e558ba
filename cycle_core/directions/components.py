"""One component of a generator's latent space by its number."""

from __future__ import annotations

from ..errors import InputError
from ..models.generator import Generator
from .direction import Direction, Layers
from .discovery import ganspace, sefa
from .settings import METHODS, DiscoverySettings


def component_of(
    G: Generator,
    method: str,
    index: int,
    layers: Layers = None,
    samples: int = DiscoverySettings.samples,
    seed: int = 0,
) -> Direction:
    """The direction number `index`, 0 the strongest, of `ganspace` or `sefa`.

    layers: the styles that it moves; samples, seed: of ganspace.
    Raises InputError for another method or where there are fewer components."""
    if method not in METHODS:
        raise InputError(f"Components are found by {' or '.join(METHODS)}, not by {method!r}.")
    if index < 0:
        raise InputError(f"Components are numbered from 0, so that there is no {index}.")
    if method == "sefa":
        found = sefa(G, layers, index + 1)
    else:
        found = ganspace(G, index + 1, samples, seed, layers)
    if index >= len(found):
        raise InputError(
            f"There is no component {index}: this generator has {len(found)}, numbered from 0 to "
            f"{len(found) - 1}."
        )
    return found[index]

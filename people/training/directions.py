"""Make the embedded directions: one for every factor of the renders, fitted and calibrated.

    python -m people.training directions READER --generator portraits

Of the embedded generator's inputs z the factors are known, so directions need no labelling: codes
of random z are fitted to the factors' Gaussian codes, all at once, so that each direction moves its
own factor and, to first order, no other. Then READER, a network of `features perceptual` which no
loss minimises and no comparison measures by, reads what every strength does in pictures: that sets
the unit and makes the table of the model card.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cycle_core.checkpoints.registry import load_generator
from cycle_core.codes import Code
from cycle_core.directions.base import BaseDirection
from cycle_core.directions.direction import Direction
from cycle_core.directions.discovery import fit_directions, responses, with_curve
from cycle_core.directions.editing import edit
from cycle_core.directions.files import list_directions, save_directions
from cycle_core.errors import InputError
from cycle_core.files.disk import write_json
from cycle_core.invert.generate import generate
from cycle_core.measure.perceptual import PortraitNet, open_attributes
from cycle_core.measure.recognition import load_identity
from cycle_core.models.generator import Generator
from cycle_core.models.irse import IdentityNet

from .settings import DirectionTraining
from .world import World

STRENGTHS = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)  # the two beside 0 set the unit
# A readout of a smaller R2 knows next to nothing: its direction would leave the domain at once
READABLE = 0.25
# One that moves anything else by more, where it moves its own by 1, is not what it is called
UNWANTED = 2.5
HELD_OUT = 2000  # codes on which the readouts are judged


def fit(
    G: Generator, table: World, settings: DirectionTraining
) -> tuple[list[Direction], dict[str, float]]:
    """Directions for all factors, in deviations of their Gaussian codes, and how well they read:
    the R2 of every readout on codes that were not fitted to.

    Raises InputError for a generator of another world."""
    if G.config.z_dim != len(table) or G.config.c_dim:
        raise InputError(
            f"The generator {G.name} takes z of {G.config.z_dim} dimensions, but there are "
            f"{len(table)} factors: give a generator that was trained on renders of this world."
        )
    w, factors = sample(G, table, settings.samples + HELD_OUT, settings.seed)
    labels = {name: factors[:-HELD_OUT, i] for i, name in enumerate(table.names)}
    found = fit_directions(w[:-HELD_OUT], labels, generator_id=G.base_fingerprint)
    meanings = {factor.name: factor.meaning for factor in table.factors}
    found = [replace(direction, meaning=meanings[direction.name]) for direction in found]
    test = Code(w[-HELD_OUT:, None].repeat(1, G.num_ws, 1), "W", G.base_fingerprint)
    quality = {}
    for i, direction in enumerate(found):
        truth = factors[-HELD_OUT:, i]
        error = (direction.value(test) - truth).square().mean() / truth.var(correction=0)
        quality[direction.name] = float(1 - error)
    return found, quality


@torch.no_grad()
def sample(G: Generator, table: World, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Random codes [count, w_dim] and the Gaussian codes of their factors [count, N], on the
    CPU."""
    z = torch.randn(count, len(table), generator=torch.Generator().manual_seed(seed))
    w = [G.mapping(part.to(G.device))[:, 0].cpu() for part in z.split(1000)]
    return torch.cat(w), z @ table.rotation(z).T


def measure(
    G: Generator,
    direction: Direction,
    codes: Code,
    attributes: PortraitNet,
    identity: IdentityNet,
) -> tuple[Direction, dict[str, Any]]:
    """Calibrate a direction by pictures, and say what it does.

    Gives the direction in its measured unit, and for the table: `curve`, the own attribute's change
    at each strength; `others`, the three attributes that change most at a strength of 1, both in
    standard deviations of the attribute over the codes; `identity`, the mean cosine similarity of
    the persons before and after, at strengths of -1 and 1."""

    @torch.no_grad()
    def read(image: Tensor) -> Tensor:
        return torch.cat([attributes.factors(part) for part in image.split(50)])  # [B, A]

    names = list(attributes.config.names)
    if direction.name not in names:
        raise InputError(f"The network does not read {direction.name!r}: train it on all factors.")
    changes, deviation = responses(G, direction, read, codes, STRENGTHS)  # [S, B, A], [A]
    effect = (changes.mean(1) / deviation.clamp(min=1e-6)).cpu()  # [S, A]
    own = names.index(direction.name)
    calibrated = with_curve(direction, STRENGTHS, effect[:, own].tolist())
    low, high = STRENGTHS.index(-0.5), STRENGTHS.index(0.5)
    slopes = effect[high] - effect[low]
    slopes = slopes / slopes[own] if calibrated.unit == "sd" else slopes
    others = sorted((i for i in range(len(names)) if i != own), key=lambda i: -abs(slopes[i]))
    row = {
        "unit": calibrated.unit,
        "curve": [[round(s, 3), round(c, 3)] for s, c in calibrated.curve],
        "others": {names[i]: round(float(slopes[i]), 3) for i in others[:3]},
        "identity": round(_identity_kept(G, calibrated, codes, identity), 4),
    }
    return calibrated, row


@torch.no_grad()
def _identity_kept(G: Generator, direction: Direction, codes: Code, identity: IdentityNet) -> float:
    start = identity.features(generate(G, codes))
    moved = [identity.features(generate(G, edit(codes, direction, s))) for s in (-1.0, 1.0)]
    return float(torch.stack([1 - identity.distance(start, m) for m in moved]).mean())


def train(
    reader: str | Path,
    generator: str | Path,
    out: str | Path,
    table: str | Path | None = None,
    settings: DirectionTraining | None = None,
    device: str | torch.device = "cpu",
    known: str | Path | None = None,
    say: Callable[[str], object] = print,
) -> Sequence[BaseDirection]:
    """Fit, measure and save the directions of a generator; gives them.

    reader: file of a perceptual network. table: file for what was measured, JSON. known: file of
    directions that are used by their names: these and no others are made, and those that could not
    be made again stay as they are. say: takes a line of what is done.
    Raises MissingFileError, CheckpointError, and InputError where no factor can be read."""
    settings = settings or DirectionTraining()
    begin = time.monotonic()
    G = load_generator(generator, device)
    attributes = open_attributes(reader).to(G.device)
    before = () if known is None else list_directions(known)
    directions, quality = fit(G, World(attributes.config.factors), settings)
    rows: dict[str, Any] = {d.name: {"r2": round(quality[d.name], 4)} for d in directions}
    unread = [d.name for d in directions if quality[d.name] < READABLE]
    directions = [d for d in directions if d.name not in unread]
    if unread:
        say(f"left out, not readable off the generator's codes: {', '.join(unread)}")
    if settings.pictures:
        directions = _measure_all(G, attributes, directions, rows, settings)
        blurred = [d.name for d in directions if not selective(rows[d.name])]
        directions = [d for d in directions if d.name not in blurred]
        if blurred:
            names = ", ".join(blurred)
            say(f"left out, they move another more than their own, or nothing: {names}")
    if not directions:
        raise InputError(
            f"No factor can be read off the codes of {G.name}: train the generator for longer."
        )
    kept: Sequence[BaseDirection] = directions
    if known is not None:
        made = {d.name: d for d in directions}
        kept = [made.get(one.name, one) for one in before]
        for name in (one.name for one in before if one.name not in made):
            rows[name] = {"as_before": True}
            say(f"as it was: {name}")
    for name in rows.keys() - {one.name for one in kept}:
        rows[name]["left_out"] = True
    seconds = round(time.monotonic() - begin, 1)
    origin = {
        "generator": G.base_fingerprint,
        "samples": settings.samples,
        "pictures": settings.pictures,
        "seed": settings.seed,
        "seconds": seconds,
    }
    save_directions(kept, out, {"training": json.dumps(origin)})
    if table is not None:
        write_json(table, {**origin, "directions": rows})
    say(f"{len(kept)} directions in {seconds} s: {out}")
    return kept


def selective(row: Mapping[str, Any]) -> bool:
    """Whether a direction does what it is called, by what `measure` wrote of it."""
    return row["unit"] == "sd" and max(map(abs, row["others"].values()), default=0) <= UNWANTED


def _measure_all(
    G: Generator,
    attributes: PortraitNet,
    directions: list[Direction],
    rows: dict[str, Any],
    settings: DirectionTraining,
) -> list[Direction]:
    """The calibrated directions; what was measured is added to `rows`."""
    from tqdm import tqdm

    identity = load_identity("metrics").to(G.device)
    w, _ = sample(G, World(attributes.config.factors), settings.pictures, settings.seed + 1)
    codes = Code(w[:, None].repeat(1, G.num_ws, 1), "W", G.base_fingerprint)
    calibrated = []
    for direction in tqdm(directions, desc="calibrating", unit="direction"):
        measured, row = measure(G, direction, codes, attributes, identity)
        rows[direction.name].update(row)
        calibrated.append(measured)
    return calibrated

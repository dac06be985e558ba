"""Find directions: from labelled codes, pictures with and without an attribute, GANSpace, SeFa; and
measure what a strength really does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..codes import Code, HasCode, as_code
from ..errors import InputError
from ..invert.encode import encode
from ..invert.generate import generate
from ..models.encoder import Encoder
from ..models.generator import Generator
from ..models.layers import StyleLayer
from ..runtime.devices import BATCH, one_thread_if_small
from ..runtime.progress import Callback
from .direction import Direction, Layers, parse_layers
from .editing import edit
from .settings import METHODS, DiscoverySettings

Read = Callable[[Tensor], Tensor]  # pictures float [B,3,R,R] in [-1,1] -> attribute [B] or [B,A]


@one_thread_if_small()
def fit_directions(
    codes: Code | HasCode | Tensor,
    labels: Mapping[str, Tensor],
    independent: bool = True,
    ridge: float = 1e-3,
    generator_id: str = "",
) -> list[Direction]:
    """One calibrated direction for each label, from codes whose labels are known.

    With S the codes' covariance and c_k their covariance with the standardised label k, the readout
    of k is the linear boundary a_k = S^-1 c_k (ridge regression; for a label of two values this is
    Fisher's discriminant, and c_k its mean difference). The directions are d = C (A^T C)^-1: of all
    moves that change readout k by 1 and no other readout, the one that is smallest in the domain's
    own measure S^-1, so that it leaves the domain least.

    codes: Code, of which the mean over the styles is taken, or float [K, w_dim].
    labels: name -> [K] numbers, or 0 and 1; K of several hundred at least for 512 dimensions.
    independent: each direction leaves the other labels alone; False fits every label by itself.
    ridge: added to S, in parts of its mean eigenvalue.
    Gives Directions of unit "sd": 1 is one standard deviation of the label over the codes.
    Raises InputError for labels that are constant, not finite or of another number."""
    if not isinstance(codes, Tensor):
        code = as_code(codes)
        codes, generator_id = code.w.mean(1), code.generator_id or generator_id
    w = codes.detach().cpu().double()  # [K, D]
    names = list(labels)
    if w.ndim != 2 or len(w) < 3 or not names:
        raise InputError(
            f"Directions are fitted to labels of at least three codes [K, w_dim], but "
            f"{tuple(w.shape)} and {len(names)} labels were given."
        )
    y = torch.stack([_label(name, labels[name], len(w)) for name in names], dim=1)  # [K, A]
    mean = w.mean(0)
    centred = w - mean
    covariance = centred.T @ centred / len(w)
    covariance += ridge * covariance.diagonal().mean() * torch.eye(len(mean), dtype=w.dtype)
    c = centred.T @ y / len(w)  # [D, A]
    a = torch.linalg.solve(covariance, c)
    effect = a.T @ c  # [A, A]: change of readout i by a move along c_j
    if not independent:
        effect = effect.diagonal().diag()
    if not float(torch.linalg.cond(effect)) < 1e8:
        raise InputError(
            f"The labels {', '.join(names)} cannot be told apart by the codes: two of them are the "
            "same or one is not in the codes at all; leave it out."
        )
    d = torch.linalg.solve(effect.T, c.T)  # [A, D], d_k = C effect^-1
    limits = torch.quantile(y, torch.tensor([0.01, 0.99], dtype=y.dtype), dim=0)
    return [
        Direction(
            name=name,
            vectors=d[k].float(),
            unit="sd",
            readout=a[:, k].float(),
            bias=-float(mean @ a[:, k]),
            range=(float(limits[0, k]), float(limits[1, k])),
            generator_id=generator_id,
        )
        for k, name in enumerate(names)
    ]


def direction_from_pictures(
    E: Encoder,
    having: Tensor,
    lacking: Tensor,
    name: str = "direction",
    generator: Generator | None = None,
    batch: int = BATCH,
    callback: Callback | None = None,
) -> Direction:
    """What the codes of the pictures that have an attribute have over those that lack it.

    having, lacking: float [B,3,H,W] in [-1,1], aligned crops; sizes may differ. The more pictures,
        and the more both sets have in common otherwise, the cleaner the direction.
    generator: whose codes they are; ReStyle encoders need it.
    Gives `fit_directions` of both sets: unit "sd", so that from the mean of one set to the mean of
    the other it is 2, or less where their codes overlap.
    Raises InputError for an empty set or fewer than three pictures together, and as `encode`."""
    counts = len(having), len(lacking)
    if 0 in counts or sum(counts) < 3:
        raise InputError(
            f"{counts[0]} pictures with and {counts[1]} without the attribute were given: give at "
            "least one of each and three together, better a few dozen of each."
        )
    space = "W" if "W" in E.spaces else None
    codes = []
    for before, pictures in ((0, having), (counts[0], lacking)):

        def report(done: int, _: int, shown: Tensor | None, before: int = before) -> None:
            if callback is not None:
                callback(before + done, sum(counts), shown)

        codes.append(encode(E, pictures, space, generator, batch, report))
    w = torch.cat([code.w.mean(1) for code in codes])
    labels = torch.cat([torch.ones(counts[0]), torch.zeros(counts[1])])
    return fit_directions(w, {name: labels}, generator_id=codes[0].generator_id)[0]


def ganspace(
    G: Generator, count: int = 20, samples: int = 10_000, seed: int = 0, layers: Layers = None
) -> list[Direction]:
    """The principal components of w (GANSpace, Haerkoenen et al. 2020), largest first.

    A strength of 1 is one standard deviation of the component; its readout is the component's own
    coordinate. Named "ganspace:0" and so on; `layers`: the styles that they move."""
    mean, covariance = w_statistics(G, samples, seed)
    with one_thread_if_small():
        variances, vectors = torch.linalg.eigh(covariance)
    chosen = parse_layers(layers, G.num_ws)
    found = []
    for k in range(min(count, len(variances))):
        component = _upright(vectors[:, -1 - k])
        deviation = float(variances[-1 - k].clamp(min=0).sqrt())
        if deviation < 1e-7:
            break  # the codes have fewer dimensions than w
        found.append(component_direction(f"ganspace:{k}", component, mean, deviation))
    return [replace(d, layers=chosen, generator_id=G.base_fingerprint) for d in found]


def random_w(G: Generator, samples: int, seed: int) -> Iterator[Tensor]:
    """Codes [up to 1000, num_ws, w_dim] of so many random z, without gradients."""
    random = torch.Generator().manual_seed(seed)
    for start in range(0, samples, 1000):
        with torch.no_grad(), one_thread_if_small(G):
            w = G.mapping(*G.draw_inputs(min(1000, samples - start), random))
        yield w


def w_statistics(G: Generator, samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Mean [w_dim] and covariance [w_dim, w_dim] of w over random z, double, on the CPU."""
    w = torch.cat([part[:, 0].cpu() for part in random_w(G, samples, seed)]).double()
    with one_thread_if_small():
        mean = w.mean(0)
        return mean, (w - mean).T @ (w - mean) / len(w)


def component_direction(name: str, component: Tensor, mean: Tensor, deviation: float) -> Direction:
    """GANSpace's component [w_dim] as a direction in units of its standard deviation."""
    return Direction(
        name=name,
        vectors=(component * deviation).float(),
        unit="sd",
        readout=(component / deviation).float(),
        bias=-float(mean @ component) / deviation,
        range=(-2.0, 2.0),
    )


@one_thread_if_small()
def sefa(G: Generator, layers: Layers = None, count: int = 20) -> list[Direction]:
    """Closed-form factorisation (SeFa, Shen and Zhou 2021): the unit vectors n that the affine maps
    A of the chosen styles amplify most, the eigenvectors of A^T A, largest first.

    Needs no samples and no labels, and a strength has no calibrated meaning. Named "sefa:0" ..."""
    chosen = parse_layers(layers, G.num_ws)
    affine = torch.cat([_affine(G, i) for i in (chosen or range(G.num_ws - 1))])  # [channels, D]
    _, vectors = torch.linalg.eigh(affine.T @ affine)
    return [
        Direction(
            name=f"sefa:{k}",
            vectors=_upright(vectors[:, -1 - k]).float(),
            layers=chosen,
            generator_id=G.base_fingerprint,
        )
        for k in range(min(count, vectors.shape[1]))
    ]


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


def calibrate(
    G: Generator,
    direction: Direction,
    read: Read,
    codes: Code | HasCode,
    strengths: Sequence[float] = (-2.0, -1.0, 1.0, 2.0),
) -> Direction:
    """Measure what a strength does to the attribute in pictures, and make 1 one standard deviation.

    read: what reads the attribute, float [B,3,R,R] in [-1,1] -> [B], such as a network that took no
        part in any training here.
    codes: samples of the domain, a hundred or more; the standard deviation is that of what `read`
        says of their pictures. Both signs are needed among the strengths.
    Gives the direction rescaled, its measured curve in the new unit. Where the attribute hardly
    follows (less than 0.1), the scale stays and the unit is "raw".
    Raises InputError where the attribute is constant over the codes."""
    changes, deviation = responses(G, direction, read, codes, strengths)
    if float(deviation) < 1e-6:
        raise InputError(
            f"The attribute of {direction.name!r} is the same in all pictures of the codes given: "
            "give codes that differ in it."
        )
    return with_curve(direction, strengths, (changes.mean(1) / deviation).tolist())


def responses(
    G: Generator,
    direction: Direction,
    read: Read,
    codes: Code | HasCode,
    strengths: Sequence[float],
) -> tuple[Tensor, Tensor]:
    """How attributes change along a direction: (changes [S, B, ...], deviation over the codes)."""
    start = read(generate(G, codes))
    moved = [read(generate(G, edit(codes, direction, float(s)))) for s in strengths]
    return torch.stack(moved) - start, start.std(0)


def with_curve(
    direction: Direction, strengths: Sequence[float], changes: Sequence[float]
) -> Direction:
    """The direction in the unit in which its measured `changes`, in standard deviations, at
    `strengths` have the slope 1 between the strengths nearest to 0 on both sides."""
    curve = sorted(zip(map(float, strengths), map(float, changes), strict=True))
    below = [point for point in curve if point[0] < 0]
    above = [point for point in curve if point[0] > 0]
    if not below or not above:
        raise InputError("Calibrating takes strengths of both signs, such as -1 and 1.")
    (s0, c0), (s1, c1) = below[-1], above[0]
    slope = (c1 - c0) / (s1 - s0)
    if not slope > 0.1:
        return replace(direction, unit="raw", curve=tuple(curve))
    scaled = direction.scaled(1 / slope)
    return replace(scaled, unit="sd", curve=tuple((s * slope, c) for s, c in curve))


def _label(name: str, values: Tensor, count: int) -> Tensor:
    """A label standardised over the codes: double [K]."""
    y = torch.as_tensor(values).detach().cpu().double().flatten()
    if len(y) != count:
        raise InputError(
            f"There are {len(y)} labels {name!r} for {count} codes: give one for each."
        )
    deviation = y.std(correction=0)
    if not float(deviation) > 1e-12:  # also where a label is not a number
        raise InputError(
            f"The labels {name!r} are all the same or not finite numbers: a direction needs codes "
            "that differ in them."
        )
    return (y - y.mean()) / deviation


def _affine(G: Generator, style: int) -> Tensor:
    """The affine map of the convolution that takes a style (of the last RGB for the last style)."""
    layers = [layer for layer in G.synthesis.style_layers if layer.style == style]
    return style_matrix(layers[-1])  # an RGB takes the style of the convolution after it


def style_matrix(layer: StyleLayer) -> Tensor:
    """What a layer's affine map multiplies its style by: double [channels, w_dim], on the CPU."""
    return (layer.affine.weight * layer.affine.weight_gain).detach().cpu().double()


def _upright(vector: Tensor) -> Tensor:
    """An eigenvector with the sign that makes its largest entry positive: the same everywhere."""
    return vector * torch.sign(vector[vector.abs().argmax()])

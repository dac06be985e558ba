"""Move codes along directions: by a strength, to a value, keeping attributes; mix, interpolate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..codes import Code, HasCode, as_code
from ..errors import InputError, MismatchError
from ..models.fingerprints import same
from .base import BaseDirection, Layers
from .direction import parse_layers

Amount = float | Sequence[float] | Tensor  # one for all codes, or one for each


@dataclass(frozen=True)
class Step:
    """One direction and how far to follow it: give either `strength` or `to`, see `edit`."""

    direction: BaseDirection
    strength: Amount | None = None
    to: Amount | None = None
    layers: Layers = None
    keep: Sequence[BaseDirection] = ()


def edit(
    code: Code | HasCode,
    direction: BaseDirection,
    strength: Amount | None = None,
    to: Amount | None = None,
    layers: Layers = None,
    keep: Sequence[BaseDirection] = (),
) -> Code:
    """Codes moved along a direction: w + strength * vectors (InterFaceGAN, section 3.2). What
    another type of direction moves is said in its class.

    strength: how far, in the direction's unit; a sequence or float [K] makes K codes of one.
    to: the value of the attribute to arrive at instead, as the direction's readout reads it (0 is
        the domain's mean), whatever it is in the code; needs a readout.
    layers: the styles that move, such as "0-3+6"; the direction's own if None. A code in W of which
        only some move becomes one in W+. Not for StyleSpace, whose channels belong to a layer.
    keep: directions whose attributes stay: the direction is first made orthogonal to their
        readouts, or to their vectors where they have none (conditional manipulation, InterFaceGAN
        section 3.3), and its strength still means the same change of its own attribute.
    Gives a Code with w float32 [B or K, num_ws, w_dim].
    Raises InputError where nothing of the direction is left or a number or range cannot be used,
    MismatchError for directions of another generator."""
    return edit_many(code, [Step(direction, strength, to, layers, keep)])


def edit_many(code: Code | HasCode, steps: Sequence[Step]) -> Code:
    """Several edits at once, in their order where it matters (to a mapper, whose move depends on
    the code). Targets (`to`) are met together: what every step does to every targeted attribute is
    taken into account. See `edit` for the rest."""
    code = as_code(code)
    if not steps:
        return code
    for step in steps:
        if (step.strength is None) == (step.to is None):
            raise InputError(
                f"For the direction {step.direction.name!r} give either a strength or a value to "
                "arrive at, one of the two."
            )
        for direction in (step.direction, *step.keep):
            direction.check(code)
    num_ws = code.w.shape[1]
    directions = [x.direction.conditioned(num_ws, x.layers, x.keep).to("cpu") for x in steps]
    # codes are small: double precision on the CPU is exact enough and works beside every device
    moved = code.each(lambda rows: rows.detach().cpu().double())
    strengths = _strengths(moved, directions, steps)  # [B or K, S]
    # a single code as many times as there are strengths
    moved = moved.each(lambda rows: rows.expand(len(strengths), *rows.shape[1:]))
    for direction, amounts in zip(directions, strengths.T, strict=True):
        moved = direction(moved, amounts)
    return moved.each(lambda rows: rows.to(code.w.device, code.w.dtype))


def mix(a: Code | HasCode, b: Code | HasCode, layers: Layers) -> Code:
    """Style mixing: the code a with the styles `layers` ("8-17") of b. Batches of one repeat.

    Raises MismatchError for codes of two generators, InputError for another range or batch, or
    after edits in StyleSpace."""
    a, b = _pair(a, b)
    if a.offsets is not None or b.offsets is not None:
        raise InputError(
            "Codes that were edited in StyleSpace cannot be mixed style by style: mix them first "
            "and edit the mixture."
        )
    chosen = list(parse_layers(layers, a.w.shape[1]) or range(a.w.shape[1]))
    first, second = torch.broadcast_tensors(a.w, b.w.to(a.w))
    w = first.clone()
    w[:, chosen] = second[:, chosen]
    whole = len(chosen) == a.w.shape[1]
    return a.with_w(w, b.space if whole else "W+")


def lerp(a: Code | HasCode, b: Code | HasCode, t: Amount) -> Code:
    """Straight interpolation, a at t = 0 and b at t = 1; a sequence of K numbers makes K codes.

    Raises MismatchError for codes of two generators, InputError where batches do not fit."""
    a, b = _pair(a, b)
    share = _amount(t, "The share to interpolate at").to(a.w)[:, None, None]
    w = _fit(a.w, share) * (1 - share) + _fit(b.w.to(a.w), share) * share
    return _between(a, b, w, share)


def slerp(a: Code | HasCode, b: Code | HasCode, t: Amount, center: Tensor | None = None) -> Code:
    """Interpolation along an arc, style by style: the distance from `center` changes evenly, so
    that the middle is no more average than the ends.

    center: float [w_dim], G.w_avg as a rule; 0 if None. Opposite styles have no arc between them
    and are interpolated straight. Raises as `lerp`."""
    a, b = _pair(a, b)
    share = _amount(t, "The share to interpolate at").to(a.w)[:, None, None]
    middle = torch.zeros_like(a.w[0, 0]) if center is None else center.to(a.w)
    u, v = _fit(a.w, share) - middle, _fit(b.w.to(a.w), share) - middle
    long_u, long_v = (x.norm(dim=-1, keepdim=True).clamp(min=1e-12) for x in (u, v))
    angle = ((u / long_u) * (v / long_v)).sum(-1, keepdim=True).clamp(-1, 1).acos()
    sine = angle.sin()
    arc = (((1 - share) * angle).sin() * u / long_u + (share * angle).sin() * v / long_v) / sine
    arc = arc * (long_u * (1 - share) + long_v * share)
    straight = u * (1 - share) + v * share
    w = middle + torch.where(sine < 1e-4, straight, arc)
    return _between(a, b, w, share)


def join(codes: Sequence[Code | HasCode]) -> Code:
    """Codes of several batches as one, in their order.

    Raises MismatchError for codes of two generators."""
    parts = [as_code(code) for code in codes]
    first = parts[0]
    for other in parts[1:]:
        _check_one_generator(first, other)
    edited = [part.offsets for part in parts if part.offsets is not None]
    offsets = None
    if edited:
        none = edited[0].new_zeros(1, edited[0].shape[1])
        rows = [none.expand(x.batch, -1) if x.offsets is None else x.offsets for x in parts]
        offsets = torch.cat([part.to(first.w) for part in rows])
    return replace(
        first,
        w=torch.cat([part.w.to(first.w) for part in parts]),
        space="W" if all(part.space == "W" for part in parts) else "W+",
        offsets=offsets,
    )


def _strengths(code: Code, directions: Sequence[BaseDirection], steps: Sequence[Step]) -> Tensor:
    """How far each code goes along each direction: double [B or K, S]."""
    amounts = [
        _amount(step.to if step.strength is None else step.strength, step.direction.name)
        for step in steps
    ]
    rows = max([code.batch, *map(len, amounts)])
    if any(count not in (1, rows) for count in [code.batch, *map(len, amounts)]):
        raise InputError(
            f"{code.batch} codes and {max(map(len, amounts))} strengths were given: give one "
            "strength for all codes, one for each, or several for a single code."
        )
    strengths = torch.stack([x.expand(rows) for x in amounts], dim=1).clone()
    aimed = [i for i, step in enumerate(steps) if step.to is not None]
    if not aimed:
        return strengths
    given = [i for i in range(len(steps)) if i not in aimed]
    now = torch.stack([directions[i].value(code) for i in aimed], dim=1)  # [B, T]
    # effect[:, i, j]: change of the i-th target by a strength of 1 of the j-th step
    after = [direction(code) for direction in directions]
    values = [torch.stack([directions[i].value(x) for x in after], dim=1) for i in aimed]
    effect = torch.stack(values, dim=1) - now[:, :, None]  # [B, T, S]
    gap = strengths[:, aimed] - now - (effect[:, :, given] @ strengths[:, given, None])[..., 0]
    own = effect[:, :, aimed]
    if not bool((torch.linalg.cond(own) < 1e4).all()):  # not a number where all is 0
        names = ", ".join(steps[i].direction.name for i in aimed)
        raise InputError(
            f"The values asked for {names} cannot be met together: these directions change the "
            "same thing, or nothing; leave one out."
        )
    strengths[:, aimed] = torch.linalg.solve(own, gap[..., None])[..., 0]
    return strengths


def _between(a: Code, b: Code, w: Tensor, share: Tensor) -> Code:
    """The code a with the vectors of an interpolation; style offsets are interpolated straight."""
    offsets = None
    if a.offsets is not None or b.offsets is not None:
        first, second = (
            w.new_zeros(1, 1) if x.offsets is None else x.offsets.to(w) for x in (a, b)
        )
        offsets = (first * (1 - share[:, 0]) + second * share[:, 0]).expand(len(w), -1)
    space = "W" if a.space == b.space == "W" else "W+"
    return replace(a, w=w, space=space, offsets=offsets)


def _amount(value: Amount | None, name: str) -> Tensor:
    """A number or numbers as double [1] or [K]."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()  # first, because MPS has no double precision
    amount = torch.as_tensor(value, dtype=torch.double).flatten()
    if not len(amount) or not all(math.isfinite(x) for x in amount.tolist()):
        raise InputError(f"{name}: {value!r} is not a finite number; give one such as 1.5.")
    return amount


def _pair(a: Code | HasCode, b: Code | HasCode) -> tuple[Code, Code]:
    """Two codes of one generator whose batches fit."""
    a, b = as_code(a), as_code(b)
    _check_one_generator(a, b)
    if a.batch != b.batch and 1 not in (a.batch, b.batch):
        raise InputError(
            f"Batches of {a.batch} and {b.batch} codes were given: give as many of each, or one."
        )
    return a, b


def _check_one_generator(a: Code, b: Code) -> None:
    """Raise MismatchError for codes of two generators."""
    foreign = a.generator_id and b.generator_id and not same(a.generator_id, b.generator_id)
    channels = {x.offsets.shape[1] for x in (a, b) if x.offsets is not None}
    if foreign or a.w.shape[1:] != b.w.shape[1:] or len(channels) > 1:
        raise MismatchError(
            f"The codes belong to two generators ({a.generator_id or tuple(a.w.shape)} and "
            f"{b.generator_id or tuple(b.w.shape)}): use codes of one."
        )


def _fit(w: Tensor, share: Tensor) -> Tensor:
    if 1 not in (len(w), len(share)) and len(w) != len(share):
        raise InputError(
            f"{len(w)} codes and {len(share)} shares were given: give one share for all codes or "
            "one for each."
        )
    return w

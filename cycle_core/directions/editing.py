"""Move codes along directions: by a strength, to a value, keeping attributes; mix, interpolate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..codes import Code, HasCode, as_code
from ..errors import InputError, MismatchError
from .direction import Direction, Layers, parse_layers

Amount = float | Sequence[float] | Tensor  # one for all codes, or one for each
LEFT = 0.05  # share of a direction that must be left after others were kept


@dataclass(frozen=True)
class Step:
    """One direction and how far to follow it: give either `strength` or `to`, see `edit`."""

    direction: Direction
    strength: Amount | None = None
    to: Amount | None = None
    layers: Layers = None
    keep: Sequence[Direction] = ()


def edit(
    code: Code | HasCode,
    direction: Direction,
    strength: Amount | None = None,
    to: Amount | None = None,
    layers: Layers = None,
    keep: Sequence[Direction] = (),
) -> Code:
    """Codes moved along a direction (METHOD section 4): w + strength * vectors. A direction in
    StyleSpace moves the code's style offsets instead.

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
    """Several edits at once. Targets (`to`) are met together: what every step does to every
    targeted attribute is taken into account. See `edit` for the rest."""
    code = as_code(code)
    if not steps:
        return code
    for step in steps:
        if (step.strength is None) == (step.to is None):
            raise InputError(
                f"For the direction {step.direction.name!r} give either a strength or a value to "
                "arrive at, one of the two."
            )
        involved = (step.direction, *step.keep)
        for direction in involved:
            direction.check(code)
        if any(d.space == "S" for d in involved) and (step.keep or step.layers is not None):
            raise InputError(
                f"For the direction {step.direction.name!r} neither attributes can be kept nor "
                "layers be chosen, because it or what is kept lies in StyleSpace: give a strength "
                "alone."
            )
    # codes are small: double precision on the CPU is exact enough and works beside every device
    w = code.w.detach().cpu().double()
    moves = torch.stack([_move(step, code) for step in steps])  # [S, N, w_dim]
    strengths = _strengths(w, moves, code, steps)  # [B or K, S]
    moved = w + torch.einsum("bs,snd->bnd", strengths, moves)
    uniform = bool((moves == moves[:, :1]).all())
    space = "W" if code.space == "W" and uniform else "W+"
    offsets = _moved_offsets(code, steps, strengths)
    return replace(code, w=moved.to(code.w.device, code.w.dtype), space=space, offsets=offsets)


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


def _move(step: Step, code: Code) -> Tensor:
    """What a strength of 1 adds, after the kept attributes were taken out: double [N, w_dim]."""
    num_ws = code.w.shape[1]
    direction = step.direction
    if direction.space == "S":
        return torch.zeros(code.w.shape[1:], dtype=torch.double)
    move = direction.spread(num_ws, step.layers).cpu().double()
    if not step.keep:
        return move
    moved = direction.moved(num_ws, step.layers)
    kept = torch.stack([_probe(k, moved, num_ws).flatten() for k in step.keep])  # [K, N*w_dim]
    gram = kept @ kept.T
    shares = torch.linalg.pinv(gram, hermitian=True) @ (kept @ move.flatten())
    rest = move - (shares @ kept).view_as(move)
    if direction.readout is None:
        before, after = move.norm(), rest.norm()  # InterFaceGAN: the same length
    else:
        probe = _probe(direction, moved, num_ws)
        before, after = (probe * move).sum(), (probe * rest).sum()  # the same change of its own
    if float(rest.norm() / move.norm()) < LEFT or float(after / before) < LEFT:
        names = ", ".join(k.name for k in step.keep)
        raise InputError(
            f"Nothing of the direction {direction.name!r} is left when {names} must stay as it is: "
            "keep fewer attributes."
        )
    return rest * (before / after)


def _probe(direction: Direction, moved: tuple[int, ...], num_ws: int) -> Tensor:
    """The linear form on [N, w_dim] that reads the attribute off the styles that move."""
    rows = direction.vectors if direction.readout is None else direction.readout
    form = torch.zeros(num_ws, direction.vectors.shape[-1], dtype=torch.double)
    chosen = list(moved)
    form[chosen] = rows.cpu().double().expand(num_ws, -1)[chosen] / len(chosen)
    return form


def _strengths(w: Tensor, moves: Tensor, code: Code, steps: Sequence[Step]) -> Tensor:
    """How far each code goes along each move: double [B or K, S]."""
    amounts = [
        _amount(step.to if step.strength is None else step.strength, step.direction.name)
        for step in steps
    ]
    rows = max([len(w), *map(len, amounts)])
    if any(len(x) not in (1, rows) for x in [w, *amounts]):
        raise InputError(
            f"{len(w)} codes and {max(map(len, amounts))} strengths were given: give one strength "
            "for all codes, one for each, or several for a single code."
        )
    strengths = torch.stack([x.expand(rows) for x in amounts], dim=1).clone()
    aimed = [i for i, step in enumerate(steps) if step.to is not None]
    if not aimed:
        return strengths
    num_ws = w.shape[1]
    given = [i for i in range(len(steps)) if i not in aimed]
    probes, now = [], []
    for i in aimed:
        direction, layers = steps[i].direction, steps[i].layers
        now.append(direction.value(code, layers).detach().cpu().double())
        probes.append(_probe(direction, direction.moved(num_ws, layers), num_ws))
    # effect[i, j]: change of the i-th target by a strength of 1 of the j-th step
    effect = torch.einsum("tnd,snd->ts", torch.stack(probes), moves)
    gap = strengths[:, aimed] - torch.stack(now, dim=1) - strengths[:, given] @ effect[:, given].T
    own = effect[:, aimed]
    if not float(torch.linalg.cond(own)) < 1e4:  # not a number where all is 0
        names = ", ".join(steps[i].direction.name for i in aimed)
        raise InputError(
            f"The values asked for {names} cannot be met together: these directions change the "
            "same thing, or nothing; leave one out."
        )
    strengths[:, aimed] = torch.linalg.solve(own, gap.T).T
    return strengths


def _moved_offsets(code: Code, steps: Sequence[Step], strengths: Tensor) -> Tensor | None:
    """The code's style offsets after the steps that lie in StyleSpace: [B or K, channels]."""
    in_s = [i for i, step in enumerate(steps) if step.direction.space == "S"]
    if not in_s:
        return None if code.offsets is None else code.offsets.expand(len(strengths), -1)
    vectors = [steps[i].direction.vectors for i in in_s]
    if len({len(vector) for vector in vectors}) > 1:
        raise MismatchError(
            f"The directions have {' and '.join(str(len(vector)) for vector in vectors)} style "
            "channels: use directions of one generator."
        )
    moved = strengths[:, in_s] @ torch.stack(vectors).cpu().double()
    if code.offsets is not None:
        moved = moved + code.offsets.cpu().double()
    return moved.to(code.w.device, code.w.dtype)


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
    foreign = a.generator and b.generator and a.generator != b.generator
    channels = {x.offsets.shape[1] for x in (a, b) if x.offsets is not None}
    if foreign or a.w.shape[1:] != b.w.shape[1:] or len(channels) > 1:
        raise MismatchError(
            f"The codes belong to two generators ({a.generator or tuple(a.w.shape)} and "
            f"{b.generator or tuple(b.w.shape)}): use codes of one."
        )
    if a.batch != b.batch and 1 not in (a.batch, b.batch):
        raise InputError(
            f"Batches of {a.batch} and {b.batch} codes were given: give as many of each, or one."
        )
    return a, b


def _fit(w: Tensor, share: Tensor) -> Tensor:
    if 1 not in (len(w), len(share)) and len(w) != len(share):
        raise InputError(
            f"{len(w)} codes and {len(share)} shares were given: give one share for all codes or "
            "one for each."
        )
    return w

"""What surrounds and covers the faces of `scenes.py`: backgrounds, hair and hats, light, cameras.

Every function takes a batch of grey pictures [B,1,n,n] in 0..1 and the dice; nothing loops over
the pictures of a batch: what only some of them get is chosen, or multiplied with 0 or 1.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


class Dice:
    """Random numbers of one source."""

    def __init__(self, rng: torch.Generator) -> None:
        self.rng = rng

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=self.rng)

    def log_uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return self.uniform(math.log(low), math.log(high), *shape).exp()

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.rng)

    def chance(self, probability: float, *shape: int) -> Tensor:
        return (torch.rand(shape, generator=self.rng) < probability).float()

    def whole(self, low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=self.rng)


def background(b: int, n: int, grid: Tensor, dice: Dice) -> Tensor:
    """Gradients, clouds, grain, stripes, hard-edged shapes and false faces: [B,1,n,n]."""
    x, y = (grid / n * 2 - 1).unbind(-1)  # [n,n]
    clouds = noise(b, n, dice)
    kind = dice.uniform(0, 1, b, 1, 1, 1)
    gain = dice.log_uniform(2, 30, b, 1, 1, 1)
    hard = torch.tanh(clouds * gain)
    waves = torch.sin(clouds * dice.log_uniform(2, 25, b, 1, 1, 1))
    way = dice.uniform(0, 2 * math.pi, b, 1, 1, 1)
    along = way.cos() * x + way.sin() * y
    stripes = torch.sin(along * dice.log_uniform(3, 80, b, 1, 1, 1) + clouds * 2)
    stripes = torch.tanh(stripes * dice.log_uniform(0.5, 20, b, 1, 1, 1))
    pattern = torch.where(kind < 0.55, clouds, torch.where(kind < 0.72, hard, waves))
    pattern = torch.where(kind > 0.87, stripes, pattern)
    image = dice.uniform(0, 1, b, 1, 1, 1) + along * dice.normal(b, 1, 1, 1) * 0.2
    image = image + pattern * dice.log_uniform(0.02, 0.5, b, 1, 1, 1)
    for _ in range(6):
        chosen = dice.chance(0.3, b).nonzero()[:, 0]
        if k := len(chosen):
            cover, shade = _shape(k, x, y, dice)
            shade = shade + pattern[chosen] * dice.uniform(-0.3, 0.3, k, 1, 1, 1)
            image[chosen] = torch.lerp(image[chosen], shade, cover)
    image = _false_face(image, x, y, dice)
    return image.clamp(0, 1)


def scrambled(image: Tensor, texture: Tensor, possible: Tensor, dice: Dice) -> Tensor:
    """Faces cut into squares and shuffled, instead of some backgrounds: features, no faces.

    texture: [B,1,n,n]; possible: bool [B], where its face is larger than a square."""
    n = image.shape[-1]
    chosen = (dice.chance(0.3, len(image)).bool() & possible).nonzero()[:, 0]
    for cells, part in zip((4, 8), chosen.tensor_split(2), strict=True):
        if not len(part):
            continue
        pieces = texture[part].view(len(part), cells, n // cells, cells, n // cells)
        pieces = pieces.transpose(2, 3).flatten(1, 2)
        order = dice.uniform(0, 1, len(part), cells * cells).argsort(1)
        pieces = pieces.gather(1, order[:, :, None, None].expand_as(pieces))
        pieces = pieces.view(len(part), cells, cells, n // cells, n // cells)
        image[part] = pieces.transpose(2, 3).reshape(len(part), 1, n, n)
    return image


def dress(face: Tensor, grid: Tensor, points: Tensor, dice: Dice) -> Tensor:
    """Hats, hair, fringes, beards, dark glasses, shadows and make-up, in the face's own axes.

    grid: places [m,m,2] of all of the picture, coarser than it: everything here but the grain is
    soft, and is drawn as a gain and a bias."""
    b, n, m = len(face), face.shape[-1], grid.shape[0]
    u, v = face_places(grid, points)
    clouds = noise(b, m, dice)
    gain, bias = torch.ones(b, 1, m, m), torch.zeros(b, 1, m, m)

    def one(low: float, high: float) -> Tensor:
        return dice.uniform(low, high, b, 1, 1, 1)

    def some(probability: float) -> Tensor:
        return dice.chance(probability, b, 1, 1, 1)

    def cover(where: Tensor, chance: float, low: float = 0.5) -> None:
        nonlocal gain, bias
        keep = 1 - where * (some(chance) * one(low, 1))
        gain = gain * keep
        bias = bias * keep + (one(0, 1) + clouds * one(0, 0.25)) * (1 - keep)

    # hat or other hair: everything above a wavy line, or outside an ellipse around the face
    line = one(0.32, 1.0) + dice.normal(b, 1, 1, 1) * 0.12 * u * u
    line = line + one(0, 0.08) * torch.sin(u * one(3, 25) + one(0, 6))
    cover(torch.sigmoid((-v - line) * dice.log_uniform(8, 60, b, 1, 1, 1)), 0.25)
    outside = ((u / one(0.8, 1.15)).square() + ((v - 0.4) / one(1.15, 1.5)).square()).sqrt() - 1
    outside = torch.sigmoid(outside * dice.log_uniform(10, 50, b, 1, 1, 1))
    cover(outside * torch.sigmoid((one(0.2, 1.9) - v) * 20), 0.25)
    # beards of any tone, the lips mostly free; spots of light and dark; dark or pale eyes
    lower = torch.sigmoid((v - one(0.6, 0.95)) * one(6, 25))
    lips = torch.exp(-(((v - 1.08) / 0.2) ** 4) - (u / 0.5) ** 4)
    cover(lower * (1 - lips * one(0.6, 1)), 0.15, 0.15)
    p, q = (u - dice.normal(b, 1, 1, 1) * 0.6) / one(0.1, 0.4), (v - one(-0.8, 1.6)) / one(0.1, 0.4)
    bias = bias + torch.exp(-p.square() - q.square()) * (one(-0.35, 0.35) * some(0.3))
    eyes = torch.exp(-((v / one(0.15, 0.28)) ** 4)) * (u.abs() < 0.85)
    gain = gain * (1 - eyes * (one(0.2, 0.95) * some(0.08)))
    # light: a soft field, and now and then an edge of shadow across the face
    way = one(0, 2 * math.pi)
    edge = way.cos() * u + way.sin() * (v - 0.5) + one(-0.5, 0.5)
    edge = torch.tanh(edge * dice.log_uniform(0.5, 8, b, 1, 1, 1))
    soft = F.interpolate(dice.normal(b, 1, 3, 3), (m, m), mode="bilinear", align_corners=True)
    light = edge * (one(0.1, 0.7) * some(0.35)) + soft * (one(0.05, 0.4) * some(0.4))
    # grain of the skin
    light = (light + clouds.flip(3) * (one(0, 0.1) * some(0.4))).exp()
    face = (face * _full(gain * light, n) + _full(bias * light, n)).clamp(min=0)
    # features flattened or exaggerated
    smooth = blur(face, face_scale(points) * dice.uniform(0.05, 0.12, b))
    strength = torch.where(some(0.4) > 0, dice.log_uniform(0.45, 2.2, b, 1, 1, 1), torch.ones(1))
    return torch.lerp(smooth, face, strength).clamp(0, 1)


def cut_out(
    body: Tensor, inside: Tensor, grid: Tensor, points: Tensor, alone: Tensor, dice: Dice
) -> Tensor:
    """How much of each pixel shows the render: its people, a soft ellipse about a face that is
    alone, or all of it."""
    b, n = len(body), body.shape[-1]
    u, v = face_places(grid, points)
    kind = dice.uniform(0, 1, b, 1, 1, 1)
    soft = blur(body, dice.uniform(0.2, 1.2, b))
    wide, tall = dice.uniform(0.85, 1.25, b, 1, 1, 1), dice.uniform(1.1, 1.7, b, 1, 1, 1)
    oval = ((u / wide).square() + ((v - 0.35) / tall).square()).sqrt() - 1
    oval = torch.sigmoid(-oval * dice.log_uniform(6, 50, b, 1, 1, 1))
    oval = _full(oval, n) * torch.maximum(soft, inside * dice.chance(0.4, b, 1, 1, 1))
    oval = torch.where(alone, oval, soft)
    return torch.where(kind < 0.5, soft, torch.where(kind < 0.65, oval, inside))


def occlude(image: Tensor, grid: Tensor, points: Tensor, dice: Dice) -> Tensor:
    """Hands, collars, other things before a face: up to two shapes, mostly beside the features."""
    b, n = len(image), image.shape[-1]
    u, v = face_places(grid, points)
    clouds = noise(b, grid.shape[0], dice)
    for _ in range(2):
        way, far = dice.uniform(0, 2 * math.pi, b, 1, 1, 1), dice.uniform(0.8, 1.6, b, 1, 1, 1)
        across, down = dice.uniform(0.15, 0.7, b, 1, 1, 1), dice.uniform(0.15, 0.7, b, 1, 1, 1)
        p, q = u - way.cos() * far, v - 0.55 - way.sin() * far
        turn = dice.uniform(0, math.pi, b, 1, 1, 1)
        p, q = (turn.cos() * p + turn.sin() * q) / across, (turn.cos() * q - turn.sin() * p) / down
        square = dice.chance(0.5, b, 1, 1, 1) > 0
        inside = torch.where(square, p**4 + q**4, p * p + q * q)
        alpha = torch.sigmoid((1 - inside) * 12) * dice.chance(0.12, b, 1, 1, 1)
        paint = dice.uniform(0, 1, b, 1, 1, 1) + clouds * dice.uniform(0, 0.4, b, 1, 1, 1)
        image = torch.lerp(image, _full(paint, n), _full(alpha, n))
    return image


def photograph(image: Tensor, dice: Dice) -> Tensor:
    """Exposure, filters, enlargement, blur or sharpening, noise, the blocks of JPEG; to uint8."""
    b = len(image)
    rough = dice.chance(0.65, b, 1, 1, 1)  # the others are sharp, as most photographs are
    some = lambda p: dice.chance(p, b, 1, 1, 1) * rough  # noqa: E731 - a word, not a function
    image = image.clamp(1e-3, 1) ** (dice.normal(b, 1, 1, 1) * 0.35 * some(0.6)).exp()
    contrast = 1 + (dice.uniform(0.35, 1.5, b, 1, 1, 1) - 1) * some(0.6)
    image = (image - 0.5) * contrast + 0.5 + dice.uniform(-0.15, 0.15, b, 1, 1, 1) * some(0.5)
    image = torch.where(some(0.03) > 0, 1 - image, image).clamp(0, 1)
    image = _enlarged(_filtered(image, rough, dice), rough, dice)
    smooth = blur(image, dice.log_uniform(0.4, 1.9, b))
    kind = dice.uniform(0, 1, b, 1, 1, 1) + (1 - rough)
    sharp = image + (image - smooth) * dice.uniform(0.3, 1.5, b, 1, 1, 1)
    image = torch.where(kind < 0.35, smooth, torch.where(kind < 0.5, sharp, image))
    grain = dice.log_uniform(0.004, 0.06, b, 1, 1, 1) * contrast.clamp(max=1) * some(0.55)
    image = image + dice.normal(*image.shape) * grain
    image = torch.where(some(0.35) > 0, _jpeg(image, dice), image)
    return (image.clamp(0, 1) * 255).round().byte()


# ------------------------------------------------------------------------------------- parts
def noise(b: int, n: int, dice: Dice) -> Tensor:
    """Clouds to grain: octaves with random weights, standard deviation about 1, [B,1,n,n]."""
    out = torch.zeros(b, 1, n, n)
    fade = dice.uniform(0.35, 1.1, b, 1, 1, 1)
    first = dice.uniform(0, 3, b, 1, 1, 1)
    total = torch.zeros(b, 1, 1, 1)
    for octave, cells in enumerate((3, 6, 12, 25, 50)):
        weight = fade**octave * torch.sigmoid((octave - first) * 4 + 2)
        tall = int(dice.whole(1, 4)) if octave else 2  # some grain is longer than wide
        size = (cells, max(3, cells * 2 // (tall + 1)))
        size = size if bool(dice.chance(0.5)) else size[::-1]
        layer = F.interpolate(dice.normal(b, 1, *size), (n, n), mode="bilinear", align_corners=True)
        out += layer * weight
        total += (weight * 0.7).square()
    return out / total.sqrt()


def blur(image: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of [B,C,n,n], each by its own sigma [B] of at most 4 pixels."""
    b, c, h, w = image.shape
    sigma = sigma.clamp(0.05, 4.0)
    reach = int(min(8, math.ceil(2.2 * float(sigma.max()))))
    at = torch.arange(-reach, reach + 1).float()
    kernel = torch.exp(-at.square() / (2 * sigma.view(b, 1) ** 2))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, 0)
    flat = F.pad(image.reshape(1, b * c, h, w), (reach,) * 4, mode="replicate")
    flat = F.conv2d(flat, kernel.view(b * c, 1, -1, 1), groups=b * c)
    return F.conv2d(flat, kernel.view(b * c, 1, 1, -1), groups=b * c).view(b, c, h, w)


def _filtered(image: Tensor, rough: Tensor, dice: Dice) -> Tensor:
    """Some pictures through a random 5 x 5 filter: other textures and edges, the same places."""
    chosen = (dice.chance(0.4, len(image)) * rough.flatten()).nonzero()[:, 0]
    if k := len(chosen):
        kernel = dice.normal(k, 1, 5, 5) / 5 * dice.uniform(0, 0.8, k, 1, 1, 1)
        kernel[:, :, 2, 2] += 1
        part = image[chosen].transpose(0, 1)  # [1,k,n,n]
        part = F.conv2d(F.pad(part - 0.5, (2,) * 4, mode="replicate"), kernel, groups=k) + 0.5
        image[chosen] = part.transpose(0, 1).clamp(0, 1)
    return image


def _enlarged(image: Tensor, rough: Tensor, dice: Dice) -> Tensor:
    """Some pictures as if a small face had been enlarged."""
    n = image.shape[-1]
    chosen = (dice.chance(0.3, len(image)) * rough.flatten()).nonzero()[:, 0]
    for factor, part in zip((1.4, 1.8, 2.3, 2.8), chosen.tensor_split(4), strict=True):
        if len(part):
            small = (round(n / factor),) * 2
            small = F.interpolate(
                image[part], small, mode="bilinear", align_corners=False, antialias=True
            )
            image[part] = F.interpolate(small, (n, n), mode="bilinear", align_corners=False)
    return image


def face_scale(points: Tensor) -> Tensor:
    """About the distance of the eyes of points [B,5,2], also of turned heads: [B]."""
    across = (points[:, 1] - points[:, 0]).norm(dim=-1)
    down = (points[:, 3] + points[:, 4] - points[:, 0] - points[:, 1]).norm(dim=-1)
    return torch.maximum(across, 0.45 * down).clamp(min=1)


def face_places(grid: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Places in the face's own axes, in units of `face_scale`: u to the right and v down from the
    middle of the eyes, each [B,1,n,n]."""
    eyes = (points[:, 0] + points[:, 1]) / 2
    mouth = (points[:, 3] + points[:, 4]) / 2
    down = mouth - eyes
    down = down / down.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    scale = face_scale(points).view(-1, 1, 1)
    away = grid[None] - eyes[:, None, None]  # [B,n,n,2]
    dx, dy = down[:, 0].view(-1, 1, 1), down[:, 1].view(-1, 1, 1)
    u = (away[..., 0] * dy - away[..., 1] * dx) / scale
    v = (away[..., 0] * dx + away[..., 1] * dy) / scale
    return u[:, None], v[:, None]


def _shape(b: int, x: Tensor, y: Tensor, dice: Dice) -> tuple[Tensor, Tensor]:
    """An ellipse, box, bar, corner or ring somewhere: cover [B,1,n,n] and its shade."""
    p = x - dice.uniform(-1.1, 1.1, b, 1, 1, 1)
    q = y - dice.uniform(-1.1, 1.1, b, 1, 1, 1)
    turn = dice.uniform(0, math.pi, b, 1, 1, 1)
    p, q = turn.cos() * p + turn.sin() * q, turn.cos() * q - turn.sin() * p
    p, q = p / dice.log_uniform(0.04, 1.5, b, 1, 1, 1), q / dice.log_uniform(0.04, 1.0, b, 1, 1, 1)
    round_ = (p.square() + q.square()).sqrt()
    boxed = torch.maximum(p.abs(), q.abs())
    far = torch.where(dice.chance(0.5, b, 1, 1, 1) > 0, round_, boxed)
    ring = torch.where(dice.chance(0.2, b, 1, 1, 1) > 0, (far - 0.8).abs() * 4, far)
    cover = torch.sigmoid((1 - ring) * dice.log_uniform(5, 60, b, 1, 1, 1))
    return cover, dice.uniform(0, 1, b, 1, 1, 1) + (p * 0.1).clamp(-0.3, 0.3)


def _false_face(image: Tensor, x: Tensor, y: Tensor, dice: Dice) -> Tensor:
    """Cups, cats and cars: two spots above a third, which a detector must learn to leave alone."""
    chosen = dice.chance(0.1, len(image)).nonzero()[:, 0]
    if len(chosen):
        image[chosen] = _pareidolia(image[chosen], x, y, dice)
    return image


def _pareidolia(image: Tensor, x: Tensor, y: Tensor, dice: Dice) -> Tensor:
    b = len(image)

    def one(low: float, high: float) -> Tensor:
        return dice.uniform(low, high, b, 1, 1, 1)

    def spot(image: Tensor, d2: Tensor, shade: Tensor, chance: float = 1.0) -> Tensor:
        cover = torch.sigmoid((1 - d2) * 8) * dice.chance(chance, b, 1, 1, 1)
        return torch.lerp(image, shade, cover)

    size, turn = one(0.12, 0.4), dice.normal(b, 1, 1, 1) * 0.3
    p, q = (x - one(-0.6, 0.6)) / size, (y - one(-0.6, 0.6)) / size
    p, q = turn.cos() * p + turn.sin() * q, turn.cos() * q - turn.sin() * p
    shade = one(0, 1)
    dark = (shade + one(-0.9, 0.9)).clamp(0, 1)
    image = spot(image, (p / 1.5).square() + ((q - 0.4) / 1.8).square(), shade)
    side, eye = p.abs() - one(0.35, 0.75), one(0.15, 0.45)
    image = spot(image, (side / eye).square() + (q / eye).square(), dark)
    eye = eye * one(0.2, 0.7)
    image = spot(image, (side / eye).square() + (q / eye).square(), 1 - dark, 0.5)
    mouth = (p / one(0.1, 0.7)).square() + ((q - one(0.5, 1.3)) / one(0.06, 0.3)).square()
    return spot(image, mouth, dark, 0.6)


def _full(field: Tensor, n: int) -> Tensor:
    return F.interpolate(field, (n, n), mode="bilinear", align_corners=True)


def _jpeg(image: Tensor, dice: Dice) -> Tensor:
    """Cosine coefficients of 8 x 8 blocks, rounded as a JPEG of low to fair quality rounds them."""
    b, _, n, _ = image.shape
    k = torch.arange(8).float()
    basis = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 16) * 0.5
    basis[0] *= math.sqrt(0.5)
    blocks = image.view(b, n // 8, 8, n // 8, 8).transpose(2, 3)
    found = basis @ blocks @ basis.T
    step = (0.04 + 0.02 * (k[:, None] + k[None])) * dice.log_uniform(0.3, 3, b, 1, 1, 1, 1)
    found = (found / step).round() * step
    return (basis.T @ found @ basis).transpose(2, 3).reshape(b, 1, n, n)

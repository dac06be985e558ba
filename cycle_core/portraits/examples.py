"""Render the pictures of `images/examples.py` anew into the package.

python -m cycle_core.portraits.examples
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..files.assets import ASSETS
from ..images.examples import EXAMPLES, FRAME_SECONDS, FRAMES
from ..images.io import to_pil
from ..images.resize import blur
from .factors import defaults, replace
from .renderer import render

SMILING = {"skin_tone": 0.3, "hair_color": 0.55, "hair_len": 0.7, "eye_color": 0.85, "smile": 0.3}
BEARDED = {"skin_tone": 0.55, "hair_color": 0.1, "hair_len": 0.1, "beard": 0.75, "jaw_width": 0.5}
LONG_HAIRED = {"skin_tone": 0.8, "hair_color": 0.05, "hair_len": 0.9, "hair_wave": 0.8}


def portrait() -> Tensor:
    """[1,3,480,400]: one person, a little turned."""
    person = replace(defaults(), **SMILING, yaw=0.2, light_az=0.5, cloth_hue=0.62)
    return _in_room(room(400, 480, seed=1), [(person, (205.0, 262.0), 1.62, -0.06)])


def group() -> Tensor:
    """[1,3,400,640]: three people, heads tilted and of different sizes."""
    people = [
        (replace(defaults(), **BEARDED, yaw=0.25, cloth_hue=0.3), (150.0, 214.0), 1.25, 0.05),
        (replace(defaults(), **LONG_HAIRED, yaw=-0.2, cloth_hue=0.8), (490.0, 218.0), 1.2, -0.07),
        (replace(defaults(), **SMILING, cloth_hue=0.6), (322.0, 250.0), 1.1, 0.02),
    ]
    return _in_room(room(640, 400, seed=5), people)


def clip() -> Tensor:
    """[16,3,256,320]: a head turns, nods and speaks while it sways."""
    wall, frames = room(320, 256, seed=3), []
    for i in range(FRAMES):
        way = 2 * math.pi * i / FRAMES
        person = replace(
            defaults(),
            **BEARDED,
            yaw=0.45 * math.sin(way),
            pitch=0.2 * math.sin(2 * way),
            mouth_open=max(0.35 * math.sin(3 * way), 0.0),
            light_az=0.4,
            cloth_hue=0.1,
        )
        place = (160.0 + 14 * math.sin(way), 150.0 + 3 * math.sin(2 * way))
        frames.append(_in_room(wall, [(person, place, 0.95, 0.05 * math.sin(way))], grain=i))
    return torch.cat(frames)


def room(width: int, height: int, seed: int) -> Tensor:
    """[1,3,H,W]: a wall out of focus, with the light of a few lamps on it."""
    dice = torch.Generator().manual_seed(seed)
    top, bottom = torch.rand(2, 1, 3, 1, 1, generator=dice) * 0.35
    down = torch.linspace(0, 1, height).view(1, 1, -1, 1)
    wall = torch.lerp(top - 0.15, bottom - 0.75, down).repeat(1, 1, 1, width)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    for _ in range(9):
        u, v, size, light = torch.rand(4, generator=dice).tolist()
        away = ((x - u * width) ** 2 + (y - v * height) ** 2).sqrt() / height
        disc = (1 - (away - 0.04 - 0.09 * size) / 0.02).clamp(0, 1)
        colour = torch.tensor([0.9, 0.6, 0.3]).view(1, 3, 1, 1) * (0.15 + 0.35 * light)
        wall = wall + disc * colour
    return blur(wall.clamp(-1, 1), height / 90)


def cut_out(person: Tensor, side: int) -> Tensor:
    """[1,4,S,S] in [-1,1]: head and shoulders of factors [1,COUNT], and where they are."""
    picture = render(person, side, aligned=False).image
    # what changes with the background is background: where it is dark and where it is light
    screens = [
        render(replace(person, bg_light=light), side, supersample=1, aligned=False).image
        for light in (0.0, 1.0)
    ]
    change = (screens[1] - screens[0]).abs().mean(1, keepdim=True)
    matte = 1 - ((change / change.amax() - 0.25) / 0.5).clamp(0, 1)
    return torch.cat([picture, matte * 2 - 1], dim=1)


def stand_in(
    scene: Tensor, layers: Tensor, centre: tuple[float, float], scale: float, tilt: float
) -> Tensor:
    """The scene [1,3,H,W] with a cut-out before it: where its middle is and how large one of its
    pixels is in the scene's, and its tilt in radians. Below it its last row goes on."""
    height, width = scene.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    x, y = x - centre[0], y - centre[1]
    cos, sin = torch.cos(torch.tensor(tilt)), torch.sin(torch.tensor(tilt))
    half = layers.shape[-1] * scale / 2
    at = torch.stack([(cos * x + sin * y) / half, (cos * y - sin * x) / half], -1)
    inside = (at[..., 0].abs() < 1) & (at[..., 1] > -1)
    placed = F.grid_sample(layers, at[None], padding_mode="border", align_corners=False)
    placed = torch.where(inside, placed, torch.full_like(placed, -1))
    matte = blur((placed[:, 3:] + 1) / 2, 1.0)
    return scene * (1 - matte) + placed[:, :3] * matte


def with_grain(scene: Tensor, seed: int = 0) -> Tensor:
    grain = torch.randn(1, 1, *scene.shape[-2:], generator=torch.Generator().manual_seed(seed))
    return (scene + 0.02 * grain).clamp(-1, 1)


def _in_room(scene: Tensor, people: list, grain: int = 0) -> Tensor:
    for person, centre, scale, tilt in people:
        side = 256 if scale > 1 else 192
        scene = stand_in(scene, cut_out(person, side), centre, scale * 256 / side, tilt)
    return with_grain(scene, grain)


def main() -> None:
    for name, make in (("portrait", portrait), ("group", group), ("clip", clip)):
        first, *more = [to_pil(frame) for frame in make()]
        lasting = {"save_all": True, "append_images": more, "duration": round(FRAME_SECONDS * 1000)}
        first.save(ASSETS / EXAMPLES[name], quality=90, **(lasting if more else {}))


if __name__ == "__main__":
    main()

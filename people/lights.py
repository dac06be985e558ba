"""Lamps, the ambient light of the room and the background of a person's picture."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

from .gl import SKY
from .person import Person

DISCS = 14


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v)


def _fibonacci(count: int) -> np.ndarray:
    """Directions [count,3] over the part of the sphere that lights a face from the front half."""
    i = np.arange(count) + 0.5
    z = 1 - 1.25 * i / count  # from straight ahead to a little behind
    angle = i * np.pi * (3 - np.sqrt(5)) + 0.6
    r = np.sqrt(np.clip(1 - z * z, 0, 1))
    return np.stack([r * np.cos(angle), r * np.sin(angle), z], 1)


SKY_DIRECTIONS = _fibonacci(SKY)


@dataclass(frozen=True)
class Light:
    """Directions point to the lamp; colours are linear."""

    key: np.ndarray
    key_colour: np.ndarray
    softness: float  # radius of the shadow's edge, texels
    lamp: float  # apparent size of the lamp in the eye, radians
    fill: np.ndarray
    fill_colour: np.ndarray
    rim: np.ndarray
    rim_colour: np.ndarray
    catch: np.ndarray
    sky: np.ndarray  # [SKY,3]


def warm(amount: float) -> np.ndarray:
    """Colour of light from bluish (-1) to golden (1), about as bright as white."""
    return np.array([1 + 0.16 * amount, 1.0, 1 - 0.30 * amount])


def light_of(person: Person) -> Light:
    f = person.values
    azimuth = np.radians(62) * f["light_direction"]
    height = np.radians(8 + 44 * f["light_elevation"])
    key = np.array(
        [np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)]
    )
    contrast, softness = f["light_contrast"], f["light_softness"]
    colour = warm(f["light_warmth"])
    shade = warm(0.35 * f["light_warmth"] - 0.25)
    key_strength = 0.62 + 1.05 * contrast
    fill_strength = 0.60 - 0.50 * contrast
    sky_strength = 1.12 - 0.72 * contrast
    fill = _unit(np.array([-np.sin(azimuth) * 0.8 - 0.15, 0.12, 0.8]))
    rim = _unit(np.array([-0.85 * np.tanh(3 * f["light_direction"] + 0.2), 0.45, -0.45]))

    up = SKY_DIRECTIONS[:, 1]
    room = background_colours(person)
    mean = 0.5 * (room[0] + room[1])
    tint = mean / max(mean.max(), 1e-3)
    level = np.clip(0.62 + 0.38 * up, 0.1, 1) + 0.25 * np.clip(SKY_DIRECTIONS @ key, 0, 1)
    sky = level[:, None] * (0.75 * shade + 0.25 * shade * tint)[None]
    bounce = np.clip(-up, 0, 1)[:, None] * np.array([0.10, 0.05, 0.02])  # warm light from below
    sky = (sky + bounce) * sky_strength / SKY * 2.1
    catch = _unit(np.array([np.clip(key[0], -0.5, 0.5), np.clip(key[1], 0.22, 0.5), 0.85]))
    return Light(
        key=key,
        key_colour=colour * key_strength * 1.25,
        softness=2.5 + 22.0 * softness,
        lamp=0.16 + 0.14 * softness,
        fill=fill,
        fill_colour=shade * fill_strength * 0.8,
        rim=rim,
        rim_colour=warm(-0.2) * (0.25 + 0.35 * contrast),
        catch=catch,
        sky=sky,
    )


def _hsv(h: float, s: float, v: float) -> np.ndarray:
    return np.array(colorsys.hsv_to_rgb(h, s, v)) ** 2.2


def cloth_colour(person: Person) -> np.ndarray:
    f = person.values
    s = 0.75 * f["clothes_colour"] ** 1.3
    return _hsv(f["clothes_hue"], s, 0.10 + 0.78 * f["clothes_light"])


def background_colours(person: Person) -> tuple[np.ndarray, np.ndarray]:
    """The two ends of the gradient, linear."""
    f = person.values
    h, s, v = f["background_hue"], 0.42 * f["background_colour"], f["background_light"]
    low = _hsv(h, s, 0.10 + 0.55 * v)
    high = _hsv((h + 0.06) % 1, s * 0.75, 0.22 + 0.72 * v)
    return low, high


class Background:
    """Uniforms of `background.frag`; where the discs are is the same in every picture."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 5])
        # Two large blurs, six upright blocks (windows, doors, shelves), six discs of light.
        kind = np.repeat([0, 1, 2], [2, 6, 6])
        self._xy = np.stack([
            np.linspace(0.0, 1.0, DISCS)[rng.permutation(DISCS)], rng.uniform(0.2, 1.05, DISCS)
        ], 1)  # fmt: skip
        radius = np.stack([
            rng.uniform(0.3, 0.5, DISCS), -rng.uniform(0.05, 0.16, DISCS),
            rng.uniform(0.02, 0.06, DISCS),
        ])  # fmt: skip
        self._radius = radius[kind, np.arange(DISCS)]
        self._soft = np.array([0.7, 0.38, 0.25])[kind]
        self._hue = rng.uniform(-0.15, 0.15, DISCS)
        level = np.stack([
            rng.uniform(-0.4, 0.5, DISCS), rng.choice([-0.45, 0.7, 1.1], DISCS),
            rng.uniform(0.6, 1.3, DISCS),
        ])  # fmt: skip
        self._level = level[kind, np.arange(DISCS)]

    def uniforms(self, person: Person) -> dict[str, object]:
        f = person.values
        low, high = background_colours(person)
        detail = f["background_detail"] ** 1.2
        colours = []
        for hue, level in zip(self._hue, self._level, strict=True):
            h = (f["background_hue"] + hue) % 1
            c = _hsv(h, 0.10 + 0.4 * f["background_colour"], 0.3 + 0.7 * f["background_light"])
            # A dark block takes a share of the wall away, never all of it.
            colours.append((c if level > 0 else 0.5 * (low + high) * 0.8) * level * detail)
        discs = np.c_[self._xy, self._radius, self._soft]
        side = f["background_gradient"]
        return {
            "low": tuple(low), "high": tuple(high), "discs": discs,
            "disc_colour": np.array(colours), "tilt": (0.75 * side, 0.45, 0.0),
        }  # fmt: skip

"""Colour profiles (ICC): whether one is sRGB, and the way from it to sRGB.

A profile is believed for its curves and primaries, never for its name. Little CMS, through Pillow,
converts 8-bit pictures of every kind; it would round deeper ones to 8 bits, so these are converted
here where their profile is made of curves and a matrix (ICC.1:2022, sections 8.3, 10.6 and 10.18).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

Curve = Callable[[np.ndarray], np.ndarray]  # stored value 0..1 -> light

# levels of 255 by which a profile may differ from sRGB in 8 bits and still be taken as it
_SAME = 2
# sRGB's primaries as light under D50, the white of profiles: what its own profiles hold
_SRGB = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.7141]]
)


def profile_of(picture: Image.Image) -> bytes | None:
    """The embedded profile of a picture, None where there is none that matters: it is damaged, of
    another mode than the picture, or gives the same colours as sRGB."""
    profile = picture.info.get("icc_profile")
    if not profile:
        return None
    probe = _probe(picture.mode)
    convert = to_srgb(probe.mode, profile)
    if convert is None:
        return None
    if probe.mode not in ("L", "RGB"):
        return profile
    change = np.asarray(convert(probe), np.int16) - np.asarray(probe.convert("RGB"), np.int16)
    return profile if np.abs(change).max() > _SAME else None


def to_srgb(mode: str, profile: bytes) -> Callable[[Image.Image], Image.Image] | None:
    """What turns 8-bit pictures of a mode into sRGB; None for a profile of another mode."""
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, target, mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return transform.apply


class Deep:
    """A profile of curves and, for colours, a matrix, applied to float values.

    Raises ValueError for a profile of another kind."""

    def __init__(self, profile: bytes):
        try:
            tags = _tags(profile)
            if b"A2B0" in tags:
                raise ValueError("a profile of tables")
            names = (b"kTRC",) if b"kTRC" in tags else (b"rTRC", b"gTRC", b"bTRC")
            self.curves = [_curve(tags[name]) for name in names]
            self.matrix = None
            if len(names) == 3:
                primaries = (tags[name] for name in (b"rXYZ", b"gXYZ", b"bXYZ"))
                columns = [struct.unpack_from(">3i", tag, 8) for tag in primaries]
                self.matrix = np.linalg.inv(_SRGB) @ (np.stack(columns, axis=1) / 65536)
        except (KeyError, struct.error, IndexError) as error:
            raise ValueError("a profile without curves") from error

    @staticmethod
    def of(profile: bytes | None, channels: int) -> Deep | None:
        """None for no profile, one of another kind, or of other channels."""
        try:
            deep = None if profile is None else Deep(profile)
        except ValueError:
            return None
        return deep if deep is not None and len(deep.curves) == channels else None

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Stored values [...,1 or 3] in 0..1, as the profile has channels, to sRGB in 0..1."""
        light = np.stack([curve(values[..., i]) for i, curve in enumerate(self.curves)], axis=-1)
        if self.matrix is not None:
            light = light @ self.matrix.T
        light = np.clip(light, 0, 1)
        return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def _probe(mode: str) -> Image.Image:
    """Some colours that every profile holds, greys for a grey mode: 8 bits."""
    from PIL import Image

    if (mode.startswith(("I", "F", "L")) and mode != "LAB") or mode == "1":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    if mode == "CMYK":
        return Image.new(mode, (1, 1))
    steps = np.array([16, 64, 112, 160, 208], np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    return Image.fromarray(cube)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    tags = {}
    for k in range(min(count, 100)):
        name, start, size = struct.unpack_from(">4sII", profile, 132 + 12 * k)
        tags[name] = profile[start : start + size]
    return tags


def _curve(tag: bytes) -> Curve:
    (count,) = struct.unpack_from(">I", tag, 8)
    if tag[:4] == b"curv":
        if count == 0:
            return lambda x: x
        table = np.array(struct.unpack_from(f">{count}H", tag, 12))
        if count == 1:
            return lambda x: x ** (table[0] / 256)
        return lambda x: np.interp(x, np.linspace(0, 1, len(table)), table / 65535)
    if tag[:4] != b"para" or count >> 16 > 4:
        raise ValueError("a curve of an unknown kind")
    kind = count >> 16
    g, *rest = (v / 65536 for v in struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}i", tag, 12))
    a, b, c, d, e, f = (rest + [0.0] * 6)[:6]
    if kind == 0:
        return lambda x: x**g
    if kind in (1, 2):  # a power from -b/a on, plus c
        return lambda x: np.maximum(a * x + b, 0) ** g + c * (kind == 2)
    return lambda x: np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f)

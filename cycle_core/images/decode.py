"""From a picture file of any kind to colours in 0..1: modes, depths, profiles, orientation."""

from __future__ import annotations

import contextlib
import io
import struct
import sys
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    from PIL import Image

READABLE = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jp2")
# what Pillow's decoders raise on damaged files
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError)
_DAMAGE += (struct.error, zlib.error)
_ORIENTATION = 0x0112  # the EXIF tag

Channels = tuple[np.ndarray, np.ndarray | None]  # colour [3,H,W] and alpha [H,W], float32 in 0..1


def decode(path: Path, max_pixels: int) -> Channels:
    """Read a file; InputError in one sentence where that cannot be done."""
    with opened(path, max_pixels) as picture:
        return channels(picture, _sixteen_bit(path, picture))


@contextlib.contextmanager
def opened(path: Path, max_pixels: int) -> Iterator[Image.Image]:
    """A picture file of which the header is read; InputError for what is wrong with it, or found
    wrong in the block."""
    from PIL import Image, UnidentifiedImageError

    if not path.exists():
        raise InputError(f"There is no file {path}: check the name and the folder.")
    if path.is_dir():
        raise InputError(f"{path} is a folder and a picture file is expected.")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty: 0 bytes, where a picture is expected.")
    too_large = (
        f"is larger than the {max_pixels / 1e6:g} million pixels that are read: make it smaller "
        "first."
    )
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures and of odd metadata; what matters is told below
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_formats()) as picture:
                width, height = picture.size
                if width * height > max_pixels:
                    raise InputError(f"{path} ({width}x{height}) {too_large}")
                yield picture
    except Image.DecompressionBombError as error:
        raise InputError(f"{path} {too_large}") from error
    except UnidentifiedImageError as error:
        raise InputError(
            f"{path} is not a picture that can be read: give a PNG, JPEG, WebP, TIFF, BMP or GIF."
        ) from error
    except PermissionError as error:
        raise InputError(f"{path} may not be read: change its permissions or copy it.") from error
    except MemoryError as error:
        raise InputError(f"{path} does not fit into memory: make it smaller first.") from error
    except _DAMAGE as error:
        raise InputError(
            f"{path} is damaged or cut off ({error}): take another copy of it."
        ) from error


def channels(picture: Image.Image, deep: np.ndarray | None = None) -> Channels:
    """A loaded picture's colours and alpha; `deep` [H,W,3 or 4] replaces its 8-bit samples."""
    orientation = _orientation(picture)
    profile = _foreign_profile(picture)
    if deep is not None and profile is None:
        colour, alpha = deep[..., :3], deep[..., 3] if deep.shape[-1] == 4 else None
    elif picture.mode.startswith("I") or picture.mode == "F":
        colour, alpha = _grey_levels(picture)[..., None].repeat(3, axis=-1), None
    else:
        colour, alpha = _eight_bit(picture, profile)
    rgb = _upright(np.moveaxis(colour, -1, 0), orientation)
    return (
        np.ascontiguousarray(rgb, np.float32),
        None if alpha is None else np.ascontiguousarray(_upright(alpha, orientation), np.float32),
    )


def _formats() -> list[str]:
    """The formats of READABLE by Pillow's names. It knows more, and hands some of them (EPS) to
    other programs of the machine, which no picture from anywhere should start."""
    from PIL import Image

    known = Image.registered_extensions()
    return sorted({known[ending] for ending in READABLE if ending in known})


def _eight_bit(picture: Image.Image, profile: bytes | None) -> Channels:
    transparent = picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or (
        "transparency" in picture.info
    )
    alpha = None
    if transparent:
        rgba = picture.convert("RGBA")
        alpha = np.asarray(rgba.getchannel("A"), np.float32) / 255
        picture = rgba.convert("RGB")
    elif picture.mode in ("P", "1"):
        picture = picture.convert("RGB")
    if profile is not None:
        picture = _to_srgb(picture, profile)
    return np.asarray(picture.convert("RGB"), np.float32) / 255, alpha


def _grey_levels(picture: Image.Image) -> np.ndarray:
    """[H,W] in 0..1 of the grey modes that are deeper than 8 bits."""
    grey = np.nan_to_num(np.asarray(picture).astype(np.float64))
    if picture.mode.startswith("I;16"):
        return grey / 65535
    # "I" and "F" do not say what white is: the smallest usual white that holds every sample
    top = grey.max(initial=0)
    whites = (1, 255, 65535, 2**31 - 1) if picture.mode == "F" else (65535, 2**31 - 1)
    return np.clip(grey / next((white for white in whites if top <= white), top), 0, 1)


def _sixteen_bit(path: Path, picture: Image.Image) -> np.ndarray | None:
    """[H,W,3 or 4] in 0..1 of a 16-bit colour picture, of which Pillow decodes one byte a sample.

    Decoding twice, once as if the file had the other byte order, gives the high and the low
    bytes. None for other pictures and where the decoder does not know the layout."""
    from PIL import Image

    swapped = [_other_byte(tile) for tile in getattr(picture, "tile", [])]
    if picture.mode not in ("RGB", "RGBA") or not swapped or None in swapped:
        return None
    try:
        with Image.open(path) as low:
            low.tile = swapped  # type: ignore[attr-defined]
            bytes_low = np.asarray(low, np.uint16)
    except (ValueError, OSError):  # Pillow has no such layout
        return None
    return (np.asarray(picture, np.uint16) * 256 + bytes_low).astype(np.float32) / 65535


def _other_byte(tile: Any) -> Any:
    """The tile with its 16-bit layout ("RGB;16B") in the other byte order, None for others."""
    native, other = ("16L", "16B") if sys.byteorder == "little" else ("16B", "16L")
    swap = {"16B": "16L", "16L": "16B", "16N": other, native: other}
    arguments = tile[3]
    layout = arguments if isinstance(arguments, str) else arguments[0]
    mode, _, depth = str(layout).partition(";")
    if depth not in swap:
        return None
    layout = f"{mode};{swap[depth]}"
    arguments = layout if isinstance(arguments, str) else (layout, *arguments[1:])
    return tile._replace(args=arguments) if hasattr(tile, "_replace") else (*tile[:3], arguments)


def _foreign_profile(picture: Image.Image) -> bytes | None:
    """The embedded colour profile, None if there is none or it is sRGB."""
    profile = picture.info.get("icc_profile")
    if not profile:
        return None
    from PIL import ImageCms

    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None  # a damaged profile: take the colours as sRGB
    return None if "srgb" in name.lower() else profile


def _to_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(
            picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return picture  # a profile that does not fit the picture's mode
    return converted or picture


def _orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except _DAMAGE:
        return 1  # damaged EXIF does not make the picture unusable


def _upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """[..., H, W] as EXIF orientation 1-8 says that it is to be shown."""
    if orientation in (5, 6, 7, 8):
        image = np.swapaxes(image, -1, -2)
    if orientation in (3, 4, 7, 8):
        image = image[..., ::-1, :]
    if orientation in (2, 3, 6, 7):
        image = image[..., ::-1]
    return image

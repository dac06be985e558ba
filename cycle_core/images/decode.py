"""From a picture file of any kind to colours in 0..1: modes, depths, profiles, orientation."""

from __future__ import annotations

import contextlib
import io
import struct
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..errors import InputError
from . import exif
from .profile import Deep, foreign, to_srgb

if TYPE_CHECKING:
    from PIL import Image

READABLE = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jp2")
HEIF = (".heic", ".heif", ".hif")  # that are read where pillow-heif is installed
# what Pillow's decoders raise on damaged files
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError)
_DAMAGE += (RuntimeError, OverflowError, struct.error, zlib.error)

_ROWS = 64  # converted at a time

# PIL.Image.Transpose of the orientations from 2 on: mirrored, upside down, ...
_TURNS = (0, 3, 1, 5, 4, 6, 2)

Channels = tuple[np.ndarray, np.ndarray | None]  # colour [3,H,W] and alpha [H,W], float32 in 0..1
Convert = Callable[["Image.Image", "Image.Image | None"], np.ndarray]


def decode(path: Path, max_pixels: int, data: bytes | None = None) -> Channels:
    """Read a file; InputError in one sentence where that cannot be done.

    data: what is in it, where it lies in another file; `path` is then its name in messages."""
    with opened(path, max_pixels, data) as picture:
        return channels(picture, lambda: _file(path, data))


@contextlib.contextmanager
def opened(path: Path, max_pixels: int, data: bytes | None = None) -> Iterator[Image.Image]:
    """A picture file of which the header is read; InputError for what is wrong with it, or found
    wrong in the block. data: see `decode`."""
    from PIL import Image, UnidentifiedImageError

    if data is None and not path.exists():
        raise InputError(f"There is no file {path}: check the name and the folder.")
    if data is None and path.is_dir():
        raise InputError(f"{path} is a folder and a picture file is expected.")
    if (path.stat().st_size if data is None else len(data)) == 0:
        raise InputError(f"{path} is empty: 0 bytes, where a picture is expected.")
    too_large = (
        f"is larger than the {max_pixels / 1e6:g} million pixels that are read: make it smaller "
        "first."
    )
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures and of odd metadata; what matters is reported below
            warnings.simplefilter("ignore")
            with _file(path, data) as file:
                exif.check(file)
            with Image.open(
                path if data is None else io.BytesIO(data), formats=_formats()
            ) as picture:
                width, height = picture.size
                if width * height > max_pixels:
                    raise InputError(f"{path} ({width}x{height}) {too_large}")
                yield picture
    except Image.DecompressionBombError as error:
        raise InputError(f"{path} {too_large}") from error
    except UnidentifiedImageError as error:
        if _is_heif(path, data):
            raise InputError(
                f"{path} is a HEIC picture, as phones write them: `pip install pillow-heif`, or "
                "save it as JPEG."
            ) from error
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


def channels(picture: Image.Image, file: Callable[[], BinaryIO] | None = None) -> Channels:
    """A picture's colours and alpha, upright and in sRGB. It may be changed on the way.

    file: opens its file, for the low bytes of 16-bit colours.
    Some rows at a time, so that no more is held than the picture as it is stored and the result."""
    profile = foreign(picture)
    picture.load()
    vars(picture).pop("_decoder", None)  # that of WebP holds two pictures more
    low = None if file is None else _low_bytes(file, picture)
    for part in (picture, low):
        if part is not None:
            _turn_upright(part)
    convert = _conversion(picture, low is not None, profile)
    width, height = picture.size
    planes = None  # [3 or 4,H,W]
    for top in range(0, height, _ROWS):
        box = (0, top, width, min(top + _ROWS, height))
        here = convert(picture.crop(box), None if low is None else low.crop(box))  # [h,W,C]
        if planes is None:
            planes = np.empty((max(here.shape[2], 3), height, width), np.float32)
        planes[:, box[1] : box[3]] = np.moveaxis(here, -1, 0)
    assert planes is not None  # no picture has a height of 0
    return planes[:3], planes[3] if len(planes) == 4 else None


def readable() -> tuple[str, ...]:
    """The endings of the picture files that are read here."""
    return READABLE + (HEIF if _has_heif() else ())


@lru_cache(maxsize=1)
def _has_heif() -> bool:
    """Whether pictures of phones can be read; Pillow then knows how."""
    try:
        import pillow_heif

        pillow_heif.register_heif_opener(thumbnails=False)
    except Exception:  # not installed, or not for this machine
        return False
    return True


def _file(path: Path, data: bytes | None) -> BinaryIO:
    return open(path, "rb") if data is None else io.BytesIO(data)


def _is_heif(path: Path, data: bytes | None) -> bool:
    """By its first bytes: phones write it under any ending."""
    with _file(path, data) as file:
        head = file.read(12)
    brands = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
    return head[4:8] == b"ftyp" and head[8:] in brands


def _formats() -> list[str]:
    """The formats that are read, by Pillow's names. It knows more, and hands some of them (EPS) to
    other programs of the machine, which no picture from anywhere should start."""
    from PIL import Image

    known = Image.registered_extensions()
    return sorted({known[ending] for ending in readable() if ending in known})


def _conversion(picture: Image.Image, deep: bool, profile: bytes | None) -> Convert:
    """What makes values [h,W,1, 3 or 4] in 0..1 of a part of the picture and its low bytes."""
    if picture.mode.startswith("I") or picture.mode == "F":
        white, curves = _white(picture), Deep.of(profile, 1)
        return lambda part, _: _deep_grey(part, white, curves)
    curves = Deep.of(profile, 3) if deep else None
    if deep and (profile is None or curves is not None):
        return lambda part, low: _deep_colour(part, low, curves)
    transparent = picture.mode in ("LA", "PA", "RGBA", "La", "RGBa")
    transparent = transparent or "transparency" in picture.info
    grey = picture.mode in ("L", "LA", "La")
    mode = picture.mode if picture.mode in ("CMYK", "YCbCr", "LAB", "HSV") else "RGB"
    mode = "L" if grey else mode
    levels = (np.arange(256, dtype=np.float32) / 255)[:, None]
    # Little CMS is levels off in the shadows of greys
    curves = Deep.of(profile, 1) if grey else None
    levels = levels if curves is None else curves(levels).astype(np.float32)
    adapt = None if profile is None or curves is not None else to_srgb(mode, profile)

    def convert(part: Image.Image, _: Image.Image | None) -> np.ndarray:
        alpha = None
        if transparent:
            part = part.convert("LA" if grey else "RGBA")
            alpha = np.asarray(part.getchannel("A"), np.float32)[..., None] / 255
        if part.mode != mode:
            part = part.convert(mode)
        if adapt is not None:
            part = adapt(part)
        elif mode not in ("L", "RGB"):
            part = part.convert("RGB")
        colour = levels[:, 0][np.asarray(part)]
        colour = colour if colour.ndim == 3 else colour[..., None]
        if alpha is None:
            return colour
        return np.concatenate([np.broadcast_to(colour, (*alpha.shape[:2], 3)), alpha], axis=2)

    return convert


def _white(picture: Image.Image) -> float:
    """The stored value that is white. "I" and "F" do not say it: the smallest usual one that holds
    every sample."""
    if picture.mode.startswith("I;16"):
        return 65535
    top = float(np.nanmax(np.asarray(picture), initial=0))
    whites = (1, 255, 65535, 2**31 - 1) if picture.mode == "F" else (65535, 2**31 - 1)
    return next((white for white in whites if top <= white), top)


def _deep_grey(part: Image.Image, white: float, curves: Deep | None) -> np.ndarray:
    grey = np.nan_to_num(np.asarray(part).astype(np.float64))[..., None]
    grey = np.clip(grey / white, 0, 1)
    return grey if curves is None else curves(grey)


def _deep_colour(high: Image.Image, low: Image.Image | None, curves: Deep | None) -> np.ndarray:
    """Of the high and the low bytes."""
    values = (np.asarray(high, np.uint16) * 256 + np.asarray(low, np.uint16)).astype(np.float32)
    values /= 65535
    if curves is not None:
        values[..., :3] = curves(values[..., :3])
    return values


def _low_bytes(file: Callable[[], BinaryIO], picture: Image.Image) -> Image.Image | None:
    """The low bytes of a 16-bit colour picture, of which Pillow decodes one byte a sample: it is
    decoded again as if the file had the other byte order.

    None for other pictures and where the decoder does not know the layout."""
    from PIL import Image

    with file() as content, Image.open(content, formats=_formats()) as low:
        swapped = [_other_byte(tile) for tile in getattr(low, "tile", [])]
        if picture.mode not in ("RGB", "RGBA") or not swapped or None in swapped:
            return None
        low.tile = swapped  # type: ignore[attr-defined]
        try:
            low.load()
        except (ValueError, OSError):  # Pillow has no such layout
            return None
        return low


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


def _turn_upright(picture: Image.Image) -> None:
    with contextlib.suppress(*_DAMAGE):  # damaged EXIF does not make the picture unusable
        turn = exif.orientation(picture) - 2
        if turn >= 0:  # in place, as Pillow's exif_transpose does it, which rewrites the EXIF, too
            picture.im = picture.im.transpose(_TURNS[turn])
            picture._size = picture.im.size

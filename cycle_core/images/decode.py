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
from .profile import Deep, profile_of, to_srgb

if TYPE_CHECKING:
    from PIL import Image

# pixels of what takes more to decode than the picture: OpenJPEG's 20 bytes are 1.2 GB then, too
MOST = {"JPEG2000": 60_000_000}
READABLE = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jp2")
HEIF = (".heic", ".heif", ".hif")  # that are read where pillow-heif is installed
# what Pillow's decoders raise on damaged files
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError)
_DAMAGE += (RuntimeError, OverflowError, struct.error, zlib.error)

_ROWS = 64  # converted at a time

Channels = tuple[np.ndarray, np.ndarray | None]  # colour [3,H,W] and alpha [H,W], float32 in 0..1
Pack = Callable[["Image.Image"], np.ndarray]
Convert = Callable[[np.ndarray, slice], np.ndarray]


def decode(path: Path, max_pixels: int, data: bytes | None = None) -> Channels:
    """Read a file; InputError in one sentence where that cannot be done.

    data: what is in it, where it lies in another file; `path` is then its name in messages."""
    with opened(path, max_pixels, data) as picture:
        return channels(picture, lambda: _file(path, data))


def _too_large(most: int) -> str:
    return f"is larger than the {most / 1e6:g} million pixels that are read: make it smaller first."


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
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures and of odd metadata; what matters is reported below
            warnings.simplefilter("ignore")
            with Image.open(
                path if data is None else io.BytesIO(data), formats=_formats()
            ) as picture:
                width, height = picture.size
                most = min(max_pixels, MOST.get(picture.format or "", max_pixels))
                if width * height > most:
                    raise InputError(f"{path} ({width}x{height}) {_too_large(most)}")
                yield picture
    except Image.DecompressionBombError as error:
        raise InputError(f"{path} {_too_large(max_pixels)}") from error
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
    """A picture's colours and alpha, upright and in sRGB. It is closed on the way.

    file: opens its file, for the low bytes of 16-bit colours.
    What is decoded, at most 4 bytes a pixel, is kept in the last plane of the result and replaced
    there row by row: no more is held than the larger of what the decoder takes and the result."""
    profile = profile_of(picture)
    low = None if file is None else _low_bytes(file, picture, profile)
    planes = None  # [3 or 4,H,W]
    if low is not None:
        _turn_upright(low)
        planes = np.empty((len(low.getbands()), low.height, low.width), np.float32)
        low = _stored(low, planes[-2], np.asarray)
    _load(picture)
    _turn_upright(picture)
    pack, convert, count = _conversion(picture, low, profile)
    if planes is None:
        planes = np.empty((count, picture.height, picture.width), np.float32)
    high = _stored(picture, planes[-1], pack)
    for rows in _bands(planes.shape[1]):
        here = convert(high[rows], rows)  # [h,W,C]
        planes[:, rows] = np.moveaxis(here, -1, 0)
    return planes[:3], planes[3] if len(planes) == 4 else None


def _load(picture: Image.Image) -> None:
    """Decode it. The decoders of WebP and AVIF hold up to two pictures more, and are let go before
    Pillow makes its own."""
    from PIL import ImageFile

    if isinstance(picture, ImageFile.ImageFile):
        prepare = picture.load_prepare

        def lean() -> None:
            vars(picture).pop("_decoder", None)
            prepare()

        picture.load_prepare = lean
    picture.load()


def _bands(height: int) -> Iterator[slice]:
    return (slice(top, min(top + _ROWS, height)) for top in range(0, height, _ROWS))


def _stored(picture: Image.Image, plane: np.ndarray, pack: Pack) -> np.ndarray:
    """The picture, packed, in the memory of a plane [H,W] of 4 bytes a pixel: [H,W,C], each row
    where the plane has it. The picture is closed."""
    width, stored = picture.width, None
    for rows in _bands(picture.height):
        here = pack(picture.crop((0, rows.start, width, rows.stop)))  # [h,W] or [h,W,C]
        here = here.reshape(*here.shape[:2], -1)
        if stored is None:
            flat = plane.view(here.dtype)[:, : width * here.shape[2]]
            stored = flat.reshape(*plane.shape, here.shape[2])
        stored[rows] = here
    picture.close()
    assert stored is not None  # no picture has a height of 0
    return stored


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


def _conversion(
    picture: Image.Image, low: np.ndarray | None, profile: bytes | None
) -> tuple[Pack, Convert, int]:
    """What packs a part of a picture into an array of at most 4 bytes a pixel, what makes values
    [h,W,C] in 0..1 of these rows of it, and the number of planes that hold them."""
    if picture.mode.startswith("I") or picture.mode == "F":
        white, curves = _white(picture), Deep.of(profile, 1)
        return np.asarray, lambda part, _: _deep_grey(part, white, curves), 3
    if low is not None:
        curves = Deep.of(profile, 3)
        return np.asarray, lambda part, rows: _deep_colour(part, low[rows], curves), low.shape[2]
    transparent = picture.mode in ("LA", "PA", "RGBA", "La", "RGBa")
    transparent = transparent or "transparency" in picture.info
    grey = picture.mode in ("L", "LA", "La")
    mode = picture.mode if picture.mode in ("CMYK", "YCbCr", "LAB", "HSV") else "RGB"
    mode = "L" if grey else mode
    levels = np.arange(256, dtype=np.float32) / 255
    # Little CMS is levels off in the shadows of greys
    curves = Deep.of(profile, 1) if grey else None
    colours = levels if curves is None else curves(levels[:, None])[:, 0].astype(np.float32)
    adapt = None if profile is None or curves is not None else to_srgb(mode, profile)

    def pack(part: Image.Image) -> np.ndarray:
        alpha = None
        if transparent:
            part = part.convert("LA" if grey else "RGBA")
            alpha = np.asarray(part.getchannel("A"))
        if part.mode != mode:
            part = part.convert(mode)
        if adapt is not None:
            part = adapt(part)
        elif mode not in ("L", "RGB"):
            part = part.convert("RGB")
        packed = np.asarray(part)
        return packed if alpha is None else np.dstack([packed, alpha])

    def convert(part: np.ndarray, _: slice) -> np.ndarray:
        if not transparent:
            return colours[part]
        colour = np.broadcast_to(colours[part[..., :-1]], (*part.shape[:2], 3))
        return np.concatenate([colour, levels[part[..., -1:]]], axis=2)

    return pack, convert, 3 + transparent


def _white(picture: Image.Image) -> float:
    """The stored value that is white. "I" and "F" do not say it: the smallest usual one that holds
    every sample."""
    if picture.mode.startswith("I;16"):
        return 65535
    top = float(np.nanmax(np.asarray(picture), initial=0))
    whites = (1, 255, 65535, 2**31 - 1) if picture.mode == "F" else (65535, 2**31 - 1)
    return next((white for white in whites if top <= white), top)


def _deep_grey(part: np.ndarray, white: float, curves: Deep | None) -> np.ndarray:
    grey = np.clip(np.nan_to_num(part.astype(np.float64)) / white, 0, 1)
    return grey if curves is None else curves(grey)


def _deep_colour(high: np.ndarray, low: np.ndarray, curves: Deep | None) -> np.ndarray:
    values = (high.astype(np.uint16) * 256 + low).astype(np.float32) / 65535
    if curves is not None:
        values[..., :3] = curves(values[..., :3])
    return values


def _low_bytes(
    file: Callable[[], BinaryIO], picture: Image.Image, profile: bytes | None
) -> Image.Image | None:
    """The low bytes of a 16-bit colour picture, of which Pillow decodes one byte a sample: it is
    decoded again as if the file had the other byte order.

    None for other pictures, for a profile that is applied to 8 bits, and where the decoder does not
    know the layout."""
    from PIL import Image

    with file() as content, Image.open(content, formats=_formats()) as low:
        swapped = [_other_byte(tile) for tile in getattr(low, "tile", [])]
        if picture.mode not in ("RGB", "RGBA") or not swapped or None in swapped:
            return None
        if profile is not None and Deep.of(profile, 3) is None:
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
    from PIL import ImageOps

    with contextlib.suppress(*_DAMAGE):  # damaged EXIF does not make the picture unusable
        ImageOps.exif_transpose(picture, in_place=True)

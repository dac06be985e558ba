"""Pictures in and out: files, PIL images and ComfyUI tensors to the library's tensors and back.

Inside the library an image is float32 [B,3,H,W] in [-1,1], RGB, sRGB-encoded; an alpha channel is
float32 [B,1,H,W] in [0,1], 1 = opaque. How a file becomes such a tensor is in `decode.py`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import InputError
from ..files.disk import replacing, writing
from ..runtime.devices import one_thread_if_small

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 100_000_000  # width x height: 1.2 GB as float32
SHEET, SHEET_NOTE = "sheet.png", "A sheet of pictures, written by cycle-core"
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".bmp": "BMP"}
FORMATS |= {".tif": "TIFF", ".tiff": "TIFF"}
_SAVE_OPTIONS = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 95, "method": 4}}
_WITHOUT_ALPHA = ("JPEG", "BMP")


@dataclass(frozen=True)
class Photo:
    """A picture as it was read: upright, in sRGB.

    image: float32 [1,3,H,W] in [-1,1]; the colours that are stored, also where alpha is 0.
    alpha: float32 [1,1,H,W] in [0,1], None for a picture without transparency.
    path: where it was read from, None for a picture that was made in memory.
    """

    image: torch.Tensor
    alpha: torch.Tensor | None = None
    path: Path | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.image.shape[-1], self.image.shape[-2]


def read_photo(path: str | Path, max_pixels: int = MAX_PIXELS, data: bytes | None = None) -> Photo:
    """Read a picture file: any mode and depth, turned upright (EXIF), colours converted to sRGB.

    16-bit files keep their precision, unless they carry a colour profile other than sRGB (the
    conversion works on 8 bits). Of an animation the first frame is taken.
    data: what is in the file, where it lies in another one; `path` then names it in messages.
    Raises InputError for a file that is missing, empty, truncated, no image, or has more than
    `max_pixels` pixels (its header is read first; nothing is decoded)."""
    from .decode import decode

    path = Path(path)
    rgb, alpha = decode(path, max_pixels, data)  # [3,H,W], [H,W] in 0..1
    image = torch.from_numpy(rgb).mul_(2).sub_(1)[None]
    return Photo(image, None if alpha is None else torch.from_numpy(alpha)[None, None], path)


def read_size(path: str | Path) -> tuple[int, int]:
    """(width, height) in pixels, as the header of a picture file has it: nothing is decoded.

    Raises InputError as `read_photo`, but finds no damage behind the header."""
    from .decode import opened

    with opened(Path(path), MAX_PIXELS) as picture:
        return picture.size


def read_image(path: str | Path, data: bytes | None = None) -> torch.Tensor:
    """float32 [1,3,H,W] in [-1,1]: `read_photo` with transparent parts laid over white."""
    photo = read_photo(path, data=data)
    return _over_white(photo.image, photo.alpha)


def read_crop(path: str | Path, data: bytes | None = None) -> torch.Tensor:
    """float32 [1,3,S,S] in [-1,1]: `read_image` of a square. Raises InputError for any other."""
    crop = read_image(path, data)
    check_square(path, crop.shape[-1], crop.shape[-2])
    return crop


def check_square(path: str | Path, width: int, height: int) -> None:
    """Raise InputError for a picture file that cannot be a crop."""
    if height != width:
        raise InputError(
            f"{path} is {width}x{height}, but a crop is square: cut the face out first with "
            "`cycle-core align`."
        )


def save_image(
    image: Photo | torch.Tensor,
    path: str | Path,
    alpha: torch.Tensor | None = None,
    note: str = "",
) -> Path:
    """Write an image of one picture, 8 bits a channel, in the format of the name's ending.

    image: Photo, or float [1,C,H,W] or [C,H,W] in [-1,1] (values beyond are clamped); C = 1 is
        grey, 2 grey with alpha, 3 RGB, 4 RGBA.
    alpha: [1,1,H,W] in [0,1]; formats without transparency get the picture over white.
    note: Latin-1, which a PNG keeps as its description.
    The file appears whole or not at all, and an older one of that name stays until then; missing
    folders are made. Raises InputError for an unknown ending, an image that cannot be written, an
    unwritable folder or a full disk."""
    path = Path(path)
    if isinstance(image, Photo):
        image, alpha = image.image, image.alpha if alpha is None else alpha
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise InputError(
            f"{path.name} does not end in the name of a picture format that can be written: "
            f"choose one of {' '.join(FORMATS)}."
        )
    grey = image.ndim in (3, 4) and image.shape[-3] in (1, 2)
    if image.ndim in (3, 4) and image.shape[-3] in (2, 4) and alpha is None:
        alpha = (image[..., -1:, :, :].float() + 1).div(2).clamp(0, 1)
        image = image[..., :-1, :, :]
    if grey:
        image = image[..., :1, :, :].repeat_interleave(3, dim=-3)
    if kind in _WITHOUT_ALPHA and alpha is not None:
        image, alpha = _over_white(image.float(), alpha), None
    picture = to_pil(image, alpha)
    if grey:
        picture = picture.convert("LA" if alpha is not None else "L")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part, open(part, "wb") as file:
            picture.save(file, format=kind, **_SAVE_OPTIONS.get(kind, {}), **_noted(kind, note))
    return path


def _noted(kind: str, note: str) -> dict[str, Any]:
    if kind != "PNG" or not note:
        return {}
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("Description", note)
    return {"pnginfo": text}


def is_sheet(path: str | Path) -> bool:
    """Whether a file is one that `sheet.save_sheet` wrote, and no picture of its folder."""
    if Path(path).name != SHEET:
        return False
    try:
        with open(path, "rb") as file:
            return f"Description\0{SHEET_NOTE}".encode() in file.read(1024)  # of the PNG's head
    except OSError:
        return False  # whoever reads the picture says why


def list_images(folder: str | Path, nested: bool = False) -> list[Path]:
    """The picture files in a folder, by name (img2 before img10); hidden ones and sheets left out.

    nested: those in the folders below too, folder by folder; links to folders are not followed.
    Raises InputError if there is no such folder or no picture in it."""
    from .decode import readable

    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give the folder that holds the pictures.")
    found: list[Path] = []
    for path, below, names in os.walk(folder, onerror=_reraise):
        below[:] = [name for name in below if nested and not name.startswith(".")]
        found += [
            Path(path, name)
            for name in names
            if Path(name).suffix.lower() in readable()
            and not name.startswith(".")
            and os.path.isfile(os.path.join(path, name))
            and not is_sheet(os.path.join(path, name))
        ]
    if not found:
        raise InputError(
            f"{folder} holds no pictures: a file ending in one of {' '.join(readable())} is "
            "expected."
        )
    return natural_order(found, folder)


def natural_order(paths: Iterable[Path], folder: Path) -> list[Path]:
    """Files of a folder by name, img2 before img10, folder by folder."""
    order = {path: path.relative_to(folder).parts for path in paths}
    return sorted(order, key=lambda path: ([_natural(part) for part in order[path]], path))


def to_pil(image: torch.Tensor, alpha: torch.Tensor | None = None) -> Image.Image:
    """[1,3,H,W] or [3,H,W] in [-1,1] -> 8-bit RGB picture (RGBA with alpha), rounded and clamped.

    Raises InputError for another shape or for values that are not finite."""
    from PIL import Image

    rgb = _single(image, 3, "An image")
    if not bool(torch.isfinite(rgb).all()):
        raise InputError(
            "The image holds NaN or infinite values, which no picture can show: look at the model "
            "or the setting that made it."
        )
    levels = ((rgb + 1) * 127.5).round().clamp(0, 255)
    if alpha is not None:
        opaque = _single(alpha, 1, "An alpha channel")
        if opaque.shape[-2:] != rgb.shape[-2:]:
            raise InputError(
                f"The alpha channel is {opaque.shape[-1]}x{opaque.shape[-2]} and the image "
                f"{rgb.shape[-1]}x{rgb.shape[-2]}: both must have one size."
            )
        levels = torch.cat([levels, (opaque * 255).round().clamp(0, 255)])
    return Image.fromarray(levels.to(torch.uint8).permute(1, 2, 0).contiguous().numpy())


def from_pil(picture: Image.Image) -> Photo:
    """A PIL image of any mode -> Photo (upright, sRGB); the given picture is left as it is."""
    from .decode import channels

    rgb, alpha = channels(picture.copy())
    image = torch.from_numpy(rgb).mul_(2).sub_(1)[None]
    return Photo(image, None if alpha is None else torch.from_numpy(alpha)[None, None])


@one_thread_if_small()
def from_comfy(images: torch.Tensor) -> torch.Tensor:
    """ComfyUI IMAGE [B,H,W,C] in 0..1 -> float32 [B,3,H,W] in [-1,1].

    C = 1 is grey, 3 RGB, of 4 the alpha channel is dropped; InputError for another shape."""
    if images.ndim != 4 or images.shape[-1] not in (1, 3, 4):
        raise InputError(
            f"ComfyUI's images have the shape [batch, height, width, 3], but "
            f"{list(images.shape)} was given: connect an IMAGE."
        )
    image = images[..., :3].movedim(-1, 1).float() * 2 - 1
    return image.expand(-1, 3, -1, -1).contiguous()


@one_thread_if_small()
def to_comfy(image: torch.Tensor) -> torch.Tensor:
    """float [B,C,H,W] in [-1,1] -> ComfyUI IMAGE, float32 [B,H,W,3], clamped to 0..1: grey as RGB,
    what is transparent over white (`as_rgb`)."""
    if image.ndim != 4:
        raise InputError(
            f"An image has the shape [batch, 3, height, width], but {list(image.shape)} was given."
        )
    return ((as_rgb(image.float()) + 1) / 2).clamp(0, 1).movedim(1, -1).contiguous()


def as_image(photo: Photo | torch.Tensor) -> torch.Tensor:
    """The float32 [1,3,H,W] of a Photo or of a tensor; InputError for another shape."""
    image = photo.image if isinstance(photo, Photo) else photo
    if image.ndim == 3:
        image = image[None]
    if image.ndim != 4 or image.shape[0] != 1 or image.shape[1] != 3 or 0 in image.shape:
        raise InputError(
            f"One photo has the shape [1, 3, height, width], but {list(image.shape)} was given: "
            "take one picture of the batch, with three colours."
        )
    return image.float()


def as_rgb(image: torch.Tensor) -> torch.Tensor:
    """Pictures [B,C,H,W] in [-1,1] of 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA) channels as
    [B,3,H,W]; what is transparent lies over white. InputError for another number."""
    channels = image.shape[1]
    if channels == 3:
        return image
    if channels not in (1, 2, 4):
        raise InputError(f"Pictures of {channels} channels cannot be shown.")
    colour = image[:, :3] if channels == 4 else image[:, :1].expand(-1, 3, -1, -1)
    alpha = (image[:, -1:] + 1) / 2 if channels != 1 else None
    return _over_white(colour, None if alpha is None else alpha.clamp(0, 1))


def _single(value: torch.Tensor, channels: int, what: str) -> torch.Tensor:
    """[1,C,H,W] or [C,H,W] -> float32 [C,H,W] on the CPU."""
    value = value.detach()
    if value.ndim == 4 and value.shape[0] == 1:
        value = value[0]
    if value.ndim != 3 or value.shape[0] != channels or 0 in value.shape:
        raise InputError(
            f"{what} of one picture has the shape [1, {channels}, height, width], but "
            f"{list(value.shape)} was given."
        )
    return value.float().cpu()


def _over_white(image: torch.Tensor, alpha: torch.Tensor | None) -> torch.Tensor:
    return image if alpha is None else image * alpha + (1 - alpha)


def _reraise(error: OSError) -> None:
    raise error


def _natural(name: str) -> list[tuple[int, str]]:
    """img2 before img10: runs of digits compare as numbers."""
    runs = re.findall(r"\d+|\D+", name.lower())
    return [(int(run), "") if run.isdecimal() else (-1, run) for run in runs]

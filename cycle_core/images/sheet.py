"""A contact sheet: a labelled table of pictures, worth showing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..runtime.devices import one_thread_if_small
from .io import SHEET, SHEET_NOTE, from_pil, save_image, to_pil

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

PAPER, INK, FAINT = (250, 249, 247), (32, 33, 36), (112, 114, 120)


@one_thread_if_small()
def contact_sheet(
    rows: Sequence[Sequence[torch.Tensor | None]],
    columns: Sequence[str] = (),
    row_labels: Sequence[str] = (),
    title: str = "",
    cell: int = 192,
    captions: Sequence[Sequence[str]] = (),
) -> torch.Tensor:
    """rows of images float [1,3,h,w] in [-1,1] of any size -> one image float32 [1,3,H,W].

    columns, row_labels: headings; captions: a small line under each picture, as rows of strings.
    cell: width of a picture on the sheet in pixels; its height follows, at most 1.5 times that.
    None leaves a cell empty."""
    from PIL import Image, ImageDraw, ImageFont

    sizes = (max(round(cell * part), 9) for part in (0.13, 0.082, 0.07))
    big, text, small = map(ImageFont.load_default, sizes)
    gap, margin = max(cell // 16, 4), max(cell // 7, 8)
    pictures = [
        [None if image is None else _fit(to_pil(image), cell) for image in row] for row in rows
    ]
    count = max([len(row) for row in pictures] + [len(columns), 1])
    probe = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    headings = [_wrap(probe, label, text, cell) for label in columns]
    names = [_wrap(probe, label, text, round(cell * 0.8)) for label in row_labels]
    left = margin + (max((_size(probe, name, text)[0] for name in names), default=-gap) + gap)
    top = margin + (_size(probe, title, big)[1] + 2 * gap if title else 0)
    first = top + (max((_size(probe, label, text)[1] for label in headings), default=-gap) + gap)
    line = _size(probe, "Ag", small)[1] + gap // 2 if captions else 0
    heights = [max((p.height for p in row if p), default=cell) for row in pictures]

    width = max(left + count * (cell + gap) - gap, left + _size(probe, title, big)[0]) + margin
    height = first + sum(heights) + len(rows) * (line + gap) - gap + margin
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((left, margin), title, INK, font=big)
    for column, label in enumerate(headings):
        middle = left + column * (cell + gap) + cell // 2
        draw.multiline_text(
            (middle, first - gap), label, INK, font=text, anchor="md", align="center"
        )
    y = first
    for index, row in enumerate(pictures):
        if index < len(names):
            at = (left - gap, y + heights[index] // 2)
            draw.multiline_text(at, names[index], INK, font=text, anchor="rm", align="right")
        for column, picture in enumerate(row):
            x = left + column * (cell + gap)
            if picture is not None:
                sheet.paste(picture, (x + (cell - picture.width) // 2, y))
            caption = _at(captions, index, column)
            if caption:
                below = (x + cell // 2, y + (picture.height if picture else 0) + gap // 3)
                draw.text(below, caption, FAINT, font=small, anchor="ma")
        y += heights[index] + line + gap
    return from_pil(sheet).image


def save_sheet(sheet: torch.Tensor, folder: str | Path) -> Path:
    """Write folder/sheet.png, marked so that no reader of a folder takes it for one of its
    pictures. sheet: as `contact_sheet` gives it. Raises InputError as `save_image`."""
    return save_image(sheet, Path(folder) / SHEET, note=SHEET_NOTE)


def _fit(picture: Image.Image, cell: int) -> Image.Image:
    from PIL import Image

    scale = min(cell / picture.width, 1.5 * cell / picture.height)
    size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _size(draw: ImageDraw.ImageDraw, text: str, font: Any) -> tuple[int, int]:
    """Width and height in pixels, counted from the origin so that lines of one font agree."""
    _, _, right, bottom = draw.multiline_textbbox((0, 0), text, font=font)
    return round(right), round(bottom)


def _wrap(draw: ImageDraw.ImageDraw, text: str, font: Any, width: int) -> str:
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and draw.textlength(longer, font=font) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


def _at(table: Sequence[Sequence[str]], row: int, column: int) -> str:
    return table[row][column] if row < len(table) and column < len(table[row]) else ""

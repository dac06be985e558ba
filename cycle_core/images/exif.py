"""EXIF: how a picture is to be turned, and whether its tables may be read at all.

It is a TIFF file's table of values inside of another file. Pillow before 13 copies each value when
a file is opened, though all may lie in the same bytes: a megabyte becomes many gigabytes. What is
needed of the table is one number, which is read here."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from PIL import Image

ORIENTATION = 0x0112
_BELOW = (0x8769, 0x8825, 0xA005)  # tables of their own: Exif, GPS, Interoperability
_MARKS = {b"II": "<", b"MM": ">"}
# bytes of a value, by its type (TIFF 6.0, BigTIFF)
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_SHORT = 3
_MOST = 65535  # entries of a table
_ROOM = 64 << 20  # bytes that values may lie over each other
_XMP = r'tiff:Orientation(?:="|>)([1-8])'


def check(file: BinaryIO) -> None:
    """Raise ValueError for a file with a table whose values are far more than the file."""
    head = file.read(12)
    for table in _tables(file, head):
        table.seek(0, io.SEEK_END)
        size, total = table.tell(), 0
        for number, (_, kind, count, place) in enumerate(_all_entries(table)):
            length = count * _BYTES.get(kind, 0)
            # what is cut off is read as far as it is there
            total += min(length, max(size - place, 0)) if length > 4 else 0
            if number >= _MOST or total > size + _ROOM:
                raise ValueError("its table of values is larger than the file")


def orientation(picture: Image.Image) -> int:
    """1 (upright) to 8, as EXIF counts; 1 where nothing or nothing that makes sense is said."""
    info = picture.info
    stored = info.get("exif")
    if stored is None and "Raw profile type exif" in info:  # ImageMagick's PNG
        stored = bytes.fromhex("".join(info["Raw profile type exif"].split("\n")[3:]))
    found = None
    if stored is not None:
        found = _orientation_in(_without_mark(stored))
    elif picture.format == "TIFF":  # Pillow may have turned it already, and noted that
        found = picture.getexif().get(ORIENTATION)
    if found is None:
        text = info.get("XML:com.adobe.xmp") or info.get("xmp") or ""
        text = text.decode("latin-1") if isinstance(text, bytes) else str(text)
        match = re.search(_XMP, text)
        found = int(match[1]) if match else 1
    return found if found in range(1, 9) else 1


def _orientation_in(stored: bytes) -> int | None:
    for number, (tag, kind, count, place) in enumerate(_entries(io.BytesIO(stored))):
        if tag == ORIENTATION:
            return place if (kind, count) == (_SHORT, 1) else 1
        if number >= _MOST:
            break
    return None


def _tables(file: BinaryIO, head: bytes) -> Iterator[BinaryIO]:
    """Those that Pillow reads when it opens a file."""
    if head[:2] in _MARKS:  # TIFF
        yield file
    elif head[:2] == b"\xff\xd8":
        yield io.BytesIO(_without_mark(_of_jpeg(file)))
    elif head[4:8] == b"ftyp":  # AVIF
        file.seek(0)
        content = file.read()
        for mark in re.finditer(rb"II\*\0|MM\0\*", content):
            yield io.BytesIO(content[mark.start() :])


def _of_jpeg(file: BinaryIO) -> bytes:
    """The EXIF of all segments, as Pillow joins it."""
    parts: list[bytes] = []
    file.seek(2)
    while len(start := file.read(2)) == 2:
        if start[0] != 0xFF or start[1] in (0xFF, 0x00):
            file.seek(-1, io.SEEK_CUR)
            continue
        if start[1] in (0xD9, 0xDA):  # the end; the picture begins
            break
        if start[1] == 0x01 or 0xD0 <= start[1] <= 0xD8:  # no length follows
            continue
        length = int.from_bytes(file.read(2), "big")
        content = file.read(max(length - 2, 0))
        if start[1] == 0xE1 and content.startswith(b"Exif\0\0"):
            parts.append(content if not parts else content[6:])
    return b"".join(parts)


def _without_mark(stored: bytes) -> bytes:
    return re.sub(rb"^(Exif\0\0){1,2}", b"", stored)


def _all_entries(table: BinaryIO) -> Iterator[tuple[int, int, int, int]]:
    """`_entries` of the first table and of those that it names."""
    places: list[int | None] = [None]
    for at in places:  # it grows
        for entry in _entries(table, at):
            yield entry
            if entry[0] in _BELOW and entry[3] not in places:
                places.append(entry[3])
                if len(places) > 16:
                    raise ValueError("it has more tables of values than there are kinds")


def _entries(table: BinaryIO, at: int | None = None) -> Iterator[tuple[int, int, int, int]]:
    """(tag, type, count, place, or the value itself where that is one SHORT) of the table at a
    place, the first one if None. The table must not be moved meanwhile."""
    table.seek(0)
    head = table.read(16)
    order = _MARKS.get(head[:2])
    if order is None or len(head) < 8:
        return
    large = head[2:4] in (b"+\0", b"\0+")  # BigTIFF
    start, length, entry = ("Q", 8, "HHQ8s") if large else ("L", 2, "HHL4s")
    if large and len(head) < 16:
        return
    first = struct.unpack_from(order + start, head, 8 if large else 4)[0]
    table.seek(min(first if at is None else at, 2**62))
    number = table.read(length)
    if len(number) < length:
        return
    width = struct.calcsize(order + entry)
    for _ in range(struct.unpack(order + ("Q" if large else "H"), number)[0]):
        content = table.read(width)
        if len(content) < width:
            return
        tag, kind, count, value = struct.unpack(order + entry, content)
        code = "H" if (kind, count) == (_SHORT, 1) else start
        yield tag, kind, count, struct.unpack_from(order + code, value)[0]

"""EXIF: pictures come upright, and tables that lie do no harm."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from cycle_core.errors import InputError
from cycle_core.images import io as images


@pytest.fixture
def colours() -> np.ndarray:
    """A picture [24,32,3]."""
    y, x = np.mgrid[:24, :32]
    return np.stack([x * 8, y * 10, 255 - x * 4 - y * 4], -1).astype(np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(tmp_path, orientation):

    pattern = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3) * 3
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.png"
    Image.fromarray(pattern).save(path, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    levels = np.asarray(images.to_pil(images.read_image(path)))
    np.testing.assert_array_equal(levels, expected)


def exif_of(entries: int, padding: int) -> bytes:
    """A table of values that all lie in the same bytes, which are the whole table."""
    size = 14 + 12 * entries + padding
    table = b"II*\0" + struct.pack("<LH", 8, entries)
    table += b"".join(struct.pack("<HHLL", 1 + i, 7, size - 8, 8) for i in range(entries))
    return table + bytes(4 + padding)


def test_a_table_of_values_that_is_larger_than_its_file_does_no_harm(tmp_path, colours):
    """Pillow from 13 on skips such values, an older one copies each of them: 170 MB of these."""
    table = exif_of(2_000, 60_000)
    stream = io.BytesIO()
    Image.fromarray(colours).save(stream, "JPEG")
    parts = [b"Exif\0\0" + table[i : i + 60_000] for i in range(0, len(table), 60_000)]
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", 2 + len(x)) + x for x in parts)
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8" + segments + stream.getvalue()[2:])
    for ending in ("png", "webp"):
        Image.fromarray(colours).save(tmp_path / f"a.{ending}", exif=table, lossless=True)
    for ending in ("jpg", "png", "webp"):
        assert images.read_photo(tmp_path / f"a.{ending}").size == (32, 24)
    (tmp_path / "a.tif").write_bytes(table)
    large = b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 2**60) + bytes(2_000_000)
    (tmp_path / "large.tif").write_bytes(large)
    many = b"II*\0" + struct.pack("<LH", 8, 60_000)
    many += b"".join(struct.pack("<HHLL", 0x8769, 4, 1, 9 + i) for i in range(60_000))
    (tmp_path / "many.tif").write_bytes(many)
    for name in ("a.tif", "large.tif", "many.tif"):
        with pytest.raises(InputError, match="picture"):
            images.read_photo(tmp_path / name)


def test_an_orientation_is_found_where_programs_write_it(tmp_path, colours):
    turned = np.rot90(colours, 1)  # what is to be turned by a quarter to the right
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    Image.fromarray(turned).save(tmp_path / "xmp.png", pnginfo=text)
    exif = Image.Exif()
    exif[0x0112] = 6
    text = PngImagePlugin.PngInfo()
    stored = exif.tobytes().hex()
    text.add_text("Raw profile type exif", f"\nexif\n{len(stored) // 2:8}\n{stored}\n")
    Image.fromarray(turned).save(tmp_path / "raw.png", pnginfo=text)
    for ending in ("png", "webp", "tif", "jpg"):
        Image.fromarray(turned).save(tmp_path / f"exif.{ending}", exif=exif)
    for path in tmp_path.iterdir():
        assert images.read_photo(path).size == (32, 24), path.name


def test_odd_metadata_is_passed_over_without_a_word(tmp_path, colours, recwarn):
    twice = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x02\0\6\0\6\0\0\0\0"
    Image.fromarray(colours).save(tmp_path / "a.jpg", exif=twice)  # the orientation, two times
    images.read_photo(tmp_path / "a.jpg")
    assert not recwarn.list

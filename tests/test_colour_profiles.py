"""Colour profiles are believed for their curves and primaries, in 8 and in 16 bits."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from cycle_core.images.io import read_photo
from cycle_core.images.profile import Deep

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LINEAR = struct.pack(">4sIHHi", b"para", 0, 0, 0, 65536)  # x ** 1


def gamma(power: float) -> bytes:
    return struct.pack(">4sIIH", b"curv", 0, 1, round(power * 256))


def with_curve(curve: bytes) -> bytes:
    """The profile called sRGB, with another curve for its three colours."""
    profile = bytearray(SRGB)
    for k in range(struct.unpack_from(">I", profile, 128)[0]):
        name, start, _ = struct.unpack_from(">4sII", profile, 132 + 12 * k)
        if name in (b"rTRC", b"gTRC", b"bTRC"):
            profile[start : start + len(curve)] = curve
    return bytes(profile)


def grey_profile(curve: bytes) -> bytes:
    """A profile of one channel."""
    text = b"desc" + bytes(4) + struct.pack(">I", 2) + b"g\0" + bytes(78)
    white = struct.pack(">4sI3i", b"XYZ ", 0, 63190, 65536, 54061)
    tags = {b"desc": text, b"wtpt": white, b"kTRC": curve}
    table, data = struct.pack(">I", len(tags)), b""
    for name, tag in tags.items():
        table += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(data), len(tag))
        data += tag + bytes(-len(tag) % 4)
    header = bytearray(SRGB[:128])
    header[0:4] = struct.pack(">I", 128 + len(table) + len(data))
    header[16:20] = b"GRAY"
    return bytes(header) + table + data


def light(x: np.ndarray) -> np.ndarray:
    """sRGB in 0..1 to light, as IEC 61966-2-1 has it."""
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def png(samples: np.ndarray, profile: bytes) -> bytes:
    """A PNG of 8 or 16 bits [H,W,1, 2 or 3] with a profile, by the format's definition."""
    height, width, count = samples.shape
    depth = samples.dtype.itemsize * 8
    rows = b"".join(
        b"\0" + row.astype(samples.dtype.newbyteorder(">")).tobytes() for row in samples
    )

    def chunk(name: bytes, body: bytes) -> bytes:
        checked = name + body
        return struct.pack(">I", len(body)) + checked + struct.pack(">I", zlib.crc32(checked))

    kind = {1: 0, 2: 4, 3: 2}[count]
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)),
            chunk(b"iCCP", b"profile\0\0" + zlib.compress(profile)),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


def read(folder: Path, samples: np.ndarray, profile: bytes) -> np.ndarray:
    """[H,W,3] in 0..1, as the library reads it."""
    (folder / "a.png").write_bytes(png(samples, profile))
    return (read_photo(folder / "a.png").image[0].permute(1, 2, 0).numpy() + 1) / 2


RAMP = np.linspace(0, 1, 256)[None, :, None]


@pytest.mark.parametrize(
    ("curve", "encode"), [(LINEAR, light), (gamma(1.8), lambda x: light(x) ** (1 / 1.8))]
)
@pytest.mark.parametrize(("dtype", "levels"), [(np.uint8, 2.0), (np.uint16, 0.1)])
@pytest.mark.parametrize("count", [1, 3])
def test_a_profile_called_srgb_is_believed_for_its_curve(
    tmp_path, curve, encode, dtype, levels, count
):
    top = np.iinfo(dtype).max
    samples = (encode(RAMP) * top).round().astype(dtype).repeat(count, axis=2)
    profile = with_curve(curve) if count == 3 else grey_profile(curve)
    seen = read(tmp_path, samples, profile)
    stored = samples / top
    # what eight linear bits do not hold in the shadows, no conversion can bring back
    right = np.interp(stored, encode(RAMP).ravel(), RAMP.ravel())
    assert np.abs(seen - right).max() * 255 < levels
    assert np.abs(stored[..., 0] - RAMP[..., 0]).max() * 255 > 15  # taken as sRGB it would be seen


def test_a_grey_picture_with_transparency_has_its_profile_applied(tmp_path):
    samples = (light(RAMP) * 255).round().astype(np.uint8)
    seen = read(tmp_path, np.concatenate([samples, samples], axis=2), grey_profile(LINEAR))
    assert seen[0, 55, 0] == pytest.approx(55 / 255, abs=3 / 255)


def test_a_profile_that_is_srgb_under_any_name_changes_nothing(tmp_path):
    renamed = SRGB
    for name in (b"sRGB", "sRGB".encode("utf-16-be")):
        renamed = renamed.replace(name, name.replace(b"s", b"x"))
    samples = np.random.default_rng(0).integers(0, 65536, (8, 8, 3)).astype(np.uint16)
    assert np.abs(read(tmp_path, samples, renamed) - samples / 65535).max() < 1e-6


def test_a_profile_of_another_mode_is_passed_over(tmp_path):
    samples = np.full((4, 4, 3), 100, np.uint8)
    assert read(tmp_path, samples, grey_profile(LINEAR)).ravel()[0] == pytest.approx(100 / 255)


def test_deep_values_go_the_way_that_little_cms_goes():
    """A wider gamut, in 8 bits by Little CMS and as numbers by the library."""
    profile = bytearray(with_curve(gamma(2.2)))
    red = profile.index(b"rXYZ")
    start = struct.unpack_from(">I", profile, red + 4)[0]
    struct.pack_into(">3i", profile, start + 8, 39900, 20380, 1270)  # Adobe RGB's red
    cube = np.random.default_rng(0).integers(60, 200, (1, 500, 3)).astype(np.uint8)
    shown = ImageCms.profileToProfile(
        Image.fromarray(cube),
        ImageCms.ImageCmsProfile(io.BytesIO(bytes(profile))),
        ImageCms.createProfile("sRGB"),
        outputMode="RGB",
    )
    assert np.abs(Deep(bytes(profile))(cube / 255) * 255 - np.asarray(shown)).max() < 1.5


@pytest.mark.parametrize("cut", [0, 64, 131, 140, 200, 300])
def test_a_profile_that_is_cut_off_is_not_applied(tmp_path, cut):
    samples = np.full((4, 4, 3), 100, np.uint16)
    seen = read(tmp_path, samples, with_curve(LINEAR)[:cut])
    assert np.abs(seen - 100 / 65535).max() < 1e-6

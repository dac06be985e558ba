"""Reading and writing pictures, and the conversions at the library's edges."""

from __future__ import annotations

import errno
import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from limits import rights_count
from PIL import Image, ImageCms, features

from cycle_core.errors import InputError
from cycle_core.images import decode
from cycle_core.images import io as images
from cycle_core.images.resize import resize
from cycle_core.images.sheet import contact_sheet


@pytest.fixture
def colours() -> np.ndarray:
    """A smooth 8-bit picture [24,32,3]: no decoder's chroma subsampling can hurt it much."""
    y, x = np.mgrid[:24, :32]
    return np.stack([x * 8, y * 10, 255 - x * 4 - y * 4], -1).astype(np.uint8)


def _levels(image: torch.Tensor) -> np.ndarray:
    """[1,3,H,W] in [-1,1] -> [H,W,3] in 0..255, unrounded."""
    return ((image[0] + 1) * 127.5).permute(1, 2, 0).numpy()


def test_an_rgb_file_becomes_values_between_minus_one_and_one(tmp_path, colours):
    Image.fromarray(colours).save(tmp_path / "a.png")
    photo = images.read_photo(tmp_path / "a.png")
    assert photo.image.shape == (1, 3, 24, 32)
    assert photo.image.dtype == torch.float32
    assert photo.size == (32, 24)
    assert photo.alpha is None
    np.testing.assert_allclose(_levels(photo.image), colours, atol=1e-3)


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "jpg", "webp"])
def test_what_is_saved_is_read_again(tmp_path, colours, ending):
    image = images.from_pil(Image.fromarray(colours)).image
    path = images.save_image(image, tmp_path / f"new folder/a.{ending}")
    lossy = ending in ("jpg", "webp")
    again = _levels(images.read_image(path))
    np.testing.assert_allclose(again, colours, atol=12 if lossy else 1e-3)


def test_grey_and_black_and_white_files_become_three_equal_channels(tmp_path, colours):
    grey = Image.fromarray(colours).convert("L")
    for mode in ("L", "1"):
        grey.convert(mode).save(tmp_path / f"{mode}.png")
        image = images.read_image(tmp_path / f"{mode}.png")
        expected = np.asarray(grey.convert(mode).convert("L"))
        for channel in range(3):
            np.testing.assert_allclose(_levels(image)[..., channel], expected, atol=1e-3)


def test_transparency_is_kept_apart_and_saved_again(tmp_path, colours):
    alpha = np.linspace(0, 255, 24 * 32).reshape(24, 32).astype(np.uint8)
    Image.fromarray(np.dstack([colours, alpha])).save(tmp_path / "a.png")
    photo = images.read_photo(tmp_path / "a.png")
    assert photo.alpha is not None
    np.testing.assert_allclose(_levels(photo.image), colours, atol=1e-3)
    np.testing.assert_allclose(photo.alpha[0, 0].numpy() * 255, alpha, atol=1e-3)
    images.save_image(photo, tmp_path / "b.png")
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "b.png")), np.dstack([colours, alpha])
    )


def test_read_image_and_jpeg_lay_transparent_parts_over_white(tmp_path):
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert images.read_image(tmp_path / "clear.png").min() == 1
    images.save_image(images.read_photo(tmp_path / "clear.png"), tmp_path / "clear.jpg")
    assert np.asarray(Image.open(tmp_path / "clear.jpg")).min() >= 254


def test_a_palette_with_a_transparent_entry(tmp_path):
    picture = Image.new("P", (4, 2), 0)
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putpixel((3, 1), 1)
    picture.save(tmp_path / "a.gif", transparency=0)
    photo = images.read_photo(tmp_path / "a.gif")
    assert photo.alpha is not None
    assert photo.alpha.sum() == 1
    np.testing.assert_allclose(_levels(photo.image)[1, 3], (200, 100, 50), atol=1e-3)


def _png16(samples: np.ndarray) -> bytes:
    """A 16-bit PNG [H,W,1, 3 or 4] written from the format's definition."""
    height, width, count = samples.shape
    colour = {1: 0, 3: 2, 4: 6}[count]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize("count", [1, 3, 4])
def test_sixteen_bit_png_keeps_every_level(tmp_path, count):
    samples = np.random.default_rng(0).integers(0, 65536, (9, 7, count))
    (tmp_path / "a.png").write_bytes(_png16(samples))
    photo = images.read_photo(tmp_path / "a.png")
    read = _levels(photo.image) * 257
    np.testing.assert_allclose(read, np.broadcast_to(samples[..., :3], (9, 7, 3)), atol=0.05)
    if count == 4:
        assert photo.alpha is not None
        np.testing.assert_allclose(photo.alpha[0, 0] * 65535, samples[..., 3], atol=0.05)


def test_sixteen_bit_colour_tiff_keeps_every_level(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    samples = np.random.default_rng(0).integers(0, 65536, (9, 7, 3)).astype(np.uint16)
    for byteorder, compression in (("<", None), (">", None), ("<", "zlib"), (">", "zlib")):
        tifffile.imwrite(
            tmp_path / "a.tif",
            samples,
            byteorder=byteorder,
            photometric="rgb",
            compression=compression,
        )
        read = _levels(images.read_image(tmp_path / "a.tif")) * 257
        np.testing.assert_allclose(read, samples, atol=0.05)


def test_cmyk_is_converted(tmp_path):
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "red.jpg")
    red, green, blue = _levels(images.read_image(tmp_path / "red.jpg"))[0, 0]
    assert red > 240
    assert max(green, blue) < 60


def _profile_with_swapped_primaries() -> bytes:
    """sRGB with the red and the blue colorant exchanged, under another name: red shows as blue."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    for name in (b"sRGB", "sRGB".encode("utf-16-be")):
        profile = profile.replace(name, name.replace(b"s", b"x"))
    return bytes(profile)


def test_an_embedded_profile_is_converted_to_srgb(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (4, 4), (255, 0, 0)).save(path, icc_profile=_profile_with_swapped_primaries())
    red, _, blue = _levels(images.read_image(path))[0, 0]
    assert blue > 250
    assert red < 5


def test_a_damaged_profile_is_passed_over(tmp_path, colours):
    Image.fromarray(colours).save(tmp_path / "a.png", icc_profile=b"no profile at all")
    np.testing.assert_allclose(_levels(images.read_image(tmp_path / "a.png")), colours, atol=1e-3)


def _bad_files(folder: Path) -> dict[str, Path]:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, "PNG")
    whole = buffer.getvalue()
    header = struct.pack(">IIBBBBB", 200_000, 200_000, 8, 2, 0, 0, 0)
    huge = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header
    huge += struct.pack(">I", zlib.crc32(b"IHDR" + header)) + struct.pack(">I", 0) + b"IDAT"
    files = {
        "is empty": b"",
        "damaged or cut off": whole[: len(whole) // 2],
        "is not a picture": b"this is text\n" * 40,
        "larger than the 100 million pixels": huge,
    }
    for index, data in enumerate(files.values()):
        (folder / f"{index}.png").write_bytes(data)
    paths = {message: folder / f"{index}.png" for index, message in enumerate(files)}
    return paths | {"no file": folder / "missing.png", "is a folder": folder}


@pytest.mark.parametrize(
    "message",
    [
        "is empty",
        "damaged or cut off",
        "is not a picture",
        "larger than the 100 million pixels",
        "no file",
        "is a folder",
    ],
)
def test_what_cannot_be_read_is_said_in_one_sentence(tmp_path, message):
    with pytest.raises(InputError, match=message) as caught:
        images.read_photo(_bad_files(tmp_path)[message])
    assert "\n" not in str(caught.value)


def test_the_size_limit_is_checked_before_decoding(tmp_path, colours):
    Image.fromarray(colours).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[data.index(b"IDAT") + 8 :] = b""  # nothing left to decode: only the header can be read
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InputError, match=r"\(32x24\) is larger"):
        images.read_photo(tmp_path / "a.png", max_pixels=32 * 24 - 1)


DECODE = """
import sys, torch
from cycle_core.images.io import read_photo
from cycle_core.runtime.devices import peak_memory

def peak():
    return peak_memory(torch.device('cpu'))

small, large = sys.argv[1:]
read_photo(small)
before = peak()
photo = read_photo(large)
bytes_of = 4 * (photo.image.numel() + (0 if photo.alpha is None else photo.alpha.numel()))
print((peak() - before) / bytes_of)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in other units elsewhere")
def test_jpeg_2000_has_a_limit_of_its_own_at_which_its_decoder_takes_as_much(tmp_path, monkeypatch):
    path = tmp_path / "a.jp2"
    Image.new("RGB", (16, 16)).save(path)
    assert images.read_image(path).shape == (1, 3, 16, 16)
    assert decode.MOST["JPEG2000"] * 20 <= images.MAX_PIXELS * 12
    monkeypatch.setitem(decode.MOST, "JPEG2000", 255)
    with pytest.raises(InputError, match=r"larger than the 0\.000255 million pixels"):
        images.read_image(path)


@pytest.mark.parametrize(
    "mode", ["RGB", "RGBA", "L", "P", "CMYK", "I;16", "F", "turned", "deep", "jpg", "webp", "jp2"]
)
def test_decoding_takes_little_more_memory_than_the_result(tmp_path, mode):
    """Measured in a process of its own, against the tensor that comes out."""
    exif = Image.Exif()
    exif[0x0112] = 6 if mode == "turned" else 1
    ending = {"jpg": "jpg", "webp": "webp", "jp2": "jp2", "deep": "png"}.get(mode, "tif")
    for name, side in (("small", 64), ("large", 3000)):
        grey = np.linspace(0, 250, side * side).reshape(side, side)
        path = tmp_path / f"{name}.{ending}"
        if mode == "deep":
            path.write_bytes(_png16(np.dstack([grey.astype("u2") * 257] * 3)))
            continue
        picture = Image.fromarray(grey.astype({"I;16": "u2", "F": "f4"}.get(mode, "u1")))
        if mode not in ("L", "I;16", "F"):
            picture = picture.convert(mode if mode in ("RGBA", "P", "CMYK") else "RGB")
        picture.save(path, exif=exif, lossless=True, method=0)
    files = [tmp_path / f"{name}.{ending}" for name in ("small", "large")]
    command = [sys.executable, "-c", DECODE, *files]
    root = Path(__file__).parent.parent
    done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    assert float(done.stdout) < (1.8 if mode == "jp2" else 1.2)  # its decoder alone takes that


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_an_avif_whose_colours_are_damaged_is_refused(tmp_path, colours):
    stream = io.BytesIO()
    Image.fromarray(colours).save(stream, "AVIF")
    content = stream.getvalue()
    (tmp_path / "a.avif").write_bytes(content[:-80] + bytes(80))
    with pytest.raises(InputError, match="damaged"):
        images.read_photo(tmp_path / "a.avif")


def test_a_truncated_jpeg_is_refused(tmp_path, colours):
    Image.fromarray(colours).resize((320, 240)).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(InputError, match="cut off"):
        images.read_photo(tmp_path / "a.jpg")


def test_a_format_that_another_program_would_draw_is_refused(tmp_path, colours):
    Image.fromarray(colours).save(tmp_path / "a.eps")  # drawn by Ghostscript where that is there
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    with pytest.raises(InputError, match="not a picture that can be read"):
        images.read_photo(tmp_path / "a.png")


def test_a_png_with_a_bad_checksum_is_refused(tmp_path):
    data = bytearray(_png16(np.zeros((9, 7, 3), int)))
    data[data.index(b"IHDR") + 18] ^= 255
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InputError):
        images.read_photo(tmp_path / "a.png")


def test_a_failed_save_keeps_the_old_file_and_leaves_nothing_behind(tmp_path, monkeypatch, colours):
    path = tmp_path / "a.png"
    path.write_bytes(b"the user's")

    def full(self, fp, *args, **kwargs):  # stands for the disk, which cannot be filled in a test
        fp.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(InputError, match="disk is full"):
        images.save_image(torch.zeros(1, 3, 4, 4), path)
    assert path.read_bytes() == b"the user's"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


def test_an_interrupted_save_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(self, fp, *args, **kwargs):
        fp.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        images.save_image(torch.zeros(1, 3, 4, 4), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="in the way"):
        images.save_image(torch.zeros(1, 3, 4, 4), tmp_path / "file/a.png")


def test_an_unwritable_folder_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with rights_count(), pytest.raises(InputError, match="may not be written"):
        images.save_image(torch.zeros(1, 3, 4, 4), tmp_path / "a.png")
    tmp_path.chmod(0o700)


def test_what_no_picture_can_show_is_refused(tmp_path):
    with pytest.raises(InputError, match="NaN"):
        images.save_image(torch.full((1, 3, 4, 4), float("nan")), tmp_path / "a.png")
    with pytest.raises(InputError, match="shape"):
        images.save_image(torch.zeros(2, 3, 4, 4), tmp_path / "a.png")
    with pytest.raises(InputError, match="does not end"):
        images.save_image(torch.zeros(1, 3, 4, 4), tmp_path / "a.psd")
    assert not list(tmp_path.iterdir())


def test_a_folder_is_listed_in_the_order_of_its_numbers(tmp_path):
    for name in ("img10.png", "img2.JPG", "img1.png", "zoo.png", "a.png", "notes.txt", ".hid.png"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in images.list_images(tmp_path)] == [
        "a.png",
        "img1.png",
        "img2.JPG",
        "img10.png",
        "zoo.png",
    ]


def test_a_folder_without_pictures_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no pictures"):
        images.list_images(tmp_path)
    with pytest.raises(InputError, match="not a folder"):
        images.list_images(tmp_path / "missing")


def test_comfyui_images_come_and_go_unchanged():
    batch = torch.rand(2, 5, 7, 3)
    image = images.from_comfy(batch)
    assert image.shape == (2, 3, 5, 7)
    torch.testing.assert_close(images.to_comfy(image), batch, atol=1e-6, rtol=0)
    assert torch.equal(images.from_comfy(batch[..., :1])[:, 0], images.from_comfy(batch)[:, 0])
    with pytest.raises(InputError, match="shape"):
        images.from_comfy(torch.rand(5, 7, 3))


def test_to_comfy_clamps_what_a_generator_overshoots():
    assert images.to_comfy(torch.tensor([-3.0, 3.0, 0.0]).view(1, 3, 1, 1)).flatten().tolist() == [
        0.0,
        1.0,
        0.5,
    ]


def test_shrinking_is_antialiased_and_stays_in_range():
    stripes = torch.ones(1, 3, 64, 64)
    stripes[..., ::2] = -1
    small = resize(stripes, 16, "bicubic")
    assert small.abs().max() < 0.1  # one pixel in four would be all black or all white
    edge = torch.ones(1, 3, 8, 8)
    edge[..., :4] = -1
    assert resize(edge, (64, 32), "bicubic").shape == (1, 3, 64, 32)
    assert resize(edge, 64, "bicubic").abs().max() <= 1


def test_a_contact_sheet_shows_every_picture_under_its_heading():
    red, blue = torch.full((1, 3, 64, 64), -1.0), torch.full((1, 3, 32, 48), -1.0)
    red[:, 0], blue[:, 2] = 1, 1
    sheet = contact_sheet(
        [[red, blue], [None, red]],
        columns=["photo", "a longer heading"],
        row_labels=["first", "second"],
        title="A title",
        cell=96,
        captions=[["PSNR 20.1", ""], ["", "PSNR 30"]],
    )
    levels = _levels(sheet)
    reds = np.all(np.abs(levels - (255, 0, 0)) < 1, axis=-1).sum()
    blues = np.all(np.abs(levels - (0, 0, 255)) < 1, axis=-1).sum()
    assert reds == 2 * 96 * 96
    assert blues == 96 * 64
    assert levels[:4].min() > 240  # a margin of paper around it


def test_the_given_pil_picture_is_not_changed(colours):
    picture = Image.fromarray(colours)
    images.from_pil(picture)
    np.testing.assert_array_equal(np.asarray(picture), colours)
    assert images.to_pil(images.from_pil(picture).image).tobytes() == picture.tobytes()

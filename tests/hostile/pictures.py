"""Whole pictures of every kind that is read, and the small files beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin, features

from cycle_core.faces.frame import make_frame
from cycle_core.faces.points import manual
from cycle_core.run.picture_files import write_frame

POINTS = [[20.0, 20.0], [40.0, 20.0], [30.0, 30.0], [22.0, 38.0], [38.0, 38.0]]


def write_pictures(keep: Callable[[str, str], Path]) -> None:
    """keep(name, function): the path of a file that the function opens."""
    y, x = np.mgrid[:48, :64]
    colours = Image.fromarray(np.stack([x * 4, y * 5, 255 - x - y], -1).astype(np.uint8))
    turned = colours.rotate(90)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = exif.tobytes().hex()
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>', zip=True)
    text.add_text("Raw profile type exif", f"\nexif\n{len(stored) // 2:8}\n{stored}\n", zip=True)
    both: dict[str, Any] = {"exif": exif, "icc_profile": profile}
    several: dict[str, Any] = {"save_all": True, "append_images": [turned]}
    pictures: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "colours.png": (colours, both),
        "palette.png": (colours.quantize(16), {"transparency": 3}),
        "transparent.png": (colours.convert("RGBA"), {}),
        "deep.png": (Image.fromarray((x * 1000).astype(np.uint16)), {}),
        "texts.png": (colours, {"pnginfo": text}),
        "colours.jpg": (colours, both),
        "progressive.jpg": (colours, {"progressive": True}),
        "print.jpg": (colours.convert("CMYK"), {}),
        "colours.webp": (colours, both),
        "moving.webp": (colours, several),
        "moving.gif": (colours, several),
        "colours.bmp": (colours, {}),
        "floats.tif": (Image.fromarray(x.astype(np.float32)), {}),
        "large.tif": (colours, {"big_tiff": True}),
        **{
            f"{kind}.tif": (colours, {"compression": kind, **both})
            for kind in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg")
        },
    }
    if features.check("avif"):
        pictures["colours.avif"] = colours, {"exif": exif}
    if features.check("jpg_2000"):
        pictures["colours.jp2"] = colours, {}
    for name, (picture, options) in pictures.items():
        picture.save(keep(name, "load_photo"), **options)
    write_frame(make_frame((64, 48), manual(POINTS), 32), keep("crop.frame.json", "load_frame"))
    keep("points.json", "load_points").write_text(json.dumps({"a": POINTS}))
    line = " ".join(str(number) for point in POINTS for number in point)
    keep("points.txt", "load_points").write_text(f"a {line}\nb.png: {line}\n")

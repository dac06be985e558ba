"""`align` and `paste`: from a photo to the crop that an encoder takes, and back."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .console import Console
from .options import FACE, add_command, add_options, add_out, device_of, output_file, positive

if TYPE_CHECKING:
    from ..faces.frame import Face, Frame
    from ..images.io import Photo


def add_commands(commands: Any) -> None:
    align = add_command(
        commands,
        "align",
        run_align,
        "find the face in a photo and cut it out as FFHQ does",
        "align photo.jpg --out crop.png",
    )
    align.add_argument("photo", type=Path, help="a picture file")
    align.add_argument("--size", type=positive, help="pixels (default: of the generator)")
    add_out(align, "the crop; its place in the photo goes beside it, into NAME.frame.json")
    add_options(align, *FACE)
    align.add_argument(
        "--face-mask", type=Path, help="a picture, white where the faces are that are meant"
    )
    align.add_argument(
        "--frame", type=Path, help="the .frame.json of another picture: the same crop of this one"
    )
    add_options(align, "generator", "device")

    paste = add_command(
        commands,
        "paste",
        run_paste,
        "put an edited crop back into its photo",
        "paste photo.jpg edited.png crop.frame.json --reference tuned.png --out edited_photo.png",
    )
    paste.add_argument("photo", type=Path, help="the photo that the crop was taken from")
    paste.add_argument("crop", type=Path, help="the edited crop")
    paste.add_argument("frame", type=Path, help="the .frame.json that `align` wrote")
    paste.add_argument(
        "--reference", type=Path, help="the picture of the same code without the edit, if there"
    )
    add_out(paste, "the photo with the edited face")


def run_align(arguments: argparse.Namespace) -> None:
    from ..checkpoints.registry import load_generator
    from ..faces.frame import align
    from ..images.io import read_photo, save_image
    from ..run.picture_files import write_frame

    console = Console(arguments.quiet)
    out = output_file(arguments.out, [arguments.photo])
    photo = read_photo(arguments.photo)
    photo = replace(photo, image=photo.image.to(device_of(arguments)))
    size = arguments.size or load_generator(arguments.generator).resolution
    chosen = _places(photo, arguments)
    if not chosen:
        console.say(f"{arguments.photo}: no face, left out")
    for index, face in enumerate(chosen):
        path = out if len(chosen) == 1 else out.with_name(f"{out.stem}-{index}{out.suffix}")
        crop, frame = align(photo, face, size)
        save_image(crop, path)
        write_frame(frame, path.with_suffix(".frame.json"))
        console.say(f"{path}: {size} px, found by {frame.source}")


def _places(photo: Photo, arguments: argparse.Namespace) -> list[Face | Frame | str]:
    """What to cut out: a given frame, points by hand, or the faces that are found and chosen."""
    from ..faces.choose import Marks, check_choice, check_points, choose
    from ..faces.detect import detect
    from ..faces.points import load_points, of_picture
    from ..images.io import read_image
    from ..run.picture_files import read_frame

    if arguments.frame is not None:
        return [read_frame(arguments.frame).scaled(photo.size)]
    check_choice(arguments.face, *photo.size)
    if arguments.points is None:
        faces = detect(photo, arguments.detector)
    else:
        faces = of_picture(load_points(arguments.points), arguments.photo) or []
        check_points(faces, *photo.size)
    marks = Marks()
    if arguments.face_mask is not None:
        marks = Marks(mask=(read_image(arguments.face_mask)[0].mean(0) + 1) / 2)
    among = marks.among(faces, *photo.size)
    return [*choose(faces, arguments.face, arguments.no_face, among)]


def run_paste(arguments: argparse.Namespace) -> None:
    from ..faces.paste import paste
    from ..images.io import read_image, read_photo, save_image
    from ..run.picture_files import read_frame

    console = Console(arguments.quiet)
    given = [arguments.photo, arguments.crop, arguments.frame]
    out = output_file(arguments.out, given)
    frame = read_frame(arguments.frame)
    reference = None if arguments.reference is None else read_image(arguments.reference)
    photo = read_photo(arguments.photo)
    save_image(paste(photo, read_image(arguments.crop), frame, reference=reference), out)
    console.say(str(out))

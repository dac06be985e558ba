"""Faces out of photos, and back into them."""

# pyright: reportMissingImports=false
# (ComfyUI is the host, not a dependency)
from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..cycle_core.errors import FaceNumberError, MismatchError, NoFaceError, PlaceError
from ..cycle_core.faces.settings import AlignSettings, PasteSettings
from . import folders, host
from .types import BOXES, FRAME, GENERATOR, LANDMARKS
from .widgets import NumberOrAuto, checked_numbers, choice, number

SIZE = NumberOrAuto.of(AlignSettings, "size", legacy=0)
WITHOUT_FACE = (
    "On this node: choose another detector, set no_face to centre or skip, take boxes, mask and "
    "points away, or give five points of the face in points."
)
ANOTHER_NUMBER = "On this node: choose a smaller number, or largest or all in face."
CANVAS = (
    "If the boxes come from Create Bounding Boxes, set its width and height to {} and {}, those of "
    "the picture (Get Image Size has them), because a box does not say how large its canvas is, "
    "and draw around a face."
)


class Align(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleAlign",
            "Align Faces",
            "Faces",
            "Finds the faces in photos and cuts them out as FFHQ was cut, upright and at one size, "
            "as encoders and generators know them.",
            search_aliases=["face crop", "ffhq", "face alignment", "detect face"],
            inputs=[
                io.Image.Input("images", tooltip="Photos of any size, or the frames of a video."),
                GENERATOR.Input(
                    "generator",
                    optional=True,
                    tooltip="The crops get the resolution of this generator, unless size says "
                    "otherwise.",
                ),
                io.Combo.Input(
                    "face",
                    options=["largest", "all", "number", "from the left"],
                    default="largest",
                    tooltip="Which faces of each photo are cut out: largest, all (from left to "
                    "right), number (by size), or from the left (by place).",
                ),
                io.Int.Input(
                    "number",
                    default=0,
                    min=0,
                    max=99,
                    tooltip="Which face, counted from 0, where face is number (0 is the largest) "
                    "or from the left (0 is the leftmost, as found shows it).",
                ),
                choice(
                    AlignSettings,
                    "no_face",
                    "What happens to a photo without a face: error stops with a message, "
                    "centre takes the largest centred square, and skip leaves the photo out.",
                ),
                choice(
                    AlignSettings,
                    "detector",
                    "What looks for faces: auto tries the best one on this machine and "
                    "then the next, the embedded one is always there, and yunet downloads its "
                    "file once.",
                ),
                number(
                    AlignSettings,
                    "smoothing",
                    "Over how many frames of a video the landmarks are smoothed so that nothing "
                    "trembles: 2 is a good start, and 0 is for single photos.",
                    step=0.5,
                ),
                SIZE.input(
                    "Width and height of the crops in pixels; auto takes the resolution of the "
                    "generator, or 256 where none is connected.",
                ),
                LANDMARKS.Input(
                    "landmarks",
                    optional=True,
                    tooltip="Landmarks from ComfyUI's own face landmark node for the same "
                    "photos, which replace the detector.",
                ),
                BOXES.Input(
                    "boxes",
                    optional=True,
                    tooltip="Only faces in these boxes count, such as those of Create Bounding "
                    "Boxes with the photo as its background and width and height of Get Image "
                    "Size, and face then chooses among them.",
                    extra_dict={"forceInput": True},
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Only faces in this area count, such as one painted in Load Image.",
                ),
                FRAME.Input(
                    "same_as",
                    optional=True,
                    tooltip="Frames of another Align Faces, so that another take, a depth map or "
                    "a mask is cut at the same places without looking for faces.",
                ),
                io.String.Input(
                    "points",
                    optional=True,
                    default="",
                    tooltip="Places in pixels: one point such as 320, 200 means the face there, "
                    "and five points (both eyes, the nose, both corners of the mouth) are a face "
                    "that no detector finds, five for each face.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="crops", tooltip="The faces, in order of the photos."),
                FRAME.Output(
                    display_name="frames", tooltip="Where they were; Paste Back needs it."
                ),
                io.Mask.Output(
                    display_name="masks",
                    tooltip="The area of the faces in each photo, such as for inpainting.",
                ),
                io.Image.Output(
                    display_name="found", tooltip="The photos with what was found drawn onto them."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, size: str | float | None) -> bool | str:
        return checked_numbers((SIZE, size))

    @classmethod
    def execute(
        cls,
        images: Any,
        face: str,
        number: int,
        no_face: str,
        detector: str,
        smoothing: float,
        size: str | float,
        generator: host.LoadedModel | None = None,
        landmarks: Any = None,
        boxes: Any = None,
        mask: Any = None,
        same_as: Any = None,
        points: str = "",
    ) -> io.NodeOutput:
        from ..cycle_core.faces.choose import Marks
        from ..cycle_core.faces.points import by_hand, from_mesh, read_points
        from ..cycle_core.faces.video import align_again, align_all, cover, show_places

        photos = host.pictures(images)
        folders.know_folders()
        side = SIZE.read(size) or (256 if generator is None else generator.module.resolution)
        progress = host.Progress(previews=False)
        if same_as is not None:
            crops, places = align_again(photos, same_as, side, host.device(), progress)
        else:
            given, places_meant = None, read_points(points)
            if landmarks is not None:
                _check_landmarks(landmarks, photos)
                found = landmarks["frames"]
                given = [[from_mesh(x["landmarks_xy"]) for x in faces] for faces in found]
            if len(places_meant) > 1:
                given, places_meant = [by_hand(places_meant)] * len(photos), []
            drawn, (height, width) = _boxes(boxes), photos.shape[-2:]
            canvas = CANVAS.format(width, height)
            try:
                for one in drawn:
                    Marks(one).check(width, height)
            except PlaceError as error:
                raise PlaceError(f"{error} {canvas}") from error
            pairs = _matched(drawn, _areas(mask))
            marks = [Marks(box, area, tuple(places_meant)) for box, area in pairs]
            choices = {"number": f"size:{number}", "from the left": number}
            try:
                crops, places = align_all(
                    *(photos, side, detector, choices.get(face, face), no_face, smoothing, given),
                    *(host.device(), progress, marks),
                )
            except NoFaceError as error:
                numbered = isinstance(error, FaceNumberError)
                advice = ANOTHER_NUMBER if numbered else WITHOUT_FACE
                if any(drawn) and not numbered:
                    advice = f"{advice} {canvas}"
                raise type(error)(f"{error} {advice}") from error
        return io.NodeOutput(
            host.image(crops),
            places,
            host.mask(cover(places, photos)),
            host.image(show_places(photos, places)),
        )


def _check_landmarks(landmarks: Any, photos: Any) -> None:
    size = tuple(photos.shape[-2:])
    of = tuple(landmarks.get("image_size") or size)  # height, width; another pack may not say it
    if of != size:
        raise MismatchError(
            f"The landmarks are of pictures of {of[1]}x{of[0]} pixels, and these have "
            f"{size[1]}x{size[0]}: connect the same pictures to both nodes."
        )


def _boxes(boxes: Any) -> list[Any]:
    """BOUNDING_BOX of ComfyUI, a box, a list of them or a list for each picture, as `Marks` has
    them: of one picture for all, or of each. None where none at all is drawn: every face."""
    if isinstance(boxes, dict):
        boxes = [boxes]
    each = boxes if boxes and isinstance(boxes[0], (list, tuple)) else [boxes or ()]

    def corners(box: Any) -> tuple[float, float, float, float]:
        return box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]

    drawn = [tuple(map(corners, one)) for one in each]
    return drawn if any(drawn) else [None]


def _areas(mask: Any) -> list[Any]:
    """The masks as `Marks` has them, of one picture for all or of each; None where nothing or
    everything is painted in all of them: every face."""
    if mask is None or not (mask > 0.5).any() or (mask > 0.5).all():
        return [None]
    return list(mask.reshape(-1, *mask.shape[-2:]).cpu())


def _matched(boxes: list[Any], areas: list[Any]) -> list[tuple[Any, Any]]:
    """Pairs; one goes with every other. Raises MismatchError for other numbers."""
    if min(len(boxes), len(areas)) > 1 and len(boxes) != len(areas):
        raise MismatchError(
            f"The boxes are of {len(boxes)} pictures and the masks of {len(areas)}: give as many, "
            "or one for all."
        )
    count = max(len(boxes), len(areas))
    return list(zip(boxes * count, areas * count, strict=False))[:count]


class PasteBack(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CyclePasteBack",
            "Paste Back",
            "Faces",
            "Puts edited faces back into their photos, so that only what was edited changes: the "
            "photo keeps its own detail. All faces of a group photo, or all frames of a video.",
            search_aliases=["face paste", "uncrop", "composite face"],
            inputs=[
                io.Image.Input("images", tooltip="The photos that were aligned."),
                io.Image.Input(
                    "crops",
                    tooltip="The edited faces, one for each face that was aligned, or several "
                    "versions of all of them for several versions of the photos.",
                ),
                FRAME.Input("frames", tooltip="Where the faces were, from Align Faces."),
                io.Image.Input(
                    "reference",
                    optional=True,
                    tooltip="The reconstruction before the edit: with it only the change is "
                    "applied, and what the generator cannot generate stays as it is in the photo.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="What of the crop is pasted, stretched to its shape; without a mask "
                    "it is the face and the hair.",
                ),
                number(
                    PasteSettings,
                    "feather",
                    "Width of the soft edge, as a part of the crop's side.",
                    step=0.01,
                ),
                number(
                    PasteSettings,
                    "detail",
                    "How much of the photo's own fine detail is kept where the edit allows it; 0 "
                    "pastes the crop as it is.",
                    step=0.05,
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="The photos with the edited faces."),
                io.Mask.Output(
                    display_name="masks", tooltip="What may have changed in each of them."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        images: Any,
        crops: Any,
        frames: Any,
        feather: float,
        detail: float,
        reference: Any = None,
        mask: Any = None,
    ) -> io.NodeOutput:
        import torch

        from ..cycle_core.faces.video import cover, paste_all
        from ..cycle_core.images.io import from_comfy

        photos = host.pictures(images)
        faces = from_comfy(crops)
        before = None if reference is None else host.pictures(reference)
        given = None if mask is None else host.given_mask(mask)
        pasted = host.image(
            paste_all(
                photos,
                faces,
                frames,
                before,
                given,
                feather,
                detail,
                host.device(),
                host.Progress(previews=len(faces) > 1),
            )
        )
        masks = host.mask(cover(frames, photos, feather, given, len(faces)))
        # where nothing was pasted the photo stays what it is to the last bit
        original = images[..., :3].expand(-1, -1, -1, 3).to(pasted)
        versions = original.repeat(len(pasted) // len(original), 1, 1, 1)
        return io.NodeOutput(torch.where(masks[..., None] > 0, pasted, versions), masks)


NODES = [Align, PasteBack]

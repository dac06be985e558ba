"""GAN inversion by cycle encoding: a photo becomes a code of a StyleGAN, is edited and pasted back.

    import cycle_core as cc

Every step is one function; see the README for the whole way. Names are loaded when they are first
used, so that importing the package costs nothing: not even torch is imported before it is needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checkpoints import load_encoder, load_generator
    from .checkpoints.inspecting import convert, inspect
    from .codes import Code, load_code, save_code
    from .directions import (
        Direction,
        Step,
        calibrate,
        component_of,
        direction_from_pictures,
        edit,
        edit_many,
        fit_directions,
        ganspace,
        global_direction,
        lerp,
        list_directions,
        load_direction,
        load_style_deviations,
        mix,
        save_directions,
        sefa,
        slerp,
        style_channel,
        style_deviations,
    )
    from .errors import (
        CheckpointError,
        CycleError,
        InputError,
        MismatchError,
        MissingFileError,
        NoFaceError,
    )
    from .face import Face, Frame, align, choose, detect, paste
    from .images import Photo, contact_sheet, read_image, read_photo, save_image
    from .invert import (
        ProjectSettings,
        Refined,
        RefineSettings,
        Tuned,
        TuneSettings,
        encode,
        generate,
        load_tuned,
        project,
        refine,
        sample,
        save_tuned,
        tune,
    )
    from .sequence import Places, align_all, paste_all

__version__ = "0.1.0"
__all__ = [
    "CheckpointError",
    "Code",
    "CycleError",
    "Direction",
    "Face",
    "Frame",
    "InputError",
    "MismatchError",
    "MissingFileError",
    "NoFaceError",
    "Photo",
    "Places",
    "ProjectSettings",
    "RefineSettings",
    "Refined",
    "Step",
    "TuneSettings",
    "Tuned",
    "align",
    "align_all",
    "calibrate",
    "choose",
    "component_of",
    "contact_sheet",
    "convert",
    "detect",
    "direction_from_pictures",
    "edit",
    "edit_many",
    "encode",
    "fit_directions",
    "ganspace",
    "generate",
    "global_direction",
    "inspect",
    "lerp",
    "list_directions",
    "load_code",
    "load_direction",
    "load_encoder",
    "load_generator",
    "load_style_deviations",
    "load_tuned",
    "mix",
    "paste",
    "paste_all",
    "project",
    "read_image",
    "read_photo",
    "refine",
    "sample",
    "save_code",
    "save_directions",
    "save_image",
    "save_tuned",
    "sefa",
    "slerp",
    "style_channel",
    "style_deviations",
    "tune",
]

# module -> the public names that it holds, as imported above for type checkers
_HOME = {
    "checkpoints": "load_encoder load_generator",
    "checkpoints.inspecting": "convert inspect",
    "codes": "Code load_code save_code",
    "directions": "Direction Step calibrate component_of direction_from_pictures edit edit_many "
    "fit_directions ganspace global_direction lerp list_directions load_direction "
    "load_style_deviations mix "
    "save_directions sefa slerp style_channel style_deviations",
    "errors": "CheckpointError CycleError InputError MismatchError MissingFileError NoFaceError",
    "face": "Face Frame align choose detect paste",
    "images": "Photo contact_sheet read_image read_photo save_image",
    "invert": "ProjectSettings RefineSettings Refined TuneSettings Tuned encode generate "
    "load_tuned project refine sample save_tuned tune",
    "sequence": "Places align_all paste_all",
}
_MODULE = {name: module for module, names in _HOME.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULE[name]}", __name__), name)
    globals()[name] = value  # the next use finds it at once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

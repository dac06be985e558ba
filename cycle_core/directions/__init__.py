"""Directions: what to add to a code so that its picture changes in one respect.

direction.py  what a direction is
editing.py    by a strength, to a value, several at once, keeping others; mixing, interpolation
discovery.py  from labelled codes, GANSpace, SeFa; calibration
files.py      our files, InterFaceGAN's and GANSpace's
"""

from .direction import Direction, parse_layers
from .discovery import calibrate, fit_directions, ganspace, sefa
from .editing import Step, edit, edit_many, lerp, mix, slerp
from .files import list_directions, load_direction, save_directions

__all__ = [
    "Direction",
    "Step",
    "calibrate",
    "edit",
    "edit_many",
    "fit_directions",
    "ganspace",
    "lerp",
    "list_directions",
    "load_direction",
    "mix",
    "parse_layers",
    "save_directions",
    "sefa",
    "slerp",
]

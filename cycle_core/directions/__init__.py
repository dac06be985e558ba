"""Directions: what to add to a code so that its picture changes in one respect.

direction.py  what a direction is
editing.py    by a strength, to a value, several at once, keeping others; mixing, interpolation
discovery.py  from labelled codes, GANSpace, SeFa; calibration
stylespace.py style channels, StyleCLIP's global directions
components.py one of GANSpace or SeFa by its number
pictures.py   from pictures with and without an attribute
files.py      by name and in our files
foreign.py    InterFaceGAN's, GANSpace's, SeFa's and StyleCLIP's files
"""

from .components import component_of
from .direction import Direction, parse_layers
from .discovery import calibrate, fit_directions, ganspace, sefa
from .editing import Step, edit, edit_many, lerp, mix, slerp
from .files import list_directions, load_direction, needs_generator, save_directions
from .foreign import load_style_deviations
from .pictures import direction_from_pictures
from .stylespace import global_direction, style_channel, style_deviations

__all__ = [
    "Direction",
    "Step",
    "calibrate",
    "component_of",
    "direction_from_pictures",
    "edit",
    "edit_many",
    "fit_directions",
    "ganspace",
    "global_direction",
    "lerp",
    "list_directions",
    "load_direction",
    "load_style_deviations",
    "mix",
    "needs_generator",
    "parse_layers",
    "save_directions",
    "sefa",
    "slerp",
    "style_channel",
    "style_deviations",
]

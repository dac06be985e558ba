"""Model files: read them safely, tell what they are, and bring them into our layout.

`ours` is the layout that this project writes; `formats` lists every other that it opens, one module
a format; `reading` turns any file into plain data without running code that is stored in it.
"""

from .formats import load_encoder, load_generator
from .nvidia import from_nvidia
from .ours import ASSETS, State, build, read_model, resolve, save_model, write_atomically
from .rosinality import from_rosinality

__all__ = [
    "ASSETS",
    "State",
    "build",
    "from_nvidia",
    "from_rosinality",
    "load_encoder",
    "load_generator",
    "read_model",
    "resolve",
    "save_model",
    "write_atomically",
]

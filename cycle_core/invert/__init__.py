"""Inversion, one function a step: encode -> refine -> tune, and generate to look at the result.

code = encode(E, crop)                   METHOD section 1: the encoder's code
pivot = refine(E, G, crop)               section 2: a better code, by refining the encoder
pivot = project(G, crop)                 appendix of StyleGAN2: a code without an encoder
tuned = tune(G, pivot, crop)             section 3: a generator that draws the picture itself
image = generate(tuned.generator, pivot)
"""

from .encoding import encode, generate
from .objective import Objective
from .projection import ProjectSettings, project
from .refinement import REFINE_PRESETS, Refined, RefineSettings, refine
from .sampling import sample
from .tuned_files import load_tuned, save_tuned
from .tuning import TUNE_PRESETS, Tuned, TuneSettings, tune

__all__ = [
    "REFINE_PRESETS",
    "TUNE_PRESETS",
    "Objective",
    "ProjectSettings",
    "RefineSettings",
    "Refined",
    "TuneSettings",
    "Tuned",
    "encode",
    "generate",
    "load_tuned",
    "project",
    "refine",
    "sample",
    "save_tuned",
    "tune",
]

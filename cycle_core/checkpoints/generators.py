"""Every layout of generators of other projects, in the order in which they are tried."""

from __future__ import annotations

from . import nvidia, rosinality, stylegan3, tensorflow, toolboxes

FORMATS = (
    *nvidia.FORMATS,
    *stylegan3.FORMATS,
    *tensorflow.FORMATS,
    *rosinality.FORMATS,
    *toolboxes.FORMATS,
)

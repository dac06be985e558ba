"""The embedded domain: procedural portraits whose causes are all known exactly."""

from .factors import (
    ATTRIBUTES,
    COUNT,
    FACTORS,
    IDENTITY,
    NAMES,
    Z_DIM,
    Factor,
    defaults,
    factors_to_gaussian,
    factors_to_z,
    gaussian_to_factors,
    index,
    replace,
    sample_factors,
    z_to_factors,
)
from .renderer import Extras, Render, render

__all__ = [
    "ATTRIBUTES",
    "COUNT",
    "FACTORS",
    "IDENTITY",
    "NAMES",
    "Z_DIM",
    "Extras",
    "Factor",
    "Render",
    "defaults",
    "factors_to_gaussian",
    "factors_to_z",
    "gaussian_to_factors",
    "index",
    "render",
    "replace",
    "sample_factors",
    "z_to_factors",
]

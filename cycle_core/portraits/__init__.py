"""The embedded domain: procedural portraits whose causes are all known exactly."""

from .factors import (
    ATTRIBUTES,
    COUNT,
    FACTORS,
    IDENTITY,
    NAMES,
    Z_DIM,
    Factor,
    factors_to_gaussian,
    factors_to_z,
    gaussian_to_factors,
    sample_factors,
    z_to_factors,
)

__all__ = [
    "ATTRIBUTES",
    "COUNT",
    "FACTORS",
    "IDENTITY",
    "NAMES",
    "Z_DIM",
    "Factor",
    "factors_to_gaussian",
    "factors_to_z",
    "gaussian_to_factors",
    "sample_factors",
    "z_to_factors",
]

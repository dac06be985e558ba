"""Inversion, one function a step: encode -> refine -> tune, and generate to look at the result."""

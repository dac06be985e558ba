"""Every type of direction: a new one is a module (see `base`), a line here and a test."""

from __future__ import annotations

from . import mapper, published, stylespace

TYPES = (published.TYPE, stylespace.TYPE, mapper.TYPE)
KINDS = {one.kind.space: one.kind for one in TYPES}
LAYOUTS = tuple(layout for one in TYPES for layout in one.layouts)

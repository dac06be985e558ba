"""Lets the tests import the helper modules that lie beside them (`parity`)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

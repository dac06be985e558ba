"""Where the embedded models and examples lie."""

from pathlib import Path

ASSETS = Path(__file__).parents[1] / "assets"

"""The face detectors: one module each, by its name in `registry.py`."""

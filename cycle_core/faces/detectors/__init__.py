"""The face detectors: one module each, by its name in `DETECTORS` of `files/catalogue.py`."""

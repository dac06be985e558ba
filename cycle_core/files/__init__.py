"""Files on disk: where models are found, downloads, packed pictures."""

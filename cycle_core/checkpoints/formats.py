"""Every layout that can be opened, in the order in which they are tried."""

from __future__ import annotations

from pathlib import Path

import torch

from ..encoder import Encoder, EncoderConfig
from ..generator import Generator, GeneratorConfig
from .ours import build, make_config, read_model


def load_generator(name: str | Path, device: str | torch.device = "cpu") -> Generator:
    """Open a generator by path or embedded name ("portraits"), ready to use on `device`.

    Raises MissingFileError, CheckpointError."""
    config, state, _ = read_model(name, "generator")
    generator = Generator(make_config(GeneratorConfig, config, name))
    build(generator, state, name)
    generator.name = Path(name).stem
    return generator.to(device)


def load_encoder(name: str | Path, device: str | torch.device = "cpu") -> Encoder:
    """Open an encoder by path or embedded name ("portraits"), ready to use on `device`.

    Raises MissingFileError, CheckpointError."""
    config, state, metadata = read_model(name, "encoder")
    encoder = Encoder(make_config(EncoderConfig, config, name))
    build(encoder, state, name)
    encoder.generator = metadata.get("generator", "")
    return encoder.to(device)

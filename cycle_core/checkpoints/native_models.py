"""The models that this project writes itself, as formats among others."""

from __future__ import annotations

import math
from typing import Any

from ..models.detail_encoder import DetailEncoder, DetailEncoderConfig
from ..models.encoder import Encoder, EncoderConfig
from ..models.fingerprints import short
from ..models.generator import Generator
from ..models.stylegan2 import StyleGAN2Config
from ..models.stylegan3 import StyleGAN3Config
from .building import assemble, build_on_meta, make_config
from .format import Format
from .lazy_tensors import Damaged
from .native import NATIVE, is_native, model_of
from .reading import Contents


def _load_generator(contents: Contents) -> Generator:
    config, state, metadata = model_of(contents, "generator")
    # a StyleGAN2 configuration does not name its architecture
    kind = StyleGAN3Config if config.get("architecture") == "stylegan3" else StyleGAN2Config
    generator = assemble(make_config(kind, config, contents.path), state, contents.path)
    return generator.in_space(metadata.get("space", ""))


def _load_encoder(contents: Contents, **_: Any) -> Encoder:
    config, state, metadata = model_of(contents, "encoder")
    config = make_config(EncoderConfig, config, contents.path)
    halvings = math.log2(config.input_size)  # a convolution each in every head
    if max(config.num_ws, *config.units, halvings) > len(state):  # before so many are made
        raise Damaged("it claims more layers than it has tensors")
    encoder = build_on_meta(lambda: Encoder(config), state, contents.path)
    encoder.generator_id = metadata.get("generator", "")
    return encoder


def _load_detail_encoder(contents: Contents) -> DetailEncoder:
    config, state, metadata = model_of(contents, "detail")
    config = make_config(DetailEncoderConfig, config, contents.path)
    if max(config.fine, config.coarse) > len(state):  # before so many layers are made
        raise Damaged("it claims more layers than it has tensors")
    network = build_on_meta(lambda: DetailEncoder(config), state, contents.path)
    network.generator_id = metadata.get("generator", "")
    return network


def _plain(kind: str, *facts: str) -> Format:
    """A kind that is told from its configuration alone. facts: entries of it to be shown."""

    def describe(config: dict[str, Any]) -> dict[str, Any]:
        return {fact: config.get(fact) for fact in facts}

    return Format(
        NATIVE, kind, is_native(kind), lambda contents: model_of(contents, kind)[0], describe
    )


FORMATS = (
    Format(NATIVE, "generator", is_native("generator"), _load_generator),
    Format(NATIVE, "encoder", is_native("encoder"), _load_encoder),
    Format(
        NATIVE,
        "detail",
        is_native("detail"),
        _load_detail_encoder,
        lambda network: {"generator": short(network.generator_id) or "not known"},
    ),
    _plain("delta", "original", "space", "stage", "best"),
    _plain("landmarks"),
    _plain("identity"),
    _plain("perceptual"),
)

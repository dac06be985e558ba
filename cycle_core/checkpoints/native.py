"""Our model files: safetensors with a configuration.

One file holds one model: its tensors, and in the header the kind, the configuration as JSON and
free metadata (how it was trained). safetensors stores nothing that could be executed. Tensors in
half precision or in 8 bits come back as float32. `FORMATS` opens all kinds of them.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import CheckpointError, MissingFileError
from ..files.assets import ASSETS
from ..files.disk import write_atomically
from ..files.json import as_tuples, parse_json
from ..models.detail_encoder import DetailEncoder, DetailEncoderConfig
from ..models.encoder import Encoder, EncoderConfig
from ..models.fingerprints import short
from ..models.generator import Generator
from ..models.stylegan2 import StyleGAN2Config
from ..models.stylegan3 import StyleGAN3Config
from . import unsupported
from .building import Model, assemble, build, build_on_meta, make_config
from .lazy_tensors import Damaged
from .reading import Contents, Format, is_finite, read_file, reported

NATIVE = "our layout"
State = dict[str, Tensor]
_SCALE = ":scale"  # of NAME stored in 8 bits, one for each row: no parameter's name has a colon
_LEVELS = 127  # on each side of 0, as in quantisation to int8 without an offset


def save_model(
    path: str | Path,
    kind: str,
    config: Any,
    state: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write one model as safetensors, atomically: the old file stays whole until the new one is.

    config: a dataclass or a plain dict. dtype: floating weights are stored in it (torch.float16
    halves the file, torch.int8 quarters it, with a scale for each output channel); vectors stay as
    they are: they are small, and the statistics of norms among them can exceed half precision.
    Raises InputError where the file cannot be written."""
    config = asdict(config) if is_dataclass(config) and not isinstance(config, type) else config
    header = {**(metadata or {}), "kind": kind, "config": json.dumps(config)}
    tensors = {}
    for name, tensor in state.items():
        tensor = tensor.detach().cpu()
        if dtype is not None and tensor.is_floating_point() and tensor.ndim > 1:
            if dtype is torch.int8:
                tensor, tensors[name + _SCALE] = _quantised(tensor)
            tensor = tensor.to(dtype)
        tensors[name] = tensor
    tensors = unshared(tensors)

    def write(temporary: Path) -> None:
        try:
            save_file(tensors, temporary, metadata=header)
        except SafetensorError as error:  # a full disk
            raise OSError(None, _first_line(error)) from error

    write_atomically(path, write)


def _quantised(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers of a weight [N,...], and the float32 [N] by which its rows are multiplied."""
    rows = tensor.float().flatten(1)
    scale = rows.abs().amax(1) / _LEVELS
    whole = (rows / scale.where(scale > 0, 1.0)[:, None]).round()
    return whole.view_as(tensor), scale


def _dequantise(state: State) -> None:
    """Weights that `save_model` stored in 8 bits, as float32, in place."""
    for name in [key.removesuffix(_SCALE) for key in state if key.endswith(_SCALE)]:
        whole, scale = state[name], state.pop(name + _SCALE)
        state[name] = whole.float() * scale.view(-1, *[1] * (whole.ndim - 1))


def unshared(state: Mapping[str, Tensor]) -> State:
    """The tensors on the CPU, without gaps, each alone in its storage, as files keep them: copied
    only where they were not."""
    out, taken = {}, set()
    for name, tensor in state.items():
        tensor = tensor.detach().cpu().contiguous()
        storage = tensor.untyped_storage()
        if storage.nbytes() != tensor.nbytes or storage.data_ptr() in taken:
            tensor = tensor.clone()
        taken.add(tensor.untyped_storage().data_ptr())
        out[name] = tensor
    return out


def tensors_in_place(path: Path) -> Callable[[str], Tensor]:
    """The float32 tensors of a file that `save_model` wrote, by name, mapped one at a time: what is
    written to them is written to the file."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))

    def tensor(name: str) -> Tensor:
        start, shape = header[name]["data_offsets"][0], tuple(header[name]["shape"])
        return torch.from_numpy(np.memmap(path, np.float32, "r+", 8 + size + start, shape))

    return tensor


def read_model(name: str | Path, kind: str) -> tuple[dict[str, Any], State, dict[str, str]]:
    """Read a file that `save_model` wrote: (configuration, float32 state, metadata).

    name: a path, or the name of an embedded model such as "portraits".
    Raises MissingFileError, or CheckpointError for damaged files, another kind and weights that are
    not finite."""
    return model_of(read_file(resolve(name, kind), strict=False), kind)


def load_network(kind: str, name: str | Path, make: Callable[[dict[str, Any]], Model]) -> Model:
    """The network of a kind of a file or an embedded name, on the CPU, frozen.

    make: its class, from the file's configuration. Raises MissingFileError, CheckpointError."""
    config, state, _ = read_model(name, kind)
    try:
        network = make(config)
    except TypeError as error:
        raise CheckpointError(
            f"The model {name} has a configuration that this version does not know "
            f"({error}): install the project again."
        ) from error
    return build(network, state, name)


def model_of(contents: Contents, kind: str) -> tuple[dict[str, Any], State, dict[str, str]]:
    """`read_model` of a file whose header was read and checked already."""
    path, metadata = contents.path, contents.metadata
    if (found := metadata.get("kind")) != kind:
        with reported(path):
            known = with_article(found) if found else unsupported.name(contents)
        raise CheckpointError(
            f"{path} is {known or 'not one of our model files'}, but {with_article(kind)} is "
            "needed here: choose another file."
        )
    try:
        config = as_tuples(parse_json(metadata["config"]))
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
            if os.name == "nt":  # a file that is mapped could not be replaced there
                state = {key: tensor.clone() for key, tensor in state.items()}
        _dequantise(state)
    except (SafetensorError, OSError, ValueError, KeyError, RecursionError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a model file ({_first_line(error)}): it is damaged or of "
            "another format; get it again or choose another file."
        ) from error
    for key, tensor in state.items():
        if tensor.is_floating_point():
            state[key] = tensor = tensor.float()
            if not is_finite(tensor):
                raise CheckpointError(
                    f"{path} holds values that are not finite numbers (in {key}): the training "
                    "that wrote it went wrong; use an earlier checkpoint."
                )
        elif not key.endswith("num_batches_tracked"):  # what BatchNorm counts
            raise CheckpointError(
                f"{path} holds weights that are not floating-point numbers (in {key}), as in "
                "quantised models: get it in float32, float16 or bfloat16."
            )
    return config, state, metadata


def resolve(name: str | Path, kind: str) -> Path:
    """The path of a model: a file as given, or an embedded one by its bare name, which a folder of
    that name does not hide.

    Raises MissingFileError, CheckpointError where the path is a folder."""
    path = Path(name)
    if path.is_file():
        return path
    bare = path.name == str(name) and not path.suffix
    if bare:
        for file in (ASSETS / f"{name}_{kind}.safetensors", ASSETS / f"{name}.safetensors"):
            if file.is_file():
                return file
    if path.is_dir():
        raise CheckpointError(
            f"{path} is a folder, but a file with {with_article(kind)} is needed."
        )
    if bare:
        files = ASSETS.glob(f"*_{kind}.safetensors")
        known = sorted(file.stem.removesuffix(f"_{kind}") for file in files)
        listed = f" The embedded ones are: {', '.join(known)}." if known else ""
        raise MissingFileError(
            f"There is no {in_words(kind)} named {str(name)!r}: give a path or the name of an "
            f"embedded model.{listed}"
        )
    raise MissingFileError(f"There is no file {path}: check the path of the {in_words(kind)}.")


def base_of(contents: Contents) -> str:
    """The fingerprint of the generator that a file of kind "delta" was tuned from."""
    original = parse_json(contents.metadata["config"]).get("original")
    return short(original) if type(original) is str else "that it does not name"


def is_native(kind: str) -> Callable[[Contents], bool]:
    """The `detect` of files that `save_model` wrote."""

    def detect(contents: Contents) -> bool:
        native = contents.container == "safetensors" and "config" in contents.metadata
        return native and contents.metadata.get("kind") == kind

    return detect


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def in_words(kind: str) -> str:
    """A kind as messages say it; files keep the shorter word."""
    words = {"delta": "tuned generator", "detail": "detail encoder", "fid": "FID network"}
    return words.get(kind, kind)


def with_article(kind: str) -> str:
    """ "an encoder" """
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {in_words(kind)}"


# ------------------------------------------------------------------ as formats among others
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

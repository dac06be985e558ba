"""Our model files: safetensors with a configuration.

One file holds one model: its tensors, and in the header the kind, the configuration as JSON and
free metadata (how it was trained). safetensors stores nothing that could be executed. Half
precision tensors come back as float32.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import CheckpointError, InputError, MissingFileError
from ..files.assets import ASSETS
from ..models.encoder import Encoder, EncoderConfig
from ..models.generator import Config, Generator
from ..models.stylegan2 import GeneratorConfig
from ..models.stylegan3 import StyleGAN3Config
from . import unsupported
from .format import Format
from .lazy_tensors import Damaged
from .reading import Contents, read_file, reported

OURS = "our layout"
State = dict[str, Tensor]


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
    halves the file); vectors stay as they are: they are small, and the statistics of norms among
    them can exceed half precision. Raises InputError where the file cannot be written."""
    config = asdict(config) if is_dataclass(config) and not isinstance(config, type) else config
    header = {**(metadata or {}), "kind": kind, "config": json.dumps(config)}
    tensors = {}
    for name, tensor in state.items():
        tensor = tensor.detach().cpu()
        if dtype is not None and tensor.is_floating_point() and tensor.ndim > 1:
            tensor = tensor.to(dtype)
        tensors[name] = tensor.contiguous().clone()  # safetensors refuses shared storage
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata=header))


def read_model(name: str | Path, kind: str) -> tuple[dict[str, Any], State, dict[str, str]]:
    """Read a file that `save_model` wrote: (configuration, float32 state, metadata).

    name: a path, or the name of an embedded model such as "portraits".
    Raises MissingFileError, or CheckpointError for damaged files, another kind and weights that are
    not finite."""
    return model_of(read_file(resolve(name, kind), strict=False), kind)


def model_of(contents: Contents, kind: str) -> tuple[dict[str, Any], State, dict[str, str]]:
    """`read_model` of a file whose header was read and checked already."""
    path, metadata = contents.path, contents.metadata
    if (found := metadata.get("kind")) != kind:
        with reported(path):
            known = a(found) if found else unsupported.name(contents)
        raise CheckpointError(
            f"{path} is {known or 'not one of our model files'}, but {a(kind)} is needed "
            "here: choose another file."
        )
    try:
        config = json.loads(metadata["config"])
        if not isinstance(config, dict):
            raise ValueError("its configuration is no table")
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
            if os.name == "nt":  # a file that is mapped could not be replaced there
                state = {key: tensor.clone() for key, tensor in state.items()}
    except (SafetensorError, OSError, ValueError, KeyError, RecursionError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a model file ({_first_line(error)}): it is damaged or of "
            "another format; get it again or choose another file."
        ) from error
    for key, tensor in state.items():
        if tensor.is_floating_point():
            state[key] = tensor = tensor.float()
            if metadata.get("finite") != "checked" and not torch.isfinite(tensor).all():
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
        raise CheckpointError(f"{path} is a folder, but a file with {a(kind)} is needed.")
    if bare:
        files = ASSETS.glob(f"*_{kind}.safetensors")
        known = sorted(file.stem.removesuffix(f"_{kind}") for file in files)
        listed = f" The embedded ones are: {', '.join(known)}." if known else ""
        raise MissingFileError(
            f"There is no {in_words(kind)} named {str(name)!r}: give a path or the name of an "
            f"embedded model.{listed}"
        )
    raise MissingFileError(f"There is no file {path}: check the path of the {in_words(kind)}.")


def build(model: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> nn.Module:
    """Load `state` into `model`, strictly; in evaluation mode, without gradients.

    Raises CheckpointError that names the first tensors that do not fit."""
    own = model.state_dict()
    wrong = [k for k in own if k not in state] + [k for k in state if k not in own]
    wrong += [k for k in own if k in state and not _alike(own[k], state[k])]
    if wrong:
        names = ", ".join(wrong[:3])
        raise CheckpointError(
            f"{source} does not fit its own configuration ({len(wrong)} tensors, such as {names}): "
            "it is damaged or from another version; get it again."
        )
    if any(tensor.is_meta for tensor in own.values()):
        _assign(model, state)
    else:
        model.load_state_dict(state)
    return model.eval().requires_grad_(False)


def _assign(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give a model on the meta device, which has no memory of its own, tensors as they are.

    `load_state_dict(assign=True)` does the same in a third of the time of opening a file."""
    modules = dict(model.named_modules())
    for name, tensor in state.items():
        owner, _, leaf = name.rpartition(".")
        module = modules[owner]
        if leaf in module._parameters:
            module._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)
        else:
            module._buffers[leaf] = tensor


def assemble(config: Config, state: Mapping[str, Tensor], source: str | Path) -> Generator:
    """The generator of a configuration and its whole state, which it takes over without a copy.

    Raises CheckpointError where they do not fit."""
    layers = max(config.mapping_layers, config.num_ws)
    if layers > len(state):  # before so many are made
        raise incomplete("StyleGAN", KeyError(f"layer {len(state)}"))
    with torch.device("meta"):  # 30 million weights need not be drawn to be replaced
        generator = Generator(config)
    build(generator, {name: tensor.contiguous() for name, tensor in state.items()}, source)
    return generator


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path beside `path`, then put it in the place of `path`.

    Whatever interrupts it, `path` is either the old file or the whole new one.
    Raises InputError where the folder is missing, cannot be written or the disk is full."""
    path = Path(path)
    temporary = None
    try:
        # the name's beginning alone: the whole one and what is added may be more than a disk takes
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:60]}.")
        os.close(handle)
        write(Path(temporary))
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files private
        os.replace(temporary, path)
        temporary = None
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or _first_line(error)
        raise InputError(
            f"{path} could not be written ({reason}): choose a folder that exists, that you may "
            "write to, on a disk with room; nothing was changed."
        ) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def make_config(kind: type, values: dict[str, Any], source: str | Path) -> Any:
    try:
        for name, declared in _types(kind).items():
            if name in values and not _is_of(values[name], declared):
                raise TypeError(f"{name} is {values[name]!r}")
        return kind(**values)
    except (TypeError, InputError) as error:
        raise CheckpointError(
            f"{source} has a configuration that this version does not know ({error}): update the "
            "project or get the file again."
        ) from error


_types = cache(get_type_hints)


def _is_of(value: Any, declared: Any) -> bool:
    """Whether a value, from JSON, has the declared type of a configuration's field."""
    if isinstance(declared, UnionType):
        return any(_is_of(value, one) for one in get_args(declared))
    if get_origin(declared) is tuple:
        part = get_args(declared)[0]
        return isinstance(value, list | tuple) and all(_is_of(one, part) for one in value)
    return type(value) is declared or (declared is float and type(value) is int)


def incomplete(project: str, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"This is not a whole {project} generator: {error} is missing; choose the file that holds "
        "the generator (g_ema)."
    )


def _alike(own: Tensor, given: Tensor) -> bool:
    return own.shape == given.shape and own.is_floating_point() <= given.is_floating_point()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def in_words(kind: str) -> str:
    """A kind as messages say it; files keep the shorter word."""
    return "tuned generator" if kind == "delta" else kind


def a(kind: str) -> str:
    """ "an encoder" """
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {in_words(kind)}"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# ------------------------------------------------------------------ as formats among others
def _load_generator(contents: Contents) -> Generator:
    config, state, metadata = model_of(contents, "generator")
    # a StyleGAN2 configuration does not name its architecture
    kind = StyleGAN3Config if config.get("architecture") == "stylegan3" else GeneratorConfig
    generator = assemble(make_config(kind, config, contents.path), state, contents.path)
    if "fingerprint" in metadata:
        generator.remember_fingerprint(metadata["fingerprint"])
    return generator


def _load_encoder(contents: Contents, **_: Any) -> Encoder:
    config, state, metadata = model_of(contents, "encoder")
    config = make_config(EncoderConfig, config, contents.path)
    halvings = math.log2(config.input_size)  # a convolution each in every head
    if max(config.num_ws, *config.units, halvings) > len(state):  # before so many are made
        raise Damaged("it claims more layers than it has tensors")
    with torch.device("meta"):  # 267 million weights need not be drawn to be replaced
        encoder = Encoder(config)
    build(encoder, state, contents.path)
    encoder.generator = metadata.get("generator", "")
    return encoder


def base_of(contents: Contents) -> str:
    """The fingerprint of the generator that a file of kind "delta" was tuned from."""
    return json.loads(contents.metadata["config"])["original"]


def is_ours(kind: str) -> Callable[[Contents], bool]:
    """The `detect` of files that `save_model` wrote."""

    def detect(contents: Contents) -> bool:
        ours = contents.container == "safetensors" and "config" in contents.metadata
        return ours and contents.metadata.get("kind") == kind

    return detect


def _plain(kind: str, *facts: str) -> Format:
    """A kind that is told from its configuration alone. facts: entries of it to be shown."""

    def describe(config: dict[str, Any]) -> dict[str, Any]:
        return {fact: config.get(fact) for fact in facts}

    return Format(OURS, kind, is_ours(kind), lambda contents: model_of(contents, kind)[0], describe)


FORMATS = (
    Format(OURS, "generator", is_ours("generator"), _load_generator),
    Format(OURS, "encoder", is_ours("encoder"), _load_encoder),
    _plain("delta", "original", "space", "stage", "best"),
    _plain("landmarks"),
    _plain("identity"),
    _plain("perceptual"),
)

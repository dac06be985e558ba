"""Model files: our safetensors layout, and the translation of other projects' generators.

One file holds one model: its tensors, and in the header the kind, the configuration as JSON and
free metadata (how it was trained). safetensors stores nothing that could be executed. Half
precision tensors come back as float32.
"""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .errors import CheckpointError, InputError, MissingFileError
from .generator import Generator, GeneratorConfig

if TYPE_CHECKING:
    from .encoder import Encoder

ASSETS = Path(__file__).parent / "assets"
State = dict[str, Tensor]


# ------------------------------------------------------------------ our layout
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
    path = resolve(name, kind)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            found = metadata.get("kind")
            if found != kind:
                raise CheckpointError(
                    f"{path} is {_a(found) if found else 'not one of our model files'}, but "
                    f"{_a(kind)} is needed here: choose another file."
                )
            config = json.loads(metadata["config"])
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a model file ({_first_line(error)}): it is damaged or of "
            "another format; get it again or choose another file."
        ) from error
    for key, tensor in state.items():
        if tensor.is_floating_point():
            state[key] = tensor = tensor.float()
            if not torch.isfinite(tensor).all():
                raise CheckpointError(
                    f"{path} holds values that are not finite numbers (in {key}): the training "
                    "that wrote it went wrong; use an earlier checkpoint."
                )
    return config, state, metadata


def resolve(name: str | Path, kind: str) -> Path:
    """The path of a model: a file as given, or an embedded one by its bare name.

    Raises MissingFileError, CheckpointError where the path is a folder."""
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder, but a file with {_a(kind)} is needed.")
    if path.name == str(name) and not path.suffix:
        for file in (ASSETS / f"{name}_{kind}.safetensors", ASSETS / f"{name}.safetensors"):
            if file.is_file():
                return file
        files = ASSETS.glob(f"*_{kind}.safetensors")
        known = sorted(file.stem.removesuffix(f"_{kind}") for file in files)
        listed = f" The embedded ones are: {', '.join(known)}." if known else ""
        raise MissingFileError(
            f"There is no {kind} named {str(name)!r}: give a path or the name of an embedded "
            f"model.{listed}"
        )
    raise MissingFileError(f"There is no file {path}: check the path of the {kind}.")


def build(model: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> nn.Module:
    """Load `state` into `model`, strictly; in evaluation mode, without gradients.

    Raises CheckpointError that names the first tensors that do not fit."""
    own = model.state_dict()
    wrong = [k for k in own if k not in state] + [k for k in state if k not in own]
    wrong += [k for k in own if k in state and own[k].shape != state[k].shape]
    if wrong:
        names = ", ".join(wrong[:3])
        raise CheckpointError(
            f"{source} does not fit its own configuration ({len(wrong)} tensors, such as {names}): "
            "it is damaged or from another version; get it again."
        )
    model.load_state_dict(state)
    return model.eval().requires_grad_(False)


def load_generator(name: str | Path, device: str | torch.device = "cpu") -> Generator:
    """Open a generator by path or embedded name ("portraits"), ready to use on `device`.

    Raises MissingFileError, CheckpointError."""
    config, state, _ = read_model(name, "generator")
    generator = Generator(_config(GeneratorConfig, config, name))
    build(generator, state, name)
    generator.name = Path(name).stem
    return generator.to(device)


def load_encoder(name: str | Path, device: str | torch.device = "cpu") -> Encoder:
    """Open an encoder by path or embedded name ("portraits"), ready to use on `device`.

    Raises MissingFileError, CheckpointError."""
    from .encoder import Encoder, EncoderConfig

    config, state, metadata = read_model(name, "encoder")
    encoder = Encoder(_config(EncoderConfig, config, name))
    build(encoder, state, name)
    encoder.generator = metadata.get("generator", "")
    return encoder.to(device)


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path beside `path`, then put it in the place of `path`.

    Whatever interrupts it, `path` is either the old file or the whole new one.
    Raises InputError where the folder is missing, cannot be written or the disk is full."""
    path = Path(path)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
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


# ------------------------------------------------------------------ other projects' generators
def from_rosinality(
    state: Mapping[str, Tensor], latent_avg: Tensor | None = None
) -> tuple[GeneratorConfig, State]:
    """Translate the `g_ema` of rosinality's stylegan2-pytorch: (configuration, our state).

    latent_avg: [w_dim] or [N, w_dim]; zero if None (the caller computes it from mapped z).
    Raises CheckpointError where tensors are missing."""
    try:
        layers = sum(1 for key in state if key.startswith("style.") and key.endswith(".weight"))
        blocks = 1 + sum(1 for key in state if re.fullmatch(r"to_rgbs\.\d+\.bias", key))
        convs = ["conv1"] + [f"convs.{2 * j + 1}" for j in range(blocks - 1)]
        config = GeneratorConfig(
            resolution=2 ** (blocks + 1),
            z_dim=state["style.1.weight"].shape[1],
            w_dim=state["style.1.weight"].shape[0],
            mapping_layers=layers,
            channels=tuple(state[f"{c}.conv.weight"].shape[1] for c in convs),
        )
        out: State = {"synthesis.const": state["input.input"][0]}
        for i in range(layers):
            for part in ("weight", "bias"):
                out[f"mapping.layers.{i}.{part}"] = state[f"style.{i + 1}.{part}"]
        average = torch.zeros(config.w_dim) if latent_avg is None else latent_avg
        out["mapping.w_avg"] = average if average.ndim == 1 else average[0]
        for b in range(blocks):
            names = {"conv1": (convs[b], 2 * b), "to_rgb": (f"to_rgbs.{b - 1}", None)}
            if b:
                names["conv0"] = (f"convs.{2 * (b - 1)}", 2 * b - 1)
            else:
                names["to_rgb"] = ("to_rgb1", None)
            for ours, (theirs, noise) in names.items():
                to = f"synthesis.blocks.{b}.{ours}"
                out[f"{to}.weight"] = state[f"{theirs}.conv.weight"][0]
                out[f"{to}.affine.weight"] = state[f"{theirs}.conv.modulation.weight"]
                out[f"{to}.affine.bias"] = state[f"{theirs}.conv.modulation.bias"]
                if noise is None:
                    out[f"{to}.bias"] = state[f"{theirs}.bias"].reshape(3)
                else:
                    out[f"{to}.bias"] = state[f"{theirs}.activate.bias"]
                    out[f"{to}.noise_strength"] = state[f"{theirs}.noise.weight"].reshape([])
                    size = 2 ** (b + 2)
                    out[f"{to}.noise_const"] = state[f"noises.noise_{noise}"].reshape(size, size)
    except KeyError as error:
        raise _missing("rosinality", error) from error
    return config, out


def from_nvidia(
    state: Mapping[str, Tensor], conv_clamp: float | None = None
) -> tuple[GeneratorConfig, State]:
    """Translate the state dict of NVIDIA's PyTorch StyleGAN2 `G_ema`: (configuration, our state).

    Raises CheckpointError where tensors are missing."""
    try:
        layers = sum(1 for key in state if key.startswith("mapping.fc") and _last(key, "weight"))
        sizes = sorted(int(key.split(".")[1][1:]) for key in state if key.endswith(".torgb.weight"))
        embed = state.get("mapping.embed.weight")
        w_dim = state["mapping.w_avg"].shape[0]
        config = GeneratorConfig(
            resolution=sizes[-1],
            z_dim=state["mapping.fc0.weight"].shape[1] - (0 if embed is None else w_dim),
            w_dim=w_dim,
            c_dim=0 if embed is None else embed.shape[1],
            mapping_layers=layers,
            channels=tuple(state[f"synthesis.b{r}.torgb.weight"].shape[1] for r in sizes),
            conv_clamp=conv_clamp,
        )
        out: State = {
            "mapping.w_avg": state["mapping.w_avg"],
            "synthesis.const": state["synthesis.b4.const"],
        }
        pairs = {f"mapping.fc{i}": f"mapping.layers.{i}" for i in range(layers)}
        if embed is not None:
            pairs["mapping.embed"] = "mapping.embed"
        for theirs, ours in pairs.items():
            for part in ("weight", "bias"):
                out[f"{ours}.{part}"] = state[f"{theirs}.{part}"]
        for r in sizes:
            block = int(math.log2(r)) - 2
            for theirs, ours in (("conv0", "conv0"), ("conv1", "conv1"), ("torgb", "to_rgb")):
                if theirs == "conv0" and r == 4:
                    continue
                parts = ["weight", "bias", "affine.weight", "affine.bias"]
                parts += [] if theirs == "torgb" else ["noise_strength", "noise_const"]
                for part in parts:
                    key = f"synthesis.b{r}.{theirs}.{part}"
                    out[f"synthesis.blocks.{block}.{ours}.{part}"] = state[key]
    except (KeyError, IndexError, ValueError) as error:
        raise _missing("NVIDIA", error) from error
    return config, out


def _config(kind: type, values: dict[str, Any], source: str | Path) -> Any:
    try:
        return kind(**values)
    except (TypeError, InputError) as error:
        raise CheckpointError(
            f"{source} has a configuration that this version does not know ({error}): update the "
            "project or get the file again."
        ) from error


def _missing(project: str, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"This is not a whole {project} StyleGAN2 generator: {error} is missing; choose the file "
        "that holds the generator (g_ema)."
    )


def _last(key: str, part: str) -> bool:
    return key.rsplit(".", 1)[-1] == part


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""Generators and codes in the layouts of other projects; no file here needs code to be opened.

    rosinality  .pt    {"g_ema": state dict, "latent_avg": [w_dim]}, as pSp, e4e and PTI take
    nvidia      .pt    the bare state dict of NVIDIA's `Generator`, StyleGAN2 and StyleGAN3, for
                       `G.load_state_dict(torch.load(path))`, as in stylegan3-editing
    onnx        .onnx  the synthesis network: w [batch, num_ws, w_dim] -> image [batch, 3, R, R]
    codes       .npz   NVIDIA's `projected_w.npz`: w [B, num_ws, w_dim];  .pt: the bare tensor

`WRITERS` has one function for each layout of a generator.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..codes import Code, HasCode, as_code
from ..errors import InputError
from ..files.disk import write_atomically
from ..models.generator import Generator
from ..models.layers import BLUR_TAPS
from ..models.stylegan2 import StyleGAN2Synthesis
from ..models.stylegan3 import StyleGAN3Config
from .building import stylegan2_layers
from .latents import load_code
from .native import State, resolve, unshared
from .reading import read_file, reported
from .registry import formats_of, load_generator
from .rosinality import layer_name

OPSET = 17
CODE_FILES = (".npz", ".pt")


def export_generator(G: Generator, path: str | Path, layout: str | None = None) -> str:
    """Write a generator for another project, atomically; gives the layout.

    layout: a name of `WRITERS`; if None the ending says it: .onnx, or .pt, which is rosinality's
        for a StyleGAN2 without classes and NVIDIA's for any other.
    Raises InputError for what the layout cannot hold, another ending, and where it cannot be
    written."""
    path = Path(path)
    if layout is None:
        plain = isinstance(G.synthesis, StyleGAN2Synthesis) and not G.config.c_dim
        layout = "onnx" if path.suffix == ".onnx" else "rosinality" if plain else "nvidia"
    if layout not in WRITERS:
        raise InputError(f"The layouts of a generator are {', '.join(WRITERS)}, not {layout!r}.")
    ending = ".onnx" if layout == "onnx" else ".pt"
    if path.suffix != ending:
        raise InputError(f"{path}: the name of a file in the layout {layout} ends in {ending}.")
    WRITERS[layout](_plain(G), path)
    return layout


def export_code(code: Code | HasCode, path: str | Path) -> None:
    """Write codes as other projects keep them: .npz (w) or .pt (the tensor), float32.

    Raises InputError for codes that were edited in StyleSpace, another ending, and where it cannot
    be written."""
    code, path = as_code(code), Path(path)
    if code.offsets is not None:
        raise InputError(
            "Codes that were edited in StyleSpace cannot be written for other projects, which have "
            "no place for style offsets: write the codes as they were before."
        )
    w = code.w.detach().cpu().float()
    if path.suffix == ".npz":
        write_atomically(path, lambda part: np.savez(part, w=w.numpy()))
    elif path.suffix == ".pt":
        _save(w.clone(), path)
    else:
        raise InputError(f"{path}: codes for other projects end in {' or '.join(CODE_FILES)}.")


def export(path: str | Path, out: str | Path, layout: str | None = None) -> str:
    """Write the generator or the codes of a file, by path or embedded name, for another project.

    Gives what was written: a layout of `WRITERS`, or "code".
    Raises what `export_generator` and `export_code` raise, MissingFileError, CheckpointError."""
    contents = read_file(resolve(path, "generator"), strict=False)
    with reported(contents.path):
        kinds = {one.kind for one in formats_of(contents)}
    if "code" in kinds and layout is None:
        export_code(load_code(contents.path), out)
        return "code"
    return export_generator(load_generator(path), out, layout)


def rosinality_state(G: Generator) -> State:
    """The state dict of rosinality's `Generator`, its constant buffers included; it shares
    memory with G.

    Raises InputError for StyleGAN3, classes, and a z that is not normalised."""
    config: Any = G.config
    synthesis = G.synthesis
    if not isinstance(synthesis, StyleGAN2Synthesis) or config.c_dim:
        raise InputError(
            "rosinality's layout has neither StyleGAN3 nor classes: write this generator in the "
            "layout nvidia."
        )
    _check_mapping(G)
    blur = _blur() * 4  # up-sampling by two fills three of four pixels with zeros
    out: State = {}
    layer: Any
    for i, layer in enumerate(G.mapping.layers):
        out[f"style.{i + 1}.weight"] = layer.weight * _rescaled(G)
        out[f"style.{i + 1}.bias"] = layer.bias * _rescaled(G)
    out["input.input"] = synthesis.const[None]
    for b, native, number in stylegan2_layers(len(synthesis.blocks)):
        to, layer = layer_name(b, number), getattr(synthesis.blocks[b], native)
        out |= {
            f"{to}.conv.weight": layer.weight[None],
            f"{to}.conv.modulation.weight": layer.affine.weight,
            f"{to}.conv.modulation.bias": layer.affine.bias,
        }
        if number is None:
            out[f"{to}.bias"] = layer.bias.reshape(1, -1, 1, 1)
            if b:
                out[f"{to}.upsample.kernel"] = blur
            continue
        out[f"{to}.noise.weight"] = layer.noise_strength.reshape(1)
        out[f"{to}.activate.bias"] = layer.bias
        out[f"noises.noise_{number}"] = layer.noise_const[None, None]
        if native == "conv0":
            out[f"{to}.conv.blur.kernel"] = blur
    return unshared(out)


def nvidia_state(G: Generator) -> State:
    """The state dict of NVIDIA's `Generator`, its constant buffers included: StyleGAN2 as in
    stylegan2-ada-pytorch and stylegan3, StyleGAN3 as in stylegan3. It shares memory with G.

    Raises InputError for a z that is not normalised."""
    _check_mapping(G)
    out: State = {}
    for name, tensor in G.state_dict().items():
        parts = name.split(".")
        if parts[:2] == ["synthesis", "layers"]:
            assert isinstance(G.config, StyleGAN3Config)
            signal = G.config.signals[int(parts[2])]
            parts[1:3] = [f"L{parts[2]}_{signal.size}_{signal.channels}"]
        elif parts[:2] == ["synthesis", "blocks"]:
            parts[1:4] = [f"b{2 ** (int(parts[2]) + 2)}", parts[3].replace("_", "")]
        elif name == "synthesis.const":
            parts = ["synthesis", "b4", "const"]
        elif parts[:2] == ["mapping", "layers"]:
            parts[1:3] = [f"fc{parts[2]}"]
            tensor = tensor * _rescaled(G)
        out[".".join(parts)] = tensor
    if isinstance(G.synthesis, StyleGAN2Synthesis):
        blur = _blur()
        block: Any
        for b, block in enumerate(G.synthesis.blocks):
            at = f"synthesis.b{2 ** (b + 2)}"
            names = [at, f"{at}.conv1"] + ([f"{at}.conv0"] if block.conv0 is not None else [])
            out |= {f"{name}.resample_filter": blur for name in names}
    return unshared(out)


# ------------------------------------------------------------------ files
def _save(content: Any, path: Path) -> None:
    write_atomically(path, lambda part: torch.save(content, part))


def _write_onnx(G: Generator, path: Path) -> None:
    try:
        import onnx  # noqa: F401 - torch writes with it
    except ImportError as error:
        raise InputError("ONNX files are written by onnx: pip install onnx.") from error
    w = G.w_avg.detach().expand(2, G.num_ws, -1).clone()

    def write(part: Path) -> None:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tracing: the shapes that become constants are
            torch.onnx.export(
                G.synthesis.eval(),
                (w,),
                str(part),
                input_names=["w"],
                output_names=["image"],
                dynamic_axes={"w": {0: "batch"}, "image": {0: "batch"}},
                opset_version=OPSET,
                do_constant_folding=False,  # it puts constants of equal value behind their use
                dynamo=False,
            )

    write_atomically(path, write)


WRITERS: dict[str, Callable[[Generator, Path], None]] = {
    "rosinality": lambda G, path: _save(
        {"g_ema": rosinality_state(G), "latent_avg": G.w_avg.detach().cpu().clone()}, path
    ),
    "nvidia": lambda G, path: _save(nvidia_state(G), path),
    "onnx": _write_onnx,
}


# ------------------------------------------------------------------ parts
def _plain(G: Generator) -> Generator:
    """The generator on the CPU, refused where it has what no other project knows."""
    if G.synthesis.detail is not None:
        raise InputError(
            "This tuned generator holds a map of detail, which no other layout has a place for: "
            "tune without detail steps (the preset paper) before you export."
        )
    return G if G.device.type == "cpu" else copy.deepcopy(G).to("cpu")


def _check_mapping(G: Generator) -> None:
    if not G.config.normalize_z:
        raise InputError(
            "The mapping network of this generator takes z as it is, as the embedded one does, "
            "which no other project can: write it as .safetensors, or its synthesis as .onnx."
        )


def _rescaled(G: Generator) -> float:
    """What weights of the mapping layers are multiplied by, where a learning rate's multiplier of
    0.01 is taken for granted."""
    return G.config.mapping_lr_multiplier / 0.01


def _blur() -> Tensor:
    """The binomial filter [4,4], which sums to 1."""
    taps = torch.tensor(BLUR_TAPS)
    return taps[:, None] * taps / taps.sum() ** 2

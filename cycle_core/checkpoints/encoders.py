"""Encoders of other projects: e4e, pSp, ReStyle and Cycle Encoding, `.pt` files of one family.

`state_dict` holds the encoder under `encoder.` and its generator under `decoder.`, `opts` the
options of the training, `latent_avg` the mean code. e4e and pSp have the same tensors and differ in
what a head gives, which only the options say; everything else follows from the shapes.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError, IncompleteError, InputError
from ..models.encoder import Encoder, EncoderConfig
from ..models.generator import Generator
from . import generators
from .building import build_on_meta, make_config
from .lazy_tensors import StoredTensor, shown
from .reading import Contents, Format, load_tensors, matching
from .state_dicts import beside, find

# `encoder_type` of the options -> whether head i gives D_i (e4e) or a whole w (pSp)
_DELTAS = {
    "Encoder4Editing": True,
    "ProgressiveBackboneEncoder": True,
    "ResNetProgressiveBackboneEncoder": True,
    "GradualStyleEncoder": False,
    "ResNetGradualStyleEncoder": False,
    "BackboneEncoder": False,
    "ResNetBackboneEncoder": False,
}
_METHODS = {
    True: "e4e",
    False: "pSp",
    None: "e4e or pSp",
}  # whether its heads give D_i -> the method
_ARCHITECTURES = {"e4e": True, "psp": False}
_PARTS = ("input_layer.", "body.", "styles.", "latlayer", "linear.", "output_layer")
_GENERATOR = (
    "add --generator with the generator that it was trained for, in Python and on the node its "
    "generator"
)
_ITERATIONS = 5  # of ReStyle where the options do not say


@dataclass(frozen=True)
class Parts:
    """What a file of this family holds. The names of tensors are without their prefixes."""

    encoder: dict[str, StoredTensor]
    options: dict[str, Any]  # may be empty
    average: StoredTensor | None
    step: int | None  # of the training

    @property
    def restyle(self) -> bool:
        return self.encoder["input_layer.0.weight"].shape[1] == 6

    @property
    def deltas(self) -> bool | None:
        """Whether head i gives D_i; None if the file does not say."""
        kind = self.options.get("encoder_type")
        return _DELTAS.get(kind) if isinstance(kind, str) else None

    @property
    def kind(self) -> str:
        """The name of the method."""
        if "linear.weight" in self.encoder:
            return "pSp into W"
        base = _METHODS[self.deltas]
        if self.restyle:
            return f"ReStyle, {base}"
        return "Cycle Encoding" if "inverse_progressive_steps" in self.options else base


def find_encoder(contents: Contents) -> Parts | None:
    """The parts of a file, or None if it holds no encoder of this family."""
    if "encoder" not in contents.cache:
        contents.cache["encoder"] = _find_encoder(contents)
    return contents.cache["encoder"]


def _find_encoder(contents: Contents) -> Parts | None:
    heads = ("styles.0.linear.weight", "linear.weight")
    irse = (find(contents, "input_layer.0.weight", "input_layer.2.weight", h) for h in heads)
    resnets = (find(contents, "conv1.weight", "relu.weight", head) for head in heads)
    found = next((state for state in (*irse, *resnets) if state is not None), None)
    if found is None:
        return None
    encoder = found.tensors
    if "input_layer.0.weight" not in encoder:  # the names of a ResNet
        new = {"conv1": "input_layer.0", "bn1": "input_layer.1", "relu": "input_layer.2"}
        encoder = {_renamed(name, new): tensor for name, tensor in encoder.items()}
    if encoder["input_layer.0.weight"].ndim != 4:
        return None
    if not found.prefix:  # bare: the mean may lie among the tensors of the encoder
        encoder = {k: v for k, v in encoder.items() if k.startswith(_PARTS)}
    average, options = beside(contents, "latent_avg"), beside(contents, "opts")
    step = beside(contents, "global_step")
    return Parts(
        encoder,
        options if isinstance(options, dict) else {},
        average if isinstance(average, StoredTensor) else None,
        step if type(step) is int else None,
    )


def load(
    contents: Contents, generator: Generator | None = None, architecture: str | None = None
) -> Encoder:
    """The encoder of a file, on the CPU, with the fingerprint of the generator that lies beside it.

    generator: takes the place of the one in the file where there is none: it gives the mean code if
    that is missing, too, and the number of styles of an encoder into W. architecture: "e4e" or
    "psp", for a file without options. Raises CheckpointError, InputError for the architecture."""
    parts, source = find_encoder(contents), contents.path
    assert parts is not None  # it was detected
    generator = _generator(contents) or generator
    config = make_config(EncoderConfig, _config(parts, source, generator, architecture), source)
    state = load_tensors(parts.encoder)
    if config.pooled:
        state = {_renamed(name, {"linear": "styles.0.linear"}): state[name] for name in state}
    state["w_avg"] = _average(parts, config, source, generator).clone()
    encoder = build_on_meta(lambda: Encoder(config), state, source)
    encoder.generator_id = generator.base_fingerprint if generator else ""
    return encoder


def _config(
    parts: Parts, source: str | Path, generator: Generator | None, architecture: str | None
) -> dict[str, Any]:
    state, options = parts.encoder, parts.options
    channels = state["input_layer.0.weight"].shape[1]
    if channels not in (3, 6):
        raise CheckpointError(
            f"{source} is an encoder of pictures with {channels} channels, such as sketches or "
            "label maps, but only encoders of photos can be used here: choose another file."
        )
    if "output_layer_2.3.weight" in state:
        raise CheckpointError(
            f"{source} is pSp's ablation BackboneEncoderUsingLastLayerIntoWPlus, of which no model "
            "was published and which is not supported: use an encoder with one head a style."
        )
    resnet = "body.0.conv1.weight" in state
    conv = "conv1" if resnet else "res_layer.1"
    units = sum(1 for name in state if re.fullmatch(rf"body\.\d+\.{re.escape(conv)}\.weight", name))
    stages = itertools.groupby(state[f"body.{i}.{conv}.weight"].shape[0] for i in range(units))
    widths, counts = zip(*((width, len(list(same))) for width, same in stages), strict=True)
    squeeze = state.get("body.0.res_layer.5.fc1.weight")
    values: dict[str, Any] = {
        "widths": (state["input_layer.0.weight"].shape[0], *widths),
        "units": counts,
        "reduction": squeeze.shape[1] // squeeze.shape[0] if squeeze is not None else 0,
        "stem_stride": 2 if resnet else 1,
        "resnet": resnet,
        "iterations": _iterations(options) if parts.restyle else 0,
    }
    if "linear.weight" in state:
        w_dim = state["linear.weight"].shape[0]
        num_ws = generator.num_ws if generator else _num_ws(parts, source)
        rows = _rows(options, EncoderConfig.input_size)
        return values | {"pooled": True, "w_dim": w_dim, "num_ws": num_ws, "rows": rows}

    if architecture is not None and architecture not in _ARCHITECTURES:
        raise InputError(
            f'The architecture of an encoder is "e4e" or "psp", not {shown(architecture)}.'
        )
    deltas = parts.deltas if architecture is None else _ARCHITECTURES[architecture]
    if deltas is None:
        raise IncompleteError(
            source,
            "does not say whether its heads give differences (e4e) or whole vectors (pSp)",
            "add --architecture e4e or --architecture psp, in Python `architecture=`, on the node "
            "its architecture",
        )
    convs = (re.fullmatch(r"styles\.(\d+)\.convs\.\d+\.weight", name) for name in state)
    depths = Counter(match[1] for match in convs if match)  # of each head
    levels = Counter(depths.values())
    coarse, input_size = levels[depths["0"]], 16 * 2 ** depths["0"]
    return values | {
        "num_ws": len(depths),
        "w_dim": state["styles.0.linear.weight"].shape[0],
        "head_width": state["styles.0.linear.weight"].shape[1],
        "input_size": input_size,
        "rows": _rows(options, input_size),
        "coarse": coarse,
        "middle": coarse + levels[depths["0"] + 1],
        "deltas": deltas,
        "stage": _stage(parts, len(depths)) if deltas else None,
    }


def _generator(contents: Contents) -> Generator | None:
    """The generator that the file holds beside the encoder."""
    found = matching(contents, generators.FORMATS)
    return found[0].load(contents) if found else None


def _iterations(options: dict[str, Any]) -> int:
    count = options.get("n_iters_per_batch")
    return count if isinstance(count, int) and 1 <= count <= 100 else _ITERATIONS


def _rows(options: dict[str, Any], size: int) -> tuple[int, int] | None:
    """Pictures of cars are wide: the bars above and below in their squares are not read."""
    return (size // 8, size - size // 8) if options.get("dataset_type") == "cars_encode" else None


def _stage(parts: Parts, num_ws: int) -> int | None:
    """The stage at the step when the file was written, None if it does not say.

    `progressive_steps[i]` is where stage i begins; `inverse_progressive_steps` counts down from the
    last stage, in the published code always from 17."""
    if parts.step is None:
        return None
    up, down = (
        [s for s in steps if isinstance(s, int)] if isinstance(steps, list) else []
        for steps in map(parts.options.get, ("progressive_steps", "inverse_progressive_steps"))
    )
    reached = [i for i, step in enumerate(up) if parts.step >= step]
    reached += [len(down) - 1 - i for i, step in enumerate(down) if parts.step >= step]
    return min(reached[-1], num_ws - 1) if reached else None


def _num_ws(parts: Parts, source: str | Path) -> int:
    """The number of styles of an encoder into W without a generator beside it."""
    size = parts.options.get("output_size", parts.options.get("stylegan_size"))
    if isinstance(size, int) and 4 <= size <= 4096 and size & (size - 1) == 0:
        return 2 * (size.bit_length() - 1) - 2
    if parts.average is not None and parts.average.ndim > 1 and parts.average.shape[-2] > 1:
        return parts.average.shape[-2]
    raise IncompleteError(source, "does not say how many styles its generator takes", _GENERATOR)


def _average(
    parts: Parts, config: EncoderConfig, source: str | Path, generator: Generator | None
) -> Tensor:
    """The mean code [num_ws, w_dim]; zero where the encoder was trained without."""
    shape = config.num_ws, config.w_dim
    if parts.options.get("start_from_latent_avg") is False and not parts.restyle:
        return torch.zeros(shape)
    if parts.average is not None:
        if parts.average.shape not in ((shape[1],), (1, shape[1]), shape):
            raise CheckpointError(
                f"{source} holds a mean code (latent_avg) of the shape "
                f"{list(parts.average.shape)}, but its encoder makes codes of {list(shape)}: it is "
                "put together from two models; get it again."
            )
        return load_tensors({"latent_avg": parts.average})["latent_avg"].expand(shape)
    if generator is not None:
        return generator.w_avg.expand(shape)
    raise IncompleteError(
        source, "holds no mean code (latent_avg) and no generator that would give it", _GENERATOR
    )


def _renamed(name: str, new: dict[str, str]) -> str:
    first, _, rest = name.partition(".")
    return f"{new[first]}.{rest}" if first in new else name


# ------------------------------------------------------------------ as formats among others
def _facts(encoder: Encoder) -> dict[str, Any]:
    return {"iterations": encoder.config.iterations} if encoder.config.iterations else {}


def _format(name: str) -> Format:
    def detect(contents: Contents) -> bool:
        parts = find_encoder(contents)
        return parts is not None and parts.kind == name

    return Format(name, "encoder", detect, load, _facts)


_NAMES = (*_METHODS.values(), *(f"ReStyle, {base}" for base in _METHODS.values()))
FORMATS = tuple(map(_format, (*_NAMES, "Cycle Encoding", "pSp into W")))

"""Our generators in the layouts of other projects, for files that tests write.

    write_nvidia(path, nvidia_names(generator))       # as stylegan2-ada-pytorch pickles G_ema
    write_pti(path, nvidia_names(generator))          # as PTI saves a tuned generator
    write_tensorflow(path, tensorflow_network(generator))
    torch.save({"g_ema": rosinality_names(generator)}, path)

The classes that these pickles name exist only while they are written, and their stored source is a
trap: it ends the process if it is run.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cycle_core.models.generator import Generator

TRAP = "raise SystemExit('source code stored inside the checkpoint was executed')\n"


def rosinality_names(generator: Generator) -> dict[str, Tensor]:
    """The state dict of rosinality's stylegan2-pytorch, without its constant blur kernels."""
    out = {}
    for name, tensor in generator.state_dict().items():
        parts = name.split(".")
        if name == "mapping.w_avg":
            continue
        if parts[:2] == ["mapping", "layers"]:
            out[f"style.{int(parts[2]) + 1}.{parts[3]}"] = tensor
        elif name == "synthesis.const":
            out["input.input"] = tensor[None]
        else:
            block, layer, rest = int(parts[2]), parts[3], ".".join(parts[4:])
            at = 2 * (block - 1)
            if layer == "to_rgb":
                to = f"to_rgbs.{block - 1}" if block else "to_rgb1"
            else:
                to = f"convs.{at + (layer == 'conv1')}" if block else "conv1"
            if rest == "weight":
                out[f"{to}.conv.weight"] = tensor[None]
            elif rest.startswith("affine."):
                out[f"{to}.conv.modulation.{parts[-1]}"] = tensor
            elif rest == "bias" and layer == "to_rgb":
                out[f"{to}.bias"] = tensor.view(1, -1, 1, 1)
            elif rest == "bias":
                out[f"{to}.activate.bias"] = tensor
            elif rest == "noise_strength":
                out[f"{to}.noise.weight"] = tensor.view(1)
            else:
                out[f"noises.noise_{2 * block - (layer == 'conv0')}"] = tensor[None, None]
    return out


def nvidia_names(generator: Generator) -> dict[str, Tensor]:
    """The state dict of NVIDIA's PyTorch StyleGAN2 or StyleGAN3."""
    out = {}
    for name, tensor in generator.state_dict().items():
        if name.startswith("synthesis.layers."):
            _, _, layer, rest = name.split(".", 3)
            signal = getattr(generator.config, "signals", ())[int(layer)]
            name = f"synthesis.L{layer}_{signal.size}_{signal.channels}.{rest}"
        elif name == "synthesis.const":
            name = "synthesis.b4.const"
        elif name.startswith("synthesis.blocks."):
            _, _, block, layer, rest = name.split(".", 4)
            name = f"synthesis.b{2 ** (int(block) + 2)}.{layer.replace('_', '')}.{rest}"
        out[name.replace("mapping.layers.", "mapping.fc")] = tensor
    return out


def write_nvidia(
    path: Path,
    state: dict[str, Tensor],
    attributes: dict[str, dict[str, Any]] | None = None,
    protocol: int = 4,
) -> Path:
    """A pickle with G, D and G_ema, as NVIDIA's training writes it.

    attributes: plain ones of modules, by path: {"synthesis.b4.conv1": {"conv_clamp": 256}}."""
    with _modules():
        module = _module(state, attributes or {})
        data = {"G": None, "D": None, "G_ema": module, "training_set_kwargs": {}}
        data["augment_pipe"] = None
        path.write_bytes(pickle.dumps(data, protocol))
    return path


def write_pti(
    path: Path, state: dict[str, Tensor], attributes: dict[str, dict[str, Any]] | None = None
) -> Path:
    """torch.save of the whole module, as PTI writes it."""
    with _modules():
        torch.save(_module(state, attributes or {}), path)
    return path


def tensorflow_network(generator: Generator, scope: str = "") -> _Network:
    """`Gs` of StyleGAN2 in TensorFlow. scope: what its variables' names begin with ("G_")."""
    mapping, synthesis, top = [], [], []
    for name, tensor in generator.state_dict().items():
        array = tensor.numpy()
        parts = name.split(".")
        if name == "mapping.w_avg":
            top.append(("dlatent_avg", array))
        elif parts[0] == "mapping":
            layer = "LabelEmbed" if parts[1] == "embed" else f"Dense{parts[2]}"
            mapping.append((f"{scope}{layer}/{parts[-1]}", array.T.copy()))
        elif name == "synthesis.const":
            synthesis.append((f"{scope}4x4/Const/const", array[None]))
        else:
            block, layer, rest = int(parts[2]), parts[3], ".".join(parts[4:])
            size = 2 ** (block + 2)
            names = {"conv0": "Conv0_up", "conv1": "Conv1" if block else "Conv", "to_rgb": "ToRGB"}
            at = f"{scope}{size}x{size}/{names[layer]}"
            if rest == "noise_const":
                index = 2 * block - (layer == "conv0")
                synthesis.append((f"{scope}noise{index}", array[None, None]))
            elif rest == "weight":
                array = array[:, :, ::-1, ::-1] if layer == "conv0" else array
                synthesis.append((f"{at}/weight", array.transpose(2, 3, 1, 0).copy()))
            elif rest == "affine.weight":
                synthesis.append((f"{at}/mod_weight", array.T.copy()))
            elif rest == "affine.bias":
                synthesis.append((f"{at}/mod_bias", array - np.float32(1)))
            else:
                synthesis.append((f"{at}/{rest}", array))
    settings = {"resolution": generator.resolution, "resample_kernel": [1, 3, 3, 1]}
    components = {
        "mapping": _Network("G_mapping", {"mapping_lrmul": 0.01}, {}, mapping),
        "synthesis": _Network("G_synthesis_stylegan2", {"architecture": "skip"}, {}, synthesis),
    }
    return _Network("G_main", settings, components, top)


def write_tensorflow(path: Path, network: Any, protocol: int = 4) -> Path:
    """The tuple (G, D, Gs) of the TensorFlow projects; here all three are the same."""
    with _modules():
        path.write_bytes(pickle.dumps((network, network, network), protocol))
    return path


# ------------------------------------------------------------------ what the pickles name
class _Persistent:
    def __init__(self, class_name: str, state: dict[str, Any]):
        self.class_name, self.state = class_name, state

    def __reduce__(self) -> tuple[Any, ...]:
        meta = {
            "type": "class",
            "version": 6,
            "module_src": TRAP,
            "class_name": self.class_name,
            "state": self.state,
        }
        return _reconstruct_persistent_obj, (meta,)


def _reconstruct_persistent_obj(meta: dict[str, Any]) -> None:
    raise SystemExit("a persistent object was reconstructed")


_reconstruct_persistent_obj.__module__ = "torch_utils.persistence"


class _Network:
    def __init__(self, function: str, settings: Any, components: Any, variables: Any):
        self.state = {
            "version": 4,
            "name": function,
            "static_kwargs": settings,
            "components": components,
            "build_module_src": TRAP,
            "build_func_name": function,
            "variables": variables,
        }

    def __getstate__(self) -> dict[str, Any]:
        return self.state

    def __setstate__(self, state: dict[str, Any]) -> None:
        raise SystemExit("a network was built")


_Network.__module__, _Network.__qualname__ = "dnnlib.tflib.network", "Network"


@contextlib.contextmanager
def _modules() -> Iterator[None]:
    """The modules that the pickles name, for as long as pickle looks them up."""
    named = {
        "torch_utils.persistence": {"_reconstruct_persistent_obj": _reconstruct_persistent_obj},
        "dnnlib.tflib.network": {"Network": _Network},
    }
    parents = ("torch_utils", "dnnlib", "dnnlib.tflib")
    for name in (*parents, *named):
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(named.get(name, {}))
    try:
        yield
    finally:
        for name in (*parents, *named):
            del sys.modules[name]


def _module(state: dict[str, Tensor], attributes: dict[str, dict[str, Any]]) -> _Persistent:
    """The tree of modules whose `state_dict()` is `state`."""
    return _branch("", state, attributes)


def _branch(path: str, state: dict[str, Tensor], attributes: dict[str, Any]) -> _Persistent:
    tensors = {name: tensor for name, tensor in state.items() if "." not in name}
    inner: dict[str, dict[str, Tensor]] = OrderedDict()
    for name, tensor in state.items():
        first, _, rest = name.partition(".")
        if rest:
            inner.setdefault(first, {})[rest] = tensor
    buffers = ("w_avg", "noise_const", "resample_filter", "magnitude_ema", "up_filter")
    buffers += ("down_filter", "freqs", "phases", "transform")
    values = {
        "training": False,
        "_parameters": OrderedDict(
            (n, nn.Parameter(t, False)) for n, t in tensors.items() if n not in buffers
        ),
        "_buffers": OrderedDict((n, t) for n, t in tensors.items() if n in buffers),
        "_forward_hooks": OrderedDict(),
        "_modules": OrderedDict(
            (name, _branch(f"{path}.{name}".lstrip("."), part, attributes))
            for name, part in inner.items()
        ),
        **attributes.get(path, {}),
    }
    return _Persistent(path.rpartition(".")[2] or "Generator", values)

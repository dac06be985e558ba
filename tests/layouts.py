"""Our generators in the layouts of other projects, for files that tests write."""

from __future__ import annotations

from torch import Tensor

from cycle_core.generator import Generator


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
                out[f"{to}.bias"] = tensor.view(1, 3, 1, 1)
            elif rest == "bias":
                out[f"{to}.activate.bias"] = tensor
            elif rest == "noise_strength":
                out[f"{to}.noise.weight"] = tensor.view(1)
            else:
                out[f"noises.noise_{2 * block - (layer == 'conv0')}"] = tensor[None, None]
    return out

"""Files that are often taken for model files and are for something else, by the names in them."""

from __future__ import annotations

from typing import Any

from .lazy_tensors import OpaqueObject, PersistentObject, StoredTensor, TFNetwork
from .reading import Contents

# what it is, and names of tensors (parts of them) of which every one must occur
_NAMES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("a LoRA", (".lora_up.",)),
    ("a LoRA", (".lora_A.",)),
    ("a LoRA (LyCORIS)", (".hada_w1_a",)),
    ("a LoRA (LyCORIS)", (".lokr_w1",)),
    ("a ControlNet", ("control_model.",)),
    ("a ControlNet", ("controlnet_cond_embedding.",)),
    ("a Stable Diffusion checkpoint", ("model.diffusion_model.",)),
    ("a Flux diffusion model", ("double_blocks.0.", "single_blocks.0.")),
    ("a Stable Diffusion 3 model", ("joint_blocks.0.",)),
    ("the UNet of a diffusion model", ("down_blocks.0.", "time_embedding.")),
    ("the UNet of a diffusion model", ("input_blocks.0.", "time_embed.")),
    ("a VAE of a diffusion model", ("encoder.down.0.", "decoder.up.0.")),
    ("a VAE of a diffusion model", ("encoder.down_blocks.0.", "decoder.up_blocks.0.")),
    ("a textual inversion", ("string_to_param",)),
    ("a textual inversion", ("emb_params",)),
    ("a CLIP model", ("text_model.encoder.layers.0.",)),
    ("a CLIP model", ("vision_model.encoder.layers.0.",)),
    ("a CLIP model", ("visual.transformer.resblocks.0.",)),
    ("a CLIP model", ("transformer.resblocks.0.", "token_embedding.weight")),
    ("a T5 text encoder", ("encoder.block.0.layer.0.SelfAttention.",)),
    ("the face restorer GFPGAN", ("stylegan_decoder",)),
    ("the face restorer CodeFormer", ("quantize.embedding.weight", "ft_layers.0.")),
    ("an upscaler (ESRGAN)", ("conv_first.weight", "body.0.rdb1.")),
    ("an upscaler (ESRGAN)", ("conv_first.weight", "RRDB_trunk.0.")),
    ("an upscaler (ESRGAN)", ("model.0.weight", "model.1.sub.0.")),
    ("an upscaler (SwinIR)", ("conv_first.weight", "layers.0.residual_group.")),
    ("a face parser (BiSeNet)", ("cp.resnet.",)),
    ("an EG3D generator, which makes its pictures in three dimensions", ("backbone.synthesis.",)),
    ("a generator of lucidrains' stylegan2-pytorch, whose layers are others", ("to_style1.",)),
    ("a StyleGAN1 generator", ("generator.progression.0.",)),
    ("a StyleGAN1 generator", ("g_synthesis.blocks.",)),
    ("a StyleGAN1 generator", ("g_mapping.dense0.",)),
    ("a StyleGAN2 discriminator", ("final_conv.0.weight", "final_linear.0.weight")),
    ("a StyleGAN2 discriminator", ("b4.fc.weight", "b4.out.weight")),
    ("another Inception or I3D network than that of FID", ("Mixed_7c.branch_pool.conv.weight",)),
)
_FOLDERS = (
    "GAN", "G_ema", "generator", "state_dict", "params_ema", "params", "model", "module", "net", "d"
)  # fmt: skip
_CLASSES = {
    "Discriminator": "a StyleGAN discriminator",
    "TriPlaneGenerator": "an EG3D generator, which makes its pictures in three dimensions",
    "SuperresGenerator": "a StyleGAN-XL generator, whose layers are others",
    "AugmentPipe": "an augmentation pipeline of StyleGAN's training",
}


def name(contents: Contents) -> str | None:
    """What a file is that holds nothing for this project, None if that is not known."""
    data = contents.data
    if isinstance(data, tuple | list) and data and isinstance(data[-1], TFNetwork):
        data = data[-1]
    if isinstance(data, TFNetwork):
        return _tensorflow(data)
    if isinstance(data, dict):
        data = data.get("G_ema") or data.get("G") or data.get("D") or data
    if isinstance(data, PersistentObject):
        return _CLASSES.get(data.class_name, f"a pickled module of the class {data.class_name}")
    if isinstance(data, OpaqueObject) and data.state is not None:  # an object, not a call
        return f"a pickled object of the class {data.name}"
    names = "\n".join(tensor_names(data))
    for what, parts in _NAMES:
        if all(part in names for part in parts):
            return what
    return None


def described(contents: Contents) -> str:
    """The same, or what the data look like where it is not known: "numbers [3, 3]"."""
    data = contents.data
    if known := name(contents):
        return known
    if isinstance(data, StoredTensor):
        return f"numbers {list(data.shape)}"
    if isinstance(data, dict):
        names = [str(key)[:40] for key in list(data)[:3]]
        return f"a table ({', '.join(names)}{', ...' if len(data) > 3 else ''})"
    return f"a {type(data).__name__}"


def tensor_names(data: Any) -> list[str]:
    """The names in a state dict, and in the state dicts that a training file holds."""
    if not isinstance(data, dict):
        return []
    names = [key for key in data if isinstance(key, str)]
    for folder in _FOLDERS:
        inner = data.get(folder)
        if isinstance(inner, dict):
            names += [key for key in inner if isinstance(key, str)]
    return names


def _tensorflow(network: TFNetwork) -> str:
    kind = str(network.state.get("build_func_name", ""))
    if kind.startswith("D_"):
        return "a StyleGAN discriminator in TensorFlow"
    if network.state.get("components"):
        return "a StyleGAN1 generator"
    return "a PGGAN generator"

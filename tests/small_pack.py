"""The pack in the smallest ComfyUI there can be, under its inference mode, as fixtures.

Networks of the real classes, tiny and random, where the embedded ones are not the subject."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import comfy_standin
import node_texts
import pytest
import torch

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The pack, loaded as ComfyUI does from a folder with an awkward name."""
    before = set(sys.modules)
    comfy = comfy_standin.install(tmp_path_factory.mktemp("ComfyUI"))
    sys.modules["folder_paths"].folder_names_and_paths["stylegan"] = (["/elsewhere"], {".bin"})
    folder = tmp_path_factory.mktemp("custom_nodes") / "My pack-1.0 (x)"
    os.symlink(ROOT, folder, target_is_directory=True)
    pack = node_texts.load_pack(folder)
    yield SimpleNamespace(
        comfy=comfy,
        pack=pack,
        nodes=node_texts.nodes_of(pack),
        part=lambda name: sys.modules[f"{pack.__name__}.{name}"],
    )
    for name in set(sys.modules) - before:
        if name.startswith(("comfy", "folder_paths", pack.__name__)):
            del sys.modules[name]


@pytest.fixture
def run(world):
    """run(node id, ...) -> the outputs, as ComfyUI calls it; missing widgets get their defaults."""
    world.comfy.interrupt_after = None
    world.comfy.bars.clear()

    def run(node_id, **inputs):
        node = world.nodes[node_id]
        for one in node.define_schema().inputs:
            if one.id not in inputs and not one.optional and "default" in one.fields:
                inputs[one.id] = one.fields["default"]
        with torch.inference_mode():
            return node.execute(**inputs).args

    return run


@pytest.fixture(scope="module")
def tiny(world):
    """A generator and an encoder for it, held as the loaders hold them."""
    name = f"{world.pack.__name__}.cycle_core"
    module, layout, encoders = (
        importlib.import_module(f"{name}.models.{x}") for x in ("generator", "stylegan2", "encoder")
    )
    torch.manual_seed(0)
    config = layout.StyleGAN2Config(
        resolution=32, z_dim=16, w_dim=16, mapping_layers=2, channels=(16, 16, 16, 8)
    )
    G = module.Generator(config).eval().requires_grad_(False)
    E = encoders.Encoder(
        encoders.EncoderConfig(
            num_ws=8,
            w_dim=16,
            input_size=32,
            widths=(8, 8, 16, 16, 16),
            units=(1, 1, 1, 1),
            reduction=4,
            head_width=16,
        )
    )
    E.eval().requires_grad_(False)
    E.generator_id = G.fingerprint
    held = world.part("nodes.host").LoadedModel
    return held.of(G, "portraits"), held.of(E, "portraits")


@pytest.fixture
def portraits(run):
    """The embedded pair."""
    (generator,) = run("CycleLoadGenerator", name="portraits")
    (encoder,) = run("CycleLoadEncoder", name="portraits")
    return generator, encoder


def pictures(count, height=32, width=32):
    random = torch.Generator().manual_seed(count)
    with torch.inference_mode():  # as ComfyUI's own nodes make them
        return torch.rand(count, height, width, 3, generator=random)


def state(held):
    return {name: x.clone() for name, x in held.module.state_dict().items()}


def same(before, held):
    return all(torch.equal(before[name], x) for name, x in held.module.state_dict().items())

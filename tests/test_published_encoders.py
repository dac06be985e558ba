"""Encoders as e4e, pSp, ReStyle and Cycle Encoding publish them: small random ones in their layout,
against the architecture written out once more from the names of the tensors."""

from __future__ import annotations

import argparse
import re

import pytest
import torch
import torch.nn.functional as F
from layouts import rosinality_names

from cycle_core.checkpoints.inspecting import convert, inspect
from cycle_core.checkpoints.latents import load_code, save_code
from cycle_core.checkpoints.registry import load_encoder, load_generator
from cycle_core.cli import main
from cycle_core.errors import CheckpointError, InputError, MismatchError
from cycle_core.invert.encode import encode
from cycle_core.models.encoder import Encoder, EncoderConfig
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config

WIDTHS, UNITS = (4, 4, 6, 8, 12), (1, 2, 1, 2)
SIZE, NUM_WS, W_DIM = 32, 8, 16
TYPES = {
    "e4e": "Encoder4Editing",
    "pSp": "GradualStyleEncoder",
    "ReStyle-pSp": "BackboneEncoder",
    "ReStyle-e4e": "ProgressiveBackboneEncoder",
}


# ------------------------------------------------------------------ the architectures, written out
def norm(state, name, x):
    mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return F.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"])


def ir_unit(state, name, x, stride):
    r = f"{name}.res_layer"
    y = F.conv2d(norm(state, f"{r}.0", x), state[f"{r}.1.weight"], padding=1)
    y = F.prelu(y, state[f"{r}.2.weight"])
    y = norm(state, f"{r}.4", F.conv2d(y, state[f"{r}.3.weight"], None, stride, 1))
    if f"{r}.5.fc1.weight" in state:
        gate = F.conv2d(F.adaptive_avg_pool2d(y, 1), state[f"{r}.5.fc1.weight"])
        y = y * torch.sigmoid(F.conv2d(F.relu(gate), state[f"{r}.5.fc2.weight"]))
    if f"{name}.shortcut_layer.0.weight" in state:
        x = F.conv2d(x, state[f"{name}.shortcut_layer.0.weight"], None, stride)
        return y + norm(state, f"{name}.shortcut_layer.1", x)
    return y + F.max_pool2d(x, 1, stride)


def resnet_unit(state, name, x, stride):
    y = F.conv2d(x, state[f"{name}.conv1.weight"], None, stride, 1)
    y = F.relu(norm(state, f"{name}.bn1", y))
    y = norm(state, f"{name}.bn2", F.conv2d(y, state[f"{name}.conv2.weight"], padding=1))
    if f"{name}.downsample.0.weight" in state:
        x = F.conv2d(x, state[f"{name}.downsample.0.weight"], None, stride)
        x = norm(state, f"{name}.downsample.1", x)
    return F.relu(x + y)


def levels(state, image):
    """The ends of the second, third and fourth stage of the body."""
    if "conv1.weight" in state:
        x = norm(state, "bn1", F.conv2d(image, state["conv1.weight"], None, 2, 3))
        x, unit, strides = F.prelu(x, state["relu.weight"]), resnet_unit, (1, 2, 2, 2)
    else:
        x = F.conv2d(image, state["input_layer.0.weight"], padding=1)
        x = F.prelu(norm(state, "input_layer.1", x), state["input_layer.2.weight"])
        unit, strides = ir_unit, (2, 2, 2, 2)
    ends, i = [], 0
    for count, first in zip(UNITS, strides, strict=True):
        for j in range(count):
            x = unit(state, f"body.{i}", x, 1 if j else first)
            i += 1
        ends.append(x)
    return ends[1:]


def head(state, i, x):
    for j in sorted(
        int(m[1]) for k in state if (m := re.match(rf"styles\.{i}\.convs\.(\d+)\.w", k))
    ):
        weight, bias = state[f"styles.{i}.convs.{j}.weight"], state[f"styles.{i}.convs.{j}.bias"]
        x = F.leaky_relu(F.conv2d(x, weight, bias, 2, 1))
    weight = state[f"styles.{i}.linear.weight"]
    return F.linear(x.flatten(1), weight / weight.shape[1] ** 0.5, state[f"styles.{i}.linear.bias"])


def written_out(state, image, deltas):
    """What the heads give, [B, N, w_dim]; e4e adds head 0 to the others."""
    fine, middle, coarse = levels(state, image)
    maps = [coarse] * NUM_WS
    if "latlayer1.weight" in state:

        def add(small, name, large):
            large = F.conv2d(large, state[f"{name}.weight"], state[f"{name}.bias"])
            up = F.interpolate(small, large.shape[2:], mode="bilinear", align_corners=True)
            return up + large

        middle = add(coarse, "latlayer1", middle)
        fine = add(middle, "latlayer2", fine)
        maps = [coarse] * 3 + [middle] * 4 + [fine] * (NUM_WS - 7)
    rows = [head(state, i, x) for i, x in enumerate(maps)]
    return torch.stack([rows[0]] + [r + rows[0] if deltas else r for r in rows[1:]], dim=1)


# ------------------------------------------------------------------ files
def small(**changes):
    values = {
        "num_ws": NUM_WS, "w_dim": W_DIM, "input_size": SIZE, "widths": WIDTHS, "units": UNITS,
        "reduction": 2, "head_width": 5,
    }  # fmt: skip
    encoder = Encoder(EncoderConfig(**values | changes)).eval()
    for name, tensor in encoder.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.3)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
    state = encoder.state_dict()
    del state["w_avg"]
    return state


RESTYLE = {"iterations": 1, "coarse": NUM_WS, "middle": NUM_WS}


def resnet_names(state):
    old = {"input_layer.0.": "conv1.", "input_layer.1.": "bn1.", "input_layer.2.": "relu."}
    for ours, theirs in old.items():
        state = {k.replace(ours, theirs): v for k, v in state.items()}
    return state


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def G():
    config = StyleGAN2Config(
        resolution=32, z_dim=W_DIM, w_dim=W_DIM, mapping_layers=2, channels=(6, 6, 4, 4)
    )
    generator = Generator(config).eval().requires_grad_(False)
    generator.mapping.w_avg.normal_()
    return generator


@pytest.fixture
def image():
    return torch.rand(2, 3, SIZE, SIZE) * 2 - 1


@pytest.fixture
def save(tmp_path):
    """Write an encoder as the published files are: save(state, kind, G, **other entries)."""

    def write(state, kind="e4e", generator=None, options=None, **entries):
        content = {f"encoder.{name}": tensor for name, tensor in state.items()}
        if generator is not None:
            names = rosinality_names(generator)
            content |= {f"decoder.{name}": tensor for name, tensor in names.items()}
            entries.setdefault("latent_avg", generator.w_avg.repeat(NUM_WS, 1))
        opts = {"encoder_type": TYPES.get(kind, kind), "start_from_latent_avg": True}
        path = tmp_path / f"{kind}.pt"
        torch.save({"state_dict": content, "opts": opts | (options or {}), **entries}, path)
        return path

    return write


# ------------------------------------------------------------------ kinds
@torch.no_grad()
@pytest.mark.parametrize("reduction", [2, 0], ids=["ir_se", "ir"])
@pytest.mark.parametrize("kind", ["e4e", "pSp"])
def test_a_pyramid_gives_the_code_of_its_heads_around_the_mean(kind, reduction, save, G, image):
    state = small(reduction=reduction)
    E = load_encoder(save(state, kind, G))
    rows = written_out(state, image, deltas=kind == "e4e")
    code = encode(E, image)
    assert torch.allclose(code.w, G.w_avg + rows, atol=1e-5)
    assert (code.space, code.stage, code.generator_id) == ("W+", NUM_WS - 1, G.fingerprint)
    assert E.config.reduction == reduction


@torch.no_grad()
@pytest.mark.parametrize("kind", ["ReStyle-pSp", "ReStyle-e4e"])
@pytest.mark.parametrize("resnet", [False, True], ids=["ir_se", "resnet"])
def test_restyle_corrects_its_code_by_what_the_generator_draws(kind, resnet, save, G, image):
    state = small(**RESTYLE, resnet=resnet, stem_stride=2 if resnet else 1)
    name = f"ResNet{TYPES[kind]}" if resnet else TYPES[kind]
    state = resnet_names(state) if resnet else state
    E = load_encoder(save(state, name, G, {"n_iters_per_batch": 3}))
    w = G.w_avg.expand(2, NUM_WS, -1)
    for _ in range(3):
        seen = torch.cat([image, F.adaptive_avg_pool2d(G.synthesis(w), SIZE)], dim=1)
        w = w + written_out(state, seen, deltas=kind == "ReStyle-e4e")
    code = encode(E, image, generator=G)
    assert torch.allclose(code.w, w, rtol=1e-3, atol=1e-4)
    with pytest.raises(InputError, match="give the generator, too"):
        encode(E, image)


def test_restyle_looks_five_times_where_its_file_does_not_say(save, G):
    assert load_encoder(save(small(**RESTYLE), "ReStyle-e4e", G)).config.iterations == 5


@torch.no_grad()
def test_one_head_into_w_gives_one_vector_for_all_styles(save, G, image):
    state = small(pooled=True)
    state = {k.replace("styles.0.linear", "linear"): v for k, v in state.items()}
    E = load_encoder(save(state, "BackboneEncoderUsingLastLayerIntoW", G))
    image = F.interpolate(image, 256)  # nothing in the file says another size
    pooled = levels(state, image)[2].mean((2, 3))
    w = G.w_avg + F.linear(pooled, state["linear.weight"] / 12**0.5, state["linear.bias"])
    code = encode(E, image)
    assert torch.allclose(code.w, w[:, None].expand(-1, NUM_WS, -1), atol=1e-5)
    assert code.space == "W"


def test_pictures_of_cars_are_read_without_their_bars(save, G):
    E = load_encoder(save(small(rows=(4, 28)), "e4e", G, {"dataset_type": "cars_encode"}))
    assert E.config.rows == (4, 28)  # of 32, as 32 to 224 of 256
    assert E.resize(torch.zeros(1, 3, 64, 64)).shape == (1, 3, 24, 32)
    assert encode(E, torch.zeros(1, 3, 64, 64)).w.shape == (1, NUM_WS, W_DIM)


# ------------------------------------------------------------------ spaces and stages
@torch.no_grad()
def test_w_and_w_plus_are_both_offered_and_recorded_on_the_code(save, G, image, tmp_path):
    E = load_encoder(save(small(), "e4e", G))
    plus, w = encode(E, image, "W+"), encode(E, image, "W")
    assert torch.equal(w.w, plus.w[:, :1].expand(-1, NUM_WS, -1))
    save_code(w, tmp_path / "w.safetensors")
    save_code(plus, tmp_path / "plus.safetensors")
    assert [load_code(tmp_path / f"{n}.safetensors").space for n in ("w", "plus")] == ["W", "W+"]


@pytest.mark.parametrize(("kind", "space"), [("pSp", "W"), ("ReStyle-pSp", "W")])
def test_a_space_that_an_encoder_does_not_have_is_refused(kind, space, save, G, image):
    state = small(**RESTYLE) if kind == "ReStyle-pSp" else small()
    with pytest.raises(InputError, match=r"in W\+ only"):
        encode(load_encoder(save(state, kind, G)), image, space, generator=G)


UP, DOWN = [0, *range(20, 34, 2)], [50 + 4 * (i - 1) for i in range(NUM_WS)]


@pytest.mark.parametrize(
    ("step", "stage"), [(10, 0), (20, 1), (25, 3), (40, 7), (46, 7), (50, 6), (73, 1), (74, 0)]
)
def test_the_default_is_the_stage_at_the_step_that_the_file_records(step, stage, save, G, image):
    steps = {"progressive_steps": UP, "inverse_progressive_steps": DOWN}
    E = load_encoder(save(small(), "e4e", G, steps, global_step=step))
    assert E.stage == stage
    assert encode(E, image, "W+").stage == (stage or NUM_WS - 1)


def test_without_a_recorded_step_every_head_is_used(save, G):
    steps = {"progressive_steps": UP, "inverse_progressive_steps": DOWN}
    assert load_encoder(save(small(), "e4e", G, steps)).stage == NUM_WS - 1


# ------------------------------------------------------------------ the mean code, the generator
@torch.no_grad()
@pytest.mark.parametrize("shape", [(W_DIM,), (1, W_DIM), (NUM_WS, W_DIM)])
def test_the_mean_code_is_given_once_or_for_each_style(shape, save, image):
    average = torch.randn(shape)
    state = small()
    E = load_encoder(save(state, latent_avg=average))
    assert torch.allclose(encode(E, image).w, average + written_out(state, image, True), atol=1e-5)
    assert encode(E, image).generator_id == ""  # the file does not know


@torch.no_grad()
def test_a_psp_that_does_not_start_from_the_mean_code_gives_its_heads_alone(save, G, image):
    state = small()
    E = load_encoder(save(state, "pSp", G, {"start_from_latent_avg": False}))
    assert torch.allclose(encode(E, image).w, written_out(state, image, False), atol=1e-5)


def test_without_a_mean_code_it_is_asked_for_or_the_given_generators(save, G):
    path = save(small())
    with pytest.raises(CheckpointError, match=r"no mean code .* add --generator"):
        load_encoder(path)
    E = load_encoder(path, generator=G)
    assert torch.equal(E.w_avg, G.w_avg.expand(NUM_WS, -1))
    assert E.generator_id == G.fingerprint


def test_a_mean_code_of_another_shape_is_refused(save):
    with pytest.raises(CheckpointError, match=r"latent_avg\) of the shape \[14, 16\]"):
        load_encoder(save(small(), latent_avg=torch.zeros(14, W_DIM)))


def test_the_generator_in_the_file_is_the_encoders(save, G, image):
    path = save(small(), "e4e", G)
    E, inside = load_encoder(path), load_generator(path)
    assert E.generator_id == inside.fingerprint == G.fingerprint
    inside.check_code(encode(E, image, generator=inside))
    other = Generator(G.config)
    with pytest.raises(MismatchError, match="trained for the generator"):
        encode(E, image, generator=other)


# ------------------------------------------------------------------ layouts, conversion
def test_options_may_be_a_namespace(save, G, tmp_path, image):
    path = save(small(), "pSp", G)
    content = torch.load(path, weights_only=True)
    content["opts"] = argparse.Namespace(**content["opts"])
    torch.save(content, tmp_path / "namespace.pt")
    E = load_encoder(tmp_path / "namespace.pt")
    assert torch.equal(encode(E, image).w, encode(load_encoder(path), image).w)


@torch.no_grad()
@pytest.mark.parametrize("architecture", ["e4e", "psp"])
def test_a_bare_state_dict_needs_to_be_told_what_it_is(architecture, tmp_path, G, image):
    state, path = small(), tmp_path / "bare.pt"
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=r"differences \(e4e\) or whole vectors"):
        load_encoder(path, generator=G)
    E = load_encoder(path, generator=G, architecture=architecture)
    rows = written_out(state, image, deltas=architecture == "e4e")
    assert torch.allclose(encode(E, image).w, G.w_avg + rows, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [("e4e", {}), ("pSp", {"reduction": 0}), ("ReStyle-pSp", RESTYLE), ("ReStyle-e4e", RESTYLE)],
)
def test_a_converted_encoder_is_the_same(kind, changes, save, G, image, tmp_path):
    path = save(small(**changes), kind, G)
    E = load_encoder(path)
    assert convert(path, tmp_path / "ours.safetensors", "encoder") == "encoder"
    ours = load_encoder(tmp_path / "ours.safetensors")
    assert (ours.config, ours.generator_id) == (E.config, E.generator_id)
    for name, tensor in E.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor)
    before, after = encode(E, image, generator=G), encode(ours, image, generator=G)
    assert torch.allclose(before.w, after.w, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("e4e", {}, "e4e"),
        ("e4e", {"inverse_progressive_steps": DOWN}, "Cycle Encoding"),
        ("pSp", {}, "pSp"),
        ("ReStyle-e4e", {}, "ReStyle, e4e"),
        ("ReStyle-pSp", {}, "ReStyle, pSp"),
    ],
)
def test_inspecting_tells_the_method_and_the_generator(kind, options, said, save, G):
    state = small(**RESTYLE if "ReStyle" in kind else {})
    parts = {part["kind"]: part for part in inspect(save(state, kind, G, options))["holds"]}
    assert parts["generator"]["fingerprint"] == G.fingerprint
    facts = parts["encoder"]
    assert (facts["format"], facts["generator"]) == (said, G.fingerprint)
    assert (facts["styles"], facts["dimensions"], facts["input size"]) == (NUM_WS, W_DIM, SIZE)
    assert facts["spaces"] == (["W+"] if "pSp" in kind else ["W", "W+"])
    assert facts.get("iterations") == (5 if "ReStyle" in kind else None)


def test_the_command_line_encodes_with_both_networks_of_one_file(save, G, noise, tmp_path):
    path, out = save(small(**RESTYLE), "ReStyle-e4e", G), tmp_path / "code.safetensors"
    models = ["--encoder", str(path), "--generator", str(path)]
    assert main(["encode", str(noise), "--out", str(out), *models]) == 0
    code = load_code(out)
    assert (code.space, code.generator_id) == ("W+", G.fingerprint)


# ------------------------------------------------------------------ what cannot be used
def test_an_encoder_of_sketches_is_refused(save):
    state = small()
    state["input_layer.0.weight"] = torch.zeros(4, 1, 3, 3)
    with pytest.raises(CheckpointError, match="1 channels, such as sketches"):
        load_encoder(save(state, "pSp"))


def test_the_ablation_of_psp_is_named(save):
    state = {k: v for k, v in small().items() if not k.startswith("styles.")}
    state |= {"linear.weight": torch.zeros(128, 16), "output_layer_2.3.weight": torch.zeros(16, 12)}
    with pytest.raises(CheckpointError, match="LastLayerIntoWPlus"):
        load_encoder(save(state, "BackboneEncoderUsingLastLayerIntoWPlus"))


@pytest.mark.parametrize("name", ["body.3.res_layer.4.bias", "styles.4.convs.0.bias"])
def test_a_missing_tensor_is_said(name, save, G):
    state = small()
    del state[name]
    with pytest.raises(CheckpointError, match=re.escape(name)):
        load_encoder(save(state, "e4e", G))


def test_a_tensor_of_another_shape_is_said(save, G):
    state = small() | {"latlayer1.weight": torch.zeros(3, 3, 1, 1)}
    with pytest.raises(CheckpointError, match=r"latlayer1\.weight"):
        load_encoder(save(state, "e4e", G))

"""StyleSpace: codes that move the style channels of a generator, and StyleCLIP's directions."""

from __future__ import annotations

import copy
import pickle
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cycle_core.checkpoints.inspecting import inspect
from cycle_core.checkpoints.latents import load_code, save_code
from cycle_core.cli import main
from cycle_core.codes import Code
from cycle_core.directions.clip_text import text_difference
from cycle_core.directions.direction import Direction
from cycle_core.directions.editing import Step, edit, edit_many, lerp, mix, slerp
from cycle_core.directions.files import load_direction, save_directions
from cycle_core.directions.published import load_style_deviations
from cycle_core.directions.stylespace import (
    StyleDirection,
    global_direction,
    style_channel,
    style_deviations,
)
from cycle_core.directions.text import apply_edit, parse_edit
from cycle_core.errors import CheckpointError, InputError, MismatchError, MissingFileError
from cycle_core.invert.generate import generate
from cycle_core.invert.settings import TuneSettings
from cycle_core.invert.tune import tune
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config

SIZES = (8, 8, 8, 6, 6, 6, 4, 4)  # conv1, RGB; conv0, conv1, RGB; ... of channels (8, 6, 4)
CONVOLUTIONS = 8 + 8 + 6 + 6 + 4


@pytest.fixture
def G():
    torch.manual_seed(0)
    config = StyleGAN2Config(resolution=16, z_dim=8, w_dim=12, mapping_layers=2, channels=(8, 6, 4))
    return Generator(config).eval().requires_grad_(False)


@pytest.fixture
def code(G):
    return Code(G.mapping(torch.randn(3, 8)), "W", G.fingerprint)


def biased(G, layer, channel, amount):
    """The generator with a channel moved in another way: by the bias of its affine map."""
    other = copy.deepcopy(G)
    affine = other.synthesis.style_layers[layer].affine
    affine.bias[channel] += amount
    return other


# ------------------------------------------------------------------ the space
def test_at_1024_there_are_26_layers_with_9088_channels_of_which_3040_are_of_the_rgb():
    with torch.device("meta"):
        synthesis = Generator(StyleGAN2Config(resolution=1024)).synthesis
    sizes, layers = synthesis.style_channels, synthesis.style_layers
    assert len(sizes) == 26
    assert sum(sizes) == 9088
    rgb = [i for i, layer in enumerate(layers) if layer.rgb]
    assert rgb == [1, 4, 7, 10, 13, 16, 19, 22, 25]
    assert sum(sizes[i] for i in rgb) == 3040
    assert max(layer.style for layer in layers) == 17


def test_a_channels_deviation_is_that_of_the_styles_of_random_codes(G):
    w = G.mapping(torch.randn(20_000, 8))
    styles = [layer.affine(w[:, layer.style]) for layer in G.synthesis.style_layers]
    measured = torch.cat(styles, dim=1).std(0)
    assert torch.allclose(style_deviations(G), measured, rtol=0.05)
    assert torch.equal(style_deviations(G), style_deviations(G))


# ------------------------------------------------------------------ channels
@pytest.mark.parametrize(("layer", "channel"), [(0, 3), (1, 0), (4, 2), (7, 3)])
def test_a_channel_moves_by_so_many_of_its_deviations_and_nothing_else_does(
    G, code, layer, channel
):
    before = sum(G.synthesis.style_channels[:layer])
    amount = 3 * float(style_deviations(G)[before + channel])
    moved = edit(code, style_channel(G, layer, channel), 3.0)
    assert torch.equal(moved.w, code.w)
    assert moved.space == "W"
    rendered = generate(G, moved)
    assert torch.allclose(
        rendered,
        generate(biased(G, layer, channel, amount), replace(code, generator_id="")),
        atol=1e-5,
    )
    assert not torch.allclose(rendered, generate(G, code), atol=1e-3)


def test_every_code_of_a_batch_has_its_own_offsets(G, code):
    moved = edit(code, style_channel(G, 3, 1), [0.0, 2.0, -2.0])
    rendered = generate(G, moved)
    for i, strength in enumerate((0.0, 2.0, -2.0)):
        alone = edit(code.with_w(code.w[i : i + 1]), style_channel(G, 3, 1), strength)
        assert torch.allclose(rendered[i], generate(G, alone)[0], atol=1e-5)


def test_a_long_batch_is_drawn_as_its_codes_one_by_one(G):
    code = Code(G.mapping(torch.randn(11, 8)), "W")
    moved = edit(code, style_channel(G, 2, 0), torch.linspace(-5, 5, 11))
    assert moved.offsets is not None
    last = Code(moved.w[10:], "W", offsets=moved.offsets[10:])
    assert torch.allclose(generate(G, moved)[10:], generate(G, last), atol=1e-5)


def test_edits_in_s_and_in_w_act_together_and_one_after_the_other(G, code):
    channel, direction = style_channel(G, 3, 1), Direction("x", torch.randn(12))
    together = edit_many(code, [Step(channel, 2.0), Step(direction, 0.5)])
    after = edit(edit(code, direction, 0.5), channel, 2.0)
    other = edit(edit(code, channel, 2.0), direction, [0.5, 0.5, 0.5])
    assert torch.allclose(generate(G, together), generate(G, after), atol=1e-5)
    assert torch.allclose(generate(G, together), generate(G, other), atol=1e-5)


def test_moving_a_channel_there_and_back_gives_the_picture_again(G, code):
    channel = style_channel(G, 3, 1)
    back = edit(edit(code, channel, 2.0), channel, -2.0)
    assert torch.allclose(generate(G, back), generate(G, code), atol=1e-5)


def test_truncation_to_the_mean_face_takes_the_offsets_along(G, code):
    moved = edit(code, style_channel(G, 3, 1), 4.0)
    mean = generate(G, code, truncation=0.0)
    assert torch.allclose(generate(G, moved, truncation=0.0), mean, atol=1e-6)


def test_a_tuned_generator_draws_the_same_edit(G, code):
    pivot = code.with_w(code.w[:1])
    settings = TuneSettings(steps=2, threshold=0.0, lpips=0.0, locality=False)
    tuned = tune(G, pivot, torch.zeros(1, 3, 16, 16), settings).generator
    assert tuned.fingerprint != G.fingerprint
    moved = generate(tuned, edit(pivot, style_channel(G, 3, 1), 4.0))
    assert float((moved - generate(tuned, pivot)).abs().max()) > 0.01


# ------------------------------------------------------------------ what cannot be done
@pytest.mark.parametrize(
    ("layer", "channel", "told"),
    [(8, 0, "layers 0 to 7"), (3, 6, "channels 0 to 5 in layer 3")],
)
def test_a_channel_that_there_is_not_is_refused(G, layer, channel, told):
    with pytest.raises(InputError, match=told):
        style_channel(G, layer, channel)


def test_the_channels_of_another_generator_are_refused(G, code):
    moved = Code(code.w, "W", offsets=torch.ones(3, 49))
    with pytest.raises(MismatchError, match="moves 49 style channels, but this generator has 50"):
        generate(G, moved)
    with pytest.raises(MismatchError, match="50 style channels, but the code 49"):
        edit(moved, style_channel(G, 3, 1), 1.0)
    with pytest.raises(MismatchError, match="belongs to the generator"):
        edit(replace(code, generator_id="a" * 16), style_channel(G, 3, 1), 1.0)


def test_offsets_have_one_row_for_each_code(code):
    with pytest.raises(InputError, match="one row for each code"):
        replace(code, offsets=torch.zeros(2, 50))


def test_layers_values_and_kept_attributes_are_of_w_alone(G, code):
    channel, direction = style_channel(G, 3, 1), Direction("x", torch.ones(12))
    with pytest.raises(InputError, match="lies in StyleSpace"):
        edit(code, channel, 1.0, layers="0-2")
    with pytest.raises(InputError, match="lies in StyleSpace"):
        edit(code, channel, 1.0, keep=[direction])
    with pytest.raises(InputError, match=r"cannot be kept, .*lies in StyleSpace"):
        edit(code, direction, 1.0, keep=[channel])
    with pytest.raises(InputError, match="no readout"):
        edit(code, channel, to=0.0)


def test_codes_are_mixed_and_tuned_before_they_are_edited_in_s(G, code):
    moved = edit(code, style_channel(G, 3, 1), 1.0)
    with pytest.raises(InputError, match="mix them first"):
        mix(code, moved, "0-2")
    with pytest.raises(InputError, match="before the edit"):
        tune(G, moved, torch.zeros(3, 3, 16, 16))


@pytest.mark.parametrize("way", [lerp, slerp])
def test_an_interpolation_goes_from_one_codes_offsets_to_the_others(G, code, way):
    first = code.with_w(code.w[:1])
    moved = edit(first, style_channel(G, 3, 1), 4.0)
    strip = way(first, moved, [0.0, 0.5, 1.0])
    assert moved.offsets is not None
    assert strip.offsets is not None
    assert torch.allclose(strip.offsets, moved.offsets * torch.tensor([[0.0], [0.5], [1.0]]))


# ------------------------------------------------------------------ StyleCLIP
def channels_of(name: str, G: Generator | None = None) -> StyleDirection:
    direction = load_direction(name, generator=G)
    assert isinstance(direction, StyleDirection)
    return direction


def styleclip(G, folder=None):
    """Relevances of which two channels answer to the text e_0, and StyleCLIP's statistics."""
    relevance = torch.zeros(CONVOLUTIONS, 16)
    relevance[0, 0], relevance[9, 0], relevance[20, 0] = 0.2, -0.4, 0.05
    deviations = [torch.full((size,), i + 1.0) for i, size in enumerate(SIZES)]
    if folder is not None:
        np.save(folder / "fs3.npy", relevance.numpy())
        np.save(folder / "smile.npy", 7 * torch.eye(16)[0].numpy())
        means = [np.zeros(size, np.float32) for size in SIZES]
        content = [means, [deviation.numpy() for deviation in deviations]]
        (folder / "S_mean_std").write_bytes(pickle.dumps(content))
    return relevance, torch.eye(16)[0], deviations


def test_a_text_moves_the_channels_that_are_relevant_to_it_by_their_deviations(G):
    relevance, text, deviations = styleclip(G)
    direction = global_direction(G, relevance, 3 * text, beta=0.1, deviations=torch.cat(deviations))
    expected = torch.zeros(sum(SIZES))
    expected[0] = 0.5 * 1.0  # relevance 0.2 of 0.4, in layer 0
    expected[8 + 8 + 1] = -1.0 * 3.0  # the second channel of layer 2, behind the RGB's layer 1
    assert torch.allclose(direction.vectors, expected)
    broader = global_direction(G, relevance, text, beta=0.01)
    assert int((broader.vectors != 0).sum()) == 3


def test_a_threshold_that_no_channel_reaches_is_refused_with_the_greatest_relevance(G):
    relevance, text, _ = styleclip(G)
    with pytest.raises(InputError, match=r"beta = 0.5, the greatest relevance is 0.4"):
        global_direction(G, relevance, text, beta=0.5)


def test_relevances_and_statistics_of_another_generator_are_refused(G):
    relevance, text, _ = styleclip(G)
    with pytest.raises(MismatchError, match="32 convolution channels"):
        global_direction(G, torch.ones(6048, 512), torch.ones(512))
    with pytest.raises(MismatchError, match="The text has 512 dimensions"):
        global_direction(G, relevance, torch.ones(512))
    with pytest.raises(MismatchError, match="9 standard deviations"):
        global_direction(G, relevance, text, deviations=torch.ones(9))
    with pytest.raises(InputError, match="two texts that differ"):
        global_direction(G, relevance, torch.zeros(16))


def test_a_global_direction_is_named_by_its_files_and_a_threshold(G, tmp_path):
    relevance, text, deviations = styleclip(G, tmp_path)
    named = channels_of(f"{tmp_path}/fs3.npy:{tmp_path}/smile.npy:0.1", G)
    made = global_direction(G, relevance, text, 0.1, torch.cat(deviations))
    assert torch.allclose(named.vectors, made.vectors)
    assert named.name == "smile"
    strict = channels_of(f"{tmp_path}/fs3.npy:{tmp_path}/smile.npy:0.3", G)
    assert int((strict.vectors != 0).sum()) == 1


class StandIn:
    """For open_clip, whose weights are too large for a test: texts as vectors of 16 numbers."""

    OPENAI_IMAGENET_TEMPLATES = ("a photo of a {}.",)

    def create_model(self, name, pretrained):
        assert (name, pretrained) == ("ViT-B-32-quickgelu", "openai")
        return SimpleNamespace(eval=lambda: torch.eye(16))

    def get_tokenizer(self, name):
        return lambda texts: torch.tensor([{"face": 3, "a smiling face": 0}[t] for t in texts])

    def build_zero_shot_classifier(self, model, tokenizer, texts, templates):
        assert templates is self.OPENAI_IMAGENET_TEMPLATES
        return model[tokenizer(texts)].T


def test_a_text_is_embedded_where_open_clip_is_installed(G, tmp_path, monkeypatch):
    relevance, _, deviations = styleclip(G, tmp_path)
    text_difference.cache_clear()
    name = f"{tmp_path}/fs3.npy:{tmp_path}/smile.txt:0.1"
    with pytest.raises(MissingFileError, match=r"no file .*smile\.txt"):
        load_direction(name, generator=G)
    (tmp_path / "smile.txt").write_text("face\n", "utf-8")
    with pytest.raises(InputError, match="has 1 lines of text, and two"):
        load_direction(name, generator=G)
    (tmp_path / "smile.txt").write_text("face\n a smiling face\n", "utf-8")
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(MissingFileError, match="pip install open_clip_torch, or store"):
        load_direction(name, generator=G)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "open_clip.py").write_text("raise RuntimeError('no operator nms')")
    monkeypatch.delitem(sys.modules, "open_clip")
    monkeypatch.syspath_prepend(tmp_path / "broken")
    with pytest.raises(MissingFileError, match=r"cannot be imported \(no operator nms\): mend"):
        load_direction(name, generator=G)
    monkeypatch.setitem(sys.modules, "open_clip", StandIn())
    monkeypatch.setenv("CYCLE_CORE_OFFLINE", "1")
    with pytest.raises(MissingFileError, match="CYCLE_CORE_OFFLINE forbids"):
        load_direction(name, generator=G)
    monkeypatch.delenv("CYCLE_CORE_OFFLINE")
    text = torch.eye(16)[0] - torch.eye(16)[3]
    made = global_direction(G, relevance, text, 0.1, torch.cat(deviations))
    assert torch.allclose(channels_of(name, G).vectors, made.vectors)


def test_relevances_alone_are_no_direction(tmp_path):
    np.save(tmp_path / "fs3.npy", np.ones((6048, 512), np.float32))
    with pytest.raises(CheckpointError, match=r"give the text, too, as fs3\.npy:TEXT\.npy"):
        load_direction(tmp_path / "fs3.npy")


def test_statistics_of_the_convolutions_alone_will_do(G, tmp_path):
    relevance, text, deviations = styleclip(G, tmp_path)
    assert torch.equal(load_style_deviations(tmp_path / "S_mean_std"), torch.cat(deviations))
    rgb = [layer.rgb for layer in G.synthesis.style_layers]
    alone = torch.cat([d for d, of_rgb in zip(deviations, rgb, strict=True) if not of_rgb])
    assert torch.equal(
        global_direction(G, relevance, text, deviations=alone).vectors,
        global_direction(G, relevance, text, deviations=torch.cat(deviations)).vectors,
    )


def test_inspect_tells_styleclips_files(G, tmp_path):
    styleclip(G, tmp_path)
    np.save(tmp_path / "ffhq.npy", np.ones((6048, 512), np.float32))
    (relevances,) = inspect(tmp_path / "ffhq.npy")["holds"]
    assert (relevances["kind"], relevances["shape"]) == ("table of relevances", [6048, 512])
    (statistics,) = inspect(tmp_path / "S_mean_std")["holds"]
    assert (statistics["kind"], statistics["shape"]) == ("table of style statistics", [50])


# ------------------------------------------------------------------ files and words
def test_a_channel_is_named_as_it_is_published(G):
    assert torch.equal(channels_of("S:3_1", G).vectors, style_channel(G, 3, 1).vectors)
    with pytest.raises(InputError, match="give the generator"):
        load_direction("S:3_1")


def test_an_edit_joins_channels_with_other_directions(G, code, tmp_path):
    torch.save(torch.randn(12), tmp_path / "age.pt")
    text = f"S:3_1=+2,{tmp_path / 'age.pt'}=+0.5,S:0_7=-1"
    parsed = parse_edit(text)
    assert str(parsed) == text
    moved = apply_edit(code, parsed, G)
    assert moved.offsets is not None
    assert int((moved.offsets[0] != 0).sum()) == 2
    assert not torch.equal(moved.w, code.w)


def test_a_code_and_a_direction_in_s_come_back_from_their_files(G, code, tmp_path):
    channel = style_channel(G, 3, 1)
    moved = edit(code, channel, 2.0)
    save_code(moved, tmp_path / "code.safetensors")
    back = load_code(tmp_path / "code.safetensors")
    assert back.offsets is not None
    assert moved.offsets is not None
    assert torch.equal(back.offsets, moved.offsets)
    assert torch.allclose(generate(G, back), generate(G, moved), atol=1e-5)
    save_directions([channel, style_channel(G, 0, 0)], tmp_path / "channels.safetensors")
    again = channels_of(f"{tmp_path / 'channels.safetensors'}:S:3_1")
    assert torch.equal(again.vectors, channel.vectors)
    assert (again.space, again.unit, again.generator_id) == ("S", "sd", G.fingerprint)


def test_the_command_line_edits_in_stylespace(tmp_path):
    assert main(["sample", "--count", "1", "--out", str(tmp_path), "--device", "cpu"]) == 0
    codes, moved = tmp_path / "codes.safetensors", tmp_path / "moved.safetensors"
    assert main(["edit", str(codes), "--edit", "S:3_1=8,smile=1", "--out", str(moved)]) == 0
    out = tmp_path / "moved.png"
    assert main(["generate", str(moved), "--out", str(out), "--device", "cpu"]) == 0
    assert out.read_bytes() != (tmp_path / "sample-0000.png").read_bytes()
    assert main(["edit", str(codes), "--edit", "S:99_1=8", "--out", str(moved)]) == 2

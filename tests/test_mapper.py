"""StyleCLIP's mappers: directions whose move depends on the code."""

from __future__ import annotations

from argparse import Namespace

import pytest
import torch

from cycle_core.checkpoints.inspecting import inspect
from cycle_core.codes import Code
from cycle_core.directions.direction import Direction
from cycle_core.directions.editing import Step, edit, edit_many
from cycle_core.directions.files import load_direction, save_directions
from cycle_core.directions.text import apply_edit, parse_edit
from cycle_core.errors import CheckpointError, InputError, MismatchError

W, N = 8, 10  # dimensions and styles


@pytest.fixture
def code() -> Code:
    return Code(torch.randn(2, N, W, generator=torch.Generator().manual_seed(0)), "W+")


def layers(seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    rng = torch.Generator().manual_seed(seed)
    return [
        (100 * torch.randn(W, W, generator=rng), 10 * torch.randn(W, generator=rng))
        for _ in range(4)
    ]


def written(path, networks: dict[str, int]):
    """A checkpoint as StyleCLIP's coach writes it, with networks of these names and seeds."""
    state = {
        f"mapper.{name}.{i + 1}.{part}": tensor
        for name, seed in networks.items()
        for i, pair in enumerate(layers(seed))
        for part, tensor in zip(("weight", "bias"), pair, strict=True)
    }
    torch.save({"state_dict": state, "opts": vars(Namespace(mapper_type="LevelsMapper"))}, path)
    return path


def reference(w: torch.Tensor, seed: int) -> torch.Tensor:
    """PixelNorm over axis 1, then equalised linear layers of multiplier 0.01 and fused leaky
    ReLUs, in float64: StyleCLIP's latent_mappers.py in words."""
    x = w.double()
    x = x / torch.sqrt((x**2).mean(dim=1, keepdim=True) + 1e-8)
    for weight, bias in layers(seed):
        x = x @ (weight.double() * 0.01 / W**0.5).T + bias.double() * 0.01
        x = torch.where(x > 0, x, 0.2 * x) * 2**0.5
    return x


def test_each_level_moves_its_styles_by_a_tenth_of_what_its_network_gives(code, tmp_path):
    names = {"course_mapping.mapping": 1, "medium_mapping.mapping": 2, "fine_mapping.mapping": 3}
    direction = load_direction(written(tmp_path / "hair.pt", names))
    moved = edit(code, direction, 2.0)
    for styles, seed in ((slice(0, 4), 1), (slice(4, 8), 2), (slice(8, None), 3)):
        expected = code.w[:, styles] + 2.0 * 0.1 * reference(code.w[:, styles], seed)
        assert torch.allclose(moved.w[:, styles].double(), expected, atol=1e-5)
    assert moved.space == "W+"


def test_a_level_without_a_network_stays(code, tmp_path):
    direction = load_direction(written(tmp_path / "x.pt", {"medium_mapping.mapping": 2}))
    moved = edit(code, direction, 1.0).w - code.w
    assert [bool(moved[:, i].any()) for i in range(N)] == [False] * 4 + [True] * 4 + [False] * 2


def test_a_single_mapper_sees_all_styles_at_once(code, tmp_path):
    direction = load_direction(written(tmp_path / "x.pt", {"mapping.mapping": 4}))
    expected = code.w + 0.1 * reference(code.w, 4)
    assert torch.allclose(edit(code, direction, 1.0).w.double(), expected, atol=1e-5)


def test_a_mapper_joins_other_directions_and_targets_are_met(code, tmp_path):
    written(tmp_path / "x.pt", {"mapping.mapping": 4})
    torch.save(torch.ones(W), tmp_path / "age.pt")
    both = apply_edit(code, parse_edit(f"{tmp_path}/age.pt=1,{tmp_path}/x.pt=1"))
    assert torch.allclose(
        both.w, edit(edit(code, load_direction(tmp_path / "age.pt"), 1.0),
                     load_direction(tmp_path / "x.pt"), 1.0).w, atol=1e-5
    )  # fmt: skip
    axis = torch.eye(W)[0]
    read = Direction("read", axis, readout=axis)
    mapper = load_direction(tmp_path / "x.pt")
    after = edit_many(code, [Step(mapper, 1.0), Step(read, to=0.5)])
    assert torch.allclose(read.value(after), torch.full((2,), 0.5), atol=1e-5)


def test_a_mapper_is_saved_with_other_directions_and_told_by_inspect(code, tmp_path):
    mapper = load_direction(written(tmp_path / "x.pt", {"fine_mapping.mapping": 3}))
    save_directions([mapper, Direction("age", torch.ones(W))], tmp_path / "mine.safetensors")
    back = load_direction(f"{tmp_path}/mine.safetensors:x")
    assert torch.equal(edit(code, back, 1.0).w, edit(code, mapper, 1.0).w)
    (found,) = inspect(tmp_path / "x.pt")["holds"]
    assert (found["kind"], found["networks"], found["layers"]) == ("direction", 1, 4)


def test_what_a_mapper_cannot_do_is_said(code, tmp_path):
    mapper = load_direction(written(tmp_path / "x.pt", {"fine_mapping.mapping": 3}))
    with pytest.raises(MismatchError, match="8 dimensions with more than 8 styles"):
        edit(Code(torch.zeros(1, 8, W), "W"), mapper, 1.0)
    with pytest.raises(InputError, match="depends on the code: give a strength alone"):
        edit(code, mapper, 1.0, layers="0-2")
    with pytest.raises(InputError, match="no readout"):
        edit(code, mapper, to=1.0)


def test_a_mapper_with_a_layer_missing_is_refused(tmp_path):
    state = {f"mapping.mapping.{i}.weight": torch.ones(W, W) for i in (1, 2)}
    torch.save({**state, "mapping.mapping.1.bias": torch.ones(W)}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="damaged or of another format"):
        load_direction(tmp_path / "x.pt")

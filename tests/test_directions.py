"""Directions on a small latent space in which the attributes are known linear forms of w."""

from __future__ import annotations

import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cycle_core.codes import Code
from cycle_core.directions.direction import Direction, parse_layers
from cycle_core.directions.discovery import calibrate, fit_directions, ganspace, sefa
from cycle_core.directions.editing import Step, edit, edit_many, lerp, mix, slerp
from cycle_core.directions.files import list_directions, load_direction, save_directions
from cycle_core.directions.text import apply_edit, parse_edit
from cycle_core.errors import CheckpointError, InputError, MismatchError, MissingFileError
from cycle_core.invert.encode import generate
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import GeneratorConfig

N, DIM, SAMPLES = 6, 12, 3000


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def world():
    """Correlated codes [K, DIM] around a mean, and three attributes of them: age and glasses go
    together in w, smile stands alone."""
    base = torch.randn(SAMPLES, DIM) @ (torch.randn(DIM, DIM) * 0.5) + torch.randn(DIM)
    forms = torch.randn(DIM, 3)
    forms[:, 1] = forms[:, 0] + 0.5 * forms[:, 1]
    values = base @ forms
    return base, {name: values[:, i] for i, name in enumerate(("age", "glasses", "smile"))}


@pytest.fixture
def fitted(world):
    return {d.name: d for d in fit_directions(*world, ridge=1e-8)}


@pytest.fixture
def code(world):
    return Code(world[0][:4, None].repeat(1, N, 1), "W")


@pytest.fixture
def G():
    config = GeneratorConfig(resolution=16, z_dim=8, w_dim=8, mapping_layers=2, channels=(8, 8, 8))
    return Generator(config).eval().requires_grad_(False)


def read(world, code):
    """The true attributes of a code in standard deviations over the domain: name -> [B]."""
    base, labels = world
    forms = torch.linalg.lstsq(base - base.mean(0), torch.stack(list(labels.values()), 1)).solution
    values = (code.w.mean(1) - base.mean(0)) @ forms
    return {
        name: values[:, i] / label.std(correction=0)
        for i, (name, label) in enumerate(labels.items())
    }


def unit(*entries):
    vector = torch.zeros(DIM)
    for i, value in entries:
        vector[i] = value
    return vector


def close(a, b, within=2e-3):
    return torch.allclose(a, torch.as_tensor(b, dtype=a.dtype).expand_as(a), atol=within)


# ------------------------------------------------------------------ by a strength
def test_a_strength_adds_that_many_times_the_vector_and_a_w_code_stays_in_w(code):
    moved = edit(code, Direction("x", unit((0, 2.0))), strength=1.5)
    assert close(moved.w - code.w, unit((0, 3.0)), 1e-5)
    assert moved.space == "W"


def test_only_the_chosen_layers_move_and_the_code_is_then_in_w_plus(code):
    moved = edit(code, Direction("x", unit((0, 1.0))), 1.0, layers="0-1,4")
    changed = (moved.w - code.w).abs().amax((0, 2)) > 0.5
    assert changed.tolist() == [True, True, False, False, True, False]
    assert moved.space == "W+"


def test_a_direction_has_layers_of_its_own_that_the_call_may_overrule(code):
    direction = Direction("x", unit((0, 1.0)), layers=(2,))
    assert [int(i) for i in (edit(code, direction, 1.0).w - code.w)[0, :, 0].nonzero()] == [2]
    moved = edit(code, direction, 1.0, layers=[3])
    assert [int(i) for i in (moved.w - code.w)[0, :, 0].nonzero()] == [3]


def test_a_direction_of_w_plus_moves_every_style_its_own_way(code):
    vectors = torch.randn(N, DIM)
    moved = edit(code, Direction("x", vectors), 2.0)
    assert close(moved.w - code.w, 2 * vectors, 1e-5)
    assert moved.space == "W+"


def test_several_strengths_make_a_strip_of_one_code(code):
    strip = edit(code.with_w(code.w[:1]), Direction("x", unit((0, 1.0))), [-1.0, 0.0, 2.0])
    assert close(strip.w[:, 0, 0] - code.w[0, 0, 0], torch.tensor([-1.0, 0.0, 2.0]), 1e-5)


def test_strengths_that_fit_no_code_are_refused(code):
    with pytest.raises(InputError, match="4 codes and 3 strengths"):
        edit(code, Direction("x", unit((0, 1.0))), [1.0, 2.0, 3.0])


@pytest.mark.parametrize("amounts", [{}, {"strength": 1.0, "to": 1.0}])
def test_a_strength_or_a_value_is_needed_and_not_both(code, amounts):
    with pytest.raises(InputError, match="either"):
        edit(code, Direction("x", unit((0, 1.0))), **amounts)


def test_a_strength_that_is_no_number_is_refused(code):
    with pytest.raises(InputError, match="finite"):
        edit(code, Direction("x", unit((0, 1.0))), float("nan"))


@pytest.mark.parametrize("layers", ["6", "3-2", "a", "", "0-9"])
def test_layers_that_cannot_be_used_are_refused(layers):
    with pytest.raises(InputError, match="layer"):
        parse_layers(layers, N)


def test_directions_of_another_generator_are_refused(code):
    code = replace(code, generator="a" * 16)
    with pytest.raises(MismatchError, match="belongs to the generator b"):
        edit(code, Direction("x", unit((0, 1.0)), generator="b" * 16), 1.0)
    with pytest.raises(MismatchError, match="styles of 12"):
        edit(code, Direction("x", torch.ones(512)), 1.0)


# ------------------------------------------------------------------ fitted
def test_a_fitted_direction_moves_its_label_by_one_deviation_and_no_other(world, fitted, code):
    before = read(world, code)
    for name, direction in fitted.items():
        after = read(world, edit(code, direction, 1.0))
        for other in fitted:
            assert close(after[other] - before[other], float(name == other)), (name, other)


def test_labels_fitted_by_themselves_drag_along_what_goes_together_with_them(world, code):
    age = next(d for d in fit_directions(*world, independent=False) if d.name == "age")
    before, after = read(world, code), read(world, edit(code, age, 1.0))
    assert float((after["glasses"] - before["glasses"]).mean()) > 0.3


def test_the_readout_of_a_fitted_direction_reads_the_label_off_a_code(world, fitted):
    base, labels = world
    code = Code(base[:, None].repeat(1, N, 1), "W")
    for name, label in labels.items():
        standard = (label - label.mean()) / label.std(correction=0)
        assert close(fitted[name].value(code), standard)


def test_two_classes_are_told_apart_by_their_fitted_boundary(world):
    base, labels = world
    has = (labels["glasses"] > labels["glasses"].median()).float()
    (direction,) = fit_directions(base, {"glasses": has})
    value = direction.value(Code(base[:, None].repeat(1, N, 1), "W"))
    assert float(((value > 0) == (has > 0)).float().mean()) > 0.95


@pytest.mark.parametrize("bad", [torch.ones(SAMPLES), torch.full((SAMPLES,), torch.nan)])
def test_labels_without_information_are_refused(world, bad):
    with pytest.raises(InputError, match="'flat'"):
        fit_directions(world[0], {"flat": bad})


def test_two_labels_that_are_the_same_cannot_be_told_apart(world):
    with pytest.raises(InputError, match="told apart"):
        fit_directions(world[0], {"a": world[1]["age"], "b": 2 * world[1]["age"]})


# ------------------------------------------------------------------ to a value
def test_to_a_value_arrives_there_from_wherever_each_code_is(fitted, code):
    moved = edit(code, fitted["smile"], to=0.0)
    assert close(fitted["smile"].value(moved), 0.0)
    assert float(fitted["smile"].value(code).abs().min()) > 0.02


def test_to_a_value_in_some_layers_arrives_in_those_layers(fitted, code):
    moved = edit(code, fitted["smile"], to=1.0, layers="2-4")
    assert close(fitted["smile"].value(moved, "2-4"), 1.0)
    assert torch.equal(moved.w[:, [0, 1, 5]], code.w[:, [0, 1, 5]])


def test_several_targets_are_met_together_though_the_directions_overlap(world, code):
    age, glasses, smile = fit_directions(*world, independent=False, ridge=1e-8)
    steps = [Step(age, to=1.0), Step(smile, strength=2.0), Step(glasses, to=-0.5)]
    moved = edit_many(code, steps)
    assert close(age.value(moved), 1.0)
    assert close(glasses.value(moved), -0.5)


def test_two_targets_of_one_direction_are_refused(fitted, code):
    with pytest.raises(InputError, match="met together"):
        edit_many(code, [Step(fitted["age"], to=0.0), Step(fitted["age"], to=1.0)])


def test_a_value_needs_a_readout(code):
    with pytest.raises(InputError, match="no readout"):
        edit(code, Direction("x", unit((0, 1.0))), to=0.0)


# ------------------------------------------------------------------ keeping
def test_what_is_kept_stays_and_the_strength_still_means_the_same(world, code):
    age, glasses, _ = fit_directions(*world, independent=False, ridge=1e-8)
    moved = edit(code, age, 1.5, keep=[glasses])
    assert close(glasses.value(moved), glasses.value(code))
    assert close(age.value(moved), age.value(code) + 1.5)


def test_what_is_kept_stays_also_on_the_way_to_a_value(world, code):
    age, glasses, smile = fit_directions(*world, independent=False, ridge=1e-8)
    moved = edit(code, age, to=0.0, keep=[glasses, smile])
    for kept in (glasses, smile):
        assert close(kept.value(moved), kept.value(code))
    assert close(age.value(moved), 0.0)


def test_bare_directions_are_made_orthogonal_to_the_kept_ones_at_the_same_length(code):
    a = Direction("a", unit((0, 1.0), (1, 1.0)))
    b = Direction("b", unit((1, 3.0)))
    moved = edit(code, a, 1.0, keep=[b])
    assert close(moved.w - code.w, unit((0, 2**0.5)), 1e-5)


def test_a_direction_cannot_keep_itself(fitted, code):
    with pytest.raises(InputError, match="Nothing of the direction 'age'"):
        edit(code, fitted["age"], 1.0, keep=[fitted["smile"], fitted["age"]])


# ------------------------------------------------------------------ found without labels
def test_ganspace_finds_the_axes_of_w_in_units_of_their_deviation(G):
    found = ganspace(G, count=3, samples=4000)
    w = G.mapping(torch.randn(4000, 8))
    code = Code(w, "W", G.fingerprint)
    deviations = [float(d.vectors.norm()) for d in found]
    assert deviations == sorted(deviations, reverse=True)
    for direction in found:
        assert float(direction.value(code).std()) == pytest.approx(1, abs=0.1)
        assert abs(float(direction.value(code).mean())) < 0.1
    assert abs(float(found[0].vectors @ found[1].vectors)) < 1e-5


def test_sefa_orders_directions_by_how_much_they_move_the_styles(G):
    found = sefa(G, layers="0-2")
    weights = [
        block.affine.weight
        for block in (
            G.synthesis.blocks[0].conv1,
            G.synthesis.blocks[1].conv0,
            G.synthesis.blocks[1].conv1,
        )
    ]
    moved = [sum(float((w @ d.vectors).square().sum()) for w in weights) for d in found]
    assert moved == sorted(moved, reverse=True)
    best_random = max(
        sum(float((w @ v).square().sum()) for w in weights)
        for v in torch.nn.functional.normalize(torch.randn(200, 8), dim=1)
    )
    assert moved[0] >= best_random
    assert found[0].layers == (0, 1, 2)


# ------------------------------------------------------------------ calibration
def test_calibrated_a_strength_of_one_is_one_deviation_of_the_measured_attribute(G):
    code = Code(G.mapping(torch.randn(64, 8)), "W", G.fingerprint)

    def brightness(image):
        return image.mean((1, 2, 3))

    labels = {"brightness": brightness(generate(G, code))}
    (direction,) = fit_directions(code, labels, ridge=0.1)
    direction = calibrate(G, direction.scaled(3.0), brightness, code, (-0.3, -0.1, 0.1, 0.3))
    (below, down), (above, up) = direction.curve[1:3]
    assert (up - down) / (above - below) == pytest.approx(1, abs=1e-3)
    change = brightness(generate(G, edit(code, direction, above))) - labels["brightness"]
    assert float(change.mean() / labels["brightness"].std()) == pytest.approx(up, abs=1e-4)


def test_a_direction_that_does_nothing_to_the_attribute_stays_uncalibrated(G):
    code = Code(G.mapping(torch.randn(16, 8)), "W", G.fingerprint)
    noise = torch.randn(16)
    direction = calibrate(G, Direction("x", torch.ones(8), unit="sd"), lambda image: noise, code)
    assert direction.unit == "raw"
    assert direction.curve[0] == (-2.0, 0.0)


# ------------------------------------------------------------------ mixing, interpolation
def test_mixing_takes_the_named_styles_of_the_second_code(code):
    mixed = mix(code, code.with_w(code.w + 1), "4-5")
    assert torch.equal(mixed.w[:, :4], code.w[:, :4])
    assert torch.equal(mixed.w[:, 4:], code.w[:, 4:] + 1)
    assert mixed.space == "W+"


def test_interpolations_begin_and_end_at_the_two_codes(code):
    a, b = code.with_w(code.w[:1]), code.with_w(code.w[1:2])
    for way in (lerp, slerp):
        strip = way(a, b, [0.0, 0.5, 1.0])
        assert strip.space == "W"
        assert close(strip.w[0], a.w[0], 1e-4)
        assert close(strip.w[2], b.w[0], 1e-4)


def test_an_arc_keeps_the_distance_from_the_centre_and_a_line_does_not(code):
    center = code.w.mean((0, 1))
    a = code.with_w((center + unit((0, 2.0))).expand(1, N, -1))
    b = code.with_w((center + unit((1, 2.0))).expand(1, N, -1))
    arc, line = (x.w[0, 0] - center for x in (slerp(a, b, 0.5, center), lerp(a, b, 0.5)))
    assert float(arc.norm()) == pytest.approx(2, abs=1e-4)
    assert float(line.norm()) == pytest.approx(2**0.5, abs=1e-4)


def test_the_arc_between_a_code_and_itself_is_that_code(code):
    assert close(slerp(code, code, 0.3).w, code.w, 1e-4)


def test_codes_of_two_generators_do_not_mix(code):
    a, b = replace(code, generator="a" * 16), replace(code, generator="b" * 16)
    with pytest.raises(MismatchError, match="two generators"):
        mix(a, b, "0")


# ------------------------------------------------------------------ files
def vector_of(name: str | Path) -> Direction:
    direction = load_direction(name)
    assert isinstance(direction, Direction)
    return direction


def test_directions_come_back_from_their_file_with_all_that_is_known_about_them(fitted, tmp_path):
    path = tmp_path / "mine.safetensors"
    known = replace(fitted["age"], layers=(0, 2), curve=((-1.0, -0.9),), meaning="older")
    save_directions([known, fitted["smile"]], path)
    back = vector_of(f"{path}:age")
    assert torch.equal(back.vectors, known.vectors)
    assert back.readout is not None
    assert known.readout is not None
    assert torch.equal(back.readout, known.readout)
    for field in ("name", "layers", "unit", "bias", "range", "generator", "curve", "meaning"):
        assert getattr(back, field) == getattr(known, field), field
    assert [d.name for d in list_directions(path)] == ["age", "smile"]


def test_of_a_file_with_several_directions_one_must_be_named(fitted, tmp_path):
    save_directions(fitted.values(), tmp_path / "mine.safetensors")
    with pytest.raises(MissingFileError, match="NAME with one of age, glasses, smile"):
        load_direction(tmp_path / "mine.safetensors")


SHAPES = [(512,), (1, 512), (18, 512), (1, 18, 512), (1, 9216)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["pt", "npy"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_interfacegans_files_are_read_in_every_shape_and_precision(shape, kind, dtype, tmp_path):
    path = tmp_path / f"smile.{kind}"
    vector = torch.randn(shape, dtype=dtype)
    torch.save(vector, path) if kind == "pt" else np.save(path, vector.numpy())
    direction = vector_of(path)
    assert direction.name == "smile"
    assert direction.vectors.dtype == torch.float32
    assert direction.vectors.shape == ((512,) if vector.numel() == 512 else (18, 512))
    assert close(direction.vectors.flatten(), vector.flatten().float(), 1e-6)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_direction_that_was_saved_from_a_gpu_opens_without_one(legacy, tmp_path):
    vector, path = torch.randn(1, 512), tmp_path / "smile.pt"
    torch.save(vector, path, _use_new_zipfile_serialization=not legacy)
    cpu, gpu = b"X\3\0\0\0cpu", b"X\6\0\0\0cuda:0"  # where the pickle says that it was
    if legacy:
        assert cpu in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(cpu, gpu))
    else:
        with zipfile.ZipFile(path) as file:
            members = {name: file.read(name) for name in file.namelist()}
        assert cpu in members["smile/data.pkl"]
        with zipfile.ZipFile(path, "w") as file:
            for name, content in members.items():
                file.writestr(name, content.replace(cpu, gpu))
    direction = vector_of(path)
    assert torch.equal(direction.vectors, vector[0])
    assert direction.vectors.device.type == "cpu"


def test_a_boundary_keeps_the_length_that_it_has_in_its_file(tmp_path):
    vector = torch.nn.functional.normalize(torch.randn(18, 512), dim=-1)
    torch.save(vector, tmp_path / "unit.pt")
    torch.save(3 * vector, tmp_path / "long.pt")
    assert vector_of(tmp_path / "unit.pt").length == pytest.approx(1)
    assert vector_of(tmp_path / "long.pt").length == pytest.approx(3)


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_a_boundary_that_points_nowhere_is_refused(value, tmp_path):
    np.save(tmp_path / "smile.npy", np.full((1, 512), value))
    with pytest.raises(CheckpointError, match="zero or holds values that are not finite"):
        load_direction(tmp_path / "smile.npy")


def test_numbers_that_are_no_direction_are_refused(tmp_path):
    torch.save({"weight": torch.ones(3, 3)}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"holds a table \(weight\) and no direction"):
        load_direction(tmp_path / "model.pt")
    np.save(tmp_path / "labels.npy", np.ones(512, np.int64))
    with pytest.raises(CheckpointError, match=r"holds numbers \[512\] and no direction"):
        load_direction(tmp_path / "labels.npy")
    torch.save(torch.ones(2, 18, 512), tmp_path / "two.pt")
    with pytest.raises(CheckpointError, match=r"holds numbers \[2, 18, 512\]"):
        load_direction(tmp_path / "two.pt")


def test_a_ganspace_component_is_in_units_of_its_deviation(tmp_path):
    axes, deviations = torch.eye(512)[:4, None], torch.tensor([4.0, 3, 2, 1])
    torch.save({"mean": torch.ones(1, 512), "comp": axes, "std": deviations}, tmp_path / "pca.pt")
    direction = vector_of(f"{tmp_path / 'pca.pt'}:1")
    assert float(direction.vectors[1]) == 3
    assert close(direction.value(Code(torch.full((1, 18, 512), 7.0), "W")), 2.0, 1e-5)
    with pytest.raises(MissingFileError, match=r"holds 4 directions .* pca\.pt:NAME .* 0 to 3"):
        load_direction(tmp_path / "pca.pt")
    with pytest.raises(MissingFileError, match="holds 4 directions"):
        load_direction(f"{tmp_path / 'pca.pt'}:4")


def test_ganspaces_own_cache_holds_the_components_of_the_code_beside_those_of_the_layer(tmp_path):
    def part(name, scale):
        axes = np.eye(512, dtype=np.float32)[:4, None]
        deviations = scale * np.array([4, 3, 2, 1], np.float32)
        return {f"{name}_comp": axes, f"{name}_mean": np.ones((1, 1, 512), np.float32),
                f"{name}_stdev": deviations}  # fmt: skip

    path = tmp_path / "stylegan2-ffhq_style_ipca_c4_n1000_w.npz"
    np.savez(path, **part("act", 1), **part("lat", 2), var_ratio=np.ones(4, np.float32))
    assert float(vector_of(f"{path}:1").vectors[1]) == 6
    np.savez(path, **part("act", 1))
    assert float(vector_of(f"{path}:1").vectors[1]) == 3


def test_a_ganspace_component_moves_a_range_of_styles_by_an_edit(tmp_path):
    axes, deviations = torch.eye(512)[:4, None], torch.tensor([4.0, 3, 2, 1])
    torch.save({"mean": torch.ones(1, 512), "comp": axes, "std": deviations}, tmp_path / "pca.pt")
    code = Code(torch.zeros(1, 18, 512), "W")
    moved = apply_edit(code, parse_edit(f"{tmp_path / 'pca.pt'}:1=2,layers=0-5"))
    assert moved.w[0, :, 1].tolist() == [6.0] * 6 + [0.0] * 12


def test_a_sefa_factor_is_a_column_of_its_file(tmp_path):
    factors = torch.linalg.qr(torch.randn(512, 512)).Q
    torch.save({"ckpt": "stylegan2-ffhq-config-f.pt", "eigvec": factors}, tmp_path / "factor.pt")
    direction = vector_of(f"{tmp_path / 'factor.pt'}:7")
    assert torch.equal(direction.vectors, factors[:, 7])
    assert direction.unit == "raw"
    assert len(list_directions(tmp_path / "factor.pt")) == 512


def test_code_that_is_stored_in_a_direction_file_does_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path(tmp_path / "sprung").touch, ()

    torch.save({"direction": Trap()}, tmp_path / "trap.pt")
    np.save(tmp_path / "trap.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    for name in ("trap.pt", "trap.npy"):
        with pytest.raises(CheckpointError):
            load_direction(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("pggan_celebahq_smile_boundary.npy", "PGGAN"),
        ("stylegan_celebahq_age_boundary.npy", "StyleGAN1"),
        ("stylegan_ffhq_age_w_boundary.npy", "StyleGAN1"),
        ("stylegan2_ffhq_age_boundary.npy", "in Z by its name"),
        ("stylegan2-ffhq_style_ipca_c80_n1000000.npz", "GANSpace components of Z"),
    ],
)
def test_boundaries_of_another_space_are_refused_by_their_name(name, told, tmp_path):
    (tmp_path / name).write_bytes(b"")  # the name is enough
    with pytest.raises(CheckpointError, match=told):
        load_direction(tmp_path / name)


@pytest.mark.parametrize(
    "name",
    [
        "stylegan2_ffhq_age.npy",
        "stylegan2_ffhq_age_w_boundary.npy",
        "boundary.npy",
        "my_stylegan_smile.npy",
        "stylegan-t_age.npy",
        "stylegan_cats_w_boundary.npy",
        "not_pggan.npy",
    ],
)
def test_boundaries_of_w_are_not(name, tmp_path):
    np.save(tmp_path / name, np.ones((1, 512), np.float32))
    assert vector_of(tmp_path / name).vectors.shape == (512,)


# ------------------------------------------------------------------ real files, if they are here
FFHQ = os.environ.get("CYCLE_CORE_TEST_DIRECTIONS", "")


@pytest.fixture
def ffhq() -> Path:
    """Directions of FFHQ's StyleGAN2 that others published: test data, never committed."""
    if not FFHQ or not (Path(FFHQ) / "ganspace_pca.pt").is_file():
        pytest.skip("CYCLE_CORE_TEST_DIRECTIONS names no folder with age.pt and ganspace_pca.pt")
    return Path(FFHQ)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("age", (512,)), ("smile", (512,)), ("rotation", (512,)), ("pose", (18, 512))],
)
def test_published_boundaries_are_unit_normals(ffhq, name, shape):
    direction = vector_of(ffhq / f"{name}.pt")
    assert direction.vectors.shape == shape
    assert close(direction.vectors.norm(dim=-1), 1.0, 1e-5)
    assert edit(Code(torch.zeros(1, 18, 512), "W"), direction, 2.0).w.shape == (1, 18, 512)


def test_published_components_are_orthonormal_in_units_of_their_deviations(ffhq):
    directions = list_directions(ffhq / "ganspace_pca.pt")
    assert len(directions) == 80
    vectors = torch.stack([d.vectors for d in directions if isinstance(d, Direction)])
    deviations = vectors.norm(dim=1)
    assert deviations[[0, 1, 79]].tolist() == pytest.approx([2.8556, 2.6267, 0.4020], abs=1e-3)
    unit = vectors / deviations[:, None]
    assert close(unit @ unit.T, torch.eye(80), 1e-4)
    assert directions[3].name == load_direction(f"{ffhq / 'ganspace_pca.pt'}:3").name


# ------------------------------------------------------------------ names
def test_an_unknown_name_and_a_missing_file_are_told_apart(tmp_path):
    with pytest.raises(MissingFileError, match="no direction named 'nothing'"):
        load_direction("nothing")
    with pytest.raises(MissingFileError, match="no file"):
        load_direction(tmp_path / "nothing.pt")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("smle", "smile"), ("Smile", "smile"), ("glases", "glasses"), ("agee", "age")],
)
def test_a_typo_gets_the_nearest_name(typed, meant):
    with pytest.raises(MissingFileError, match=rf"did you mean {meant}\?"):
        load_direction(typed)


def test_a_typo_in_the_name_behind_a_file_gets_the_nearest_of_the_file(fitted, tmp_path):
    path = tmp_path / "mine.safetensors"
    save_directions(fitted.values(), path)
    with pytest.raises(MissingFileError, match=r"none of them is 'smlie': did you mean smile\?"):
        load_direction(f"{path}:smlie")


@pytest.mark.parametrize("name", ["S:" + "9" * 5000 + "_1", "x" * 100_000, "\0"])
def test_names_that_no_disk_and_no_generator_takes_are_refused(name, G):
    with pytest.raises((MissingFileError, InputError)) as told:
        load_direction(name, generator=G)
    assert len(str(told.value)) < 1200


@pytest.mark.parametrize(
    "change",
    [
        {"bias": "much"},
        {"layers": [[0]]},
        {"space": "Z"},
        {"unit": 3},
        {"curve": [1.0]},
        {"name": 1},
    ],
)
def test_a_direction_file_whose_entries_are_of_another_type_is_damaged(change, fitted, tmp_path):
    from cycle_core.checkpoints.native import read_model, save_model

    path = tmp_path / "mine.safetensors"
    save_directions(fitted["age"], path)
    config, state, _ = read_model(path, "direction")
    config["directions"][0] |= change
    save_model(path, "direction", config, state)
    with pytest.raises(CheckpointError, match="whole directions"):
        load_direction(path)


# ------------------------------------------------------------------ the embedded ones
@pytest.fixture
def portraits():
    from cycle_core.portraits.factors import Z_DIM

    config = GeneratorConfig(
        resolution=16,
        z_dim=Z_DIM,
        w_dim=128,
        mapping_layers=1,
        mapping_lr_multiplier=1.0,
        normalize_z=False,
        channels=(8, 8, 8),
    )
    return Generator(config).eval().requires_grad_(False)


def test_the_directions_of_a_generator_of_portraits_move_one_factor_each(portraits):
    from cycle_core.portraits.factors import NAMES, TABLE, factors_to_z, sample_factors
    from cycle_core.training.directions import DirectionTraining, fit

    found, quality = fit(portraits, TABLE, DirectionTraining(samples=3000))
    assert [d.name for d in found] == list(NAMES)
    assert min(quality.values()) > 0.8
    w = portraits.mapping(factors_to_z(sample_factors(50, seed=3)))
    code = Code(w, "W", portraits.fingerprint)
    smile, others = found[NAMES.index("smile")], [d for d in found if d.name != "smile"]
    moved = edit(code, smile, 1.0)
    assert close(smile.value(moved) - smile.value(code), 1.0)
    for other in others:
        assert close(other.value(moved), other.value(code))


def test_they_are_made_by_one_command_and_refused_for_other_generators(portraits, G, tmp_path):
    from cycle_core.checkpoints.native import save_model
    from cycle_core.cli import main

    for name, model in (("portraits", portraits), ("other", G)):
        path = tmp_path / f"{name}.safetensors"
        save_model(path, "generator", model.config, model.state_dict())
    out = tmp_path / "directions.safetensors"
    command = ["train", "directions", "--generator"]
    options = ["--out", str(out), "--samples", "500", "--pictures", "0", "--device", "cpu"]
    assert main([*command, str(tmp_path / "portraits.safetensors"), *options]) == 0
    assert load_direction(f"{out}:glasses").generator == portraits.fingerprint
    out.unlink()
    assert main([*command, str(tmp_path / "other.safetensors"), *options]) == 2
    assert not out.exists()


def test_measuring_gives_the_table_of_the_model_card(portraits):
    from cycle_core.measure.perceptual import PortraitNet, PortraitNetConfig
    from cycle_core.models.irse import IdentityConfig, IdentityNet
    from cycle_core.portraits.factors import TABLE
    from cycle_core.training.directions import DirectionTraining, fit, measure, sample

    found, _ = fit(portraits, TABLE, DirectionTraining(samples=1000))
    w, _ = sample(portraits, TABLE, 6, seed=1)
    codes = Code(w[:, None].repeat(1, portraits.num_ws, 1), "W", portraits.fingerprint)
    config = PortraitNetConfig(TABLE.factors, widths=(8, 8), input_size=16, hidden=32)
    attributes = PortraitNet(config).eval().requires_grad_(False)
    config = IdentityConfig((8,) * 5, (1,) * 4, reduction=4, embedding=8, input_size=16, crop=None)
    identity = IdentityNet(config).eval().requires_grad_(False)
    _, row = measure(portraits, found[0], codes, attributes, identity)
    assert len(row["curve"]) == 6
    assert len(row["others"]) == 3
    assert found[0].name not in row["others"]
    assert -1 <= row["identity"] <= 1

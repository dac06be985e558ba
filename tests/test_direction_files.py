"""Files of directions, ours and those of other projects, and the names by which they are opened."""

from __future__ import annotations

import os
import zipfile
from dataclasses import replace
from pathlib import Path

import known_directions
import numpy as np
import pytest
import torch
from known_directions import close

from cycle_core.cli import main
from cycle_core.codes import Code
from cycle_core.directions.direction import Direction
from cycle_core.directions.editing import edit
from cycle_core.directions.files import (
    SPOKEN,
    list_directions,
    load_direction,
    save_directions,
)
from cycle_core.directions.text import apply_edit, parse_edit
from cycle_core.errors import CheckpointError, InputError, MissingFileError

seeded = known_directions.seeded
world = known_directions.world
fitted = known_directions.fitted
G = known_directions.G


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
    for field in ("name", "layers", "unit", "bias", "range", "generator_id", "curve", "meaning"):
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
    torch.save({"directions": []}, tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match="no direction"):
        load_direction(tmp_path / "none.pt")
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
    config["directions"] = [config["directions"][0] | change]
    save_model(path, "direction", config, state)
    with pytest.raises(CheckpointError, match="whole directions"):
        load_direction(path)


@pytest.mark.parametrize(("word", "name"), SPOKEN.items())
def test_a_pose_may_be_called_by_the_word_of_the_editor(word, name, capsys):
    assert load_direction(word).name == name
    assert main(["directions"]) == 0
    assert f"\n{name} ({word}) " in capsys.readouterr().out

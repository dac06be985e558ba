"""The people of the embedded world, without their renderer: factors, the head, folders of data."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from cycle_core import cli
from people import dataset, factors, scenes, sets
from people.mesh import Head
from people.shapes import TARGETS
from people.training import __main__ as training
from people.training.embedded import PRESETS, commands


def test_every_factor_has_a_word_a_meaning_and_a_median_inside_its_range():
    assert len(set(factors.NAMES)) == factors.COUNT >= 60
    for factor in factors.FACTORS:
        assert factor.name.isidentifier()
        assert factor.meaning
        assert factor.low <= factor.default <= factor.high, factor.name
        if not factor.absent:
            median = factors.defaults()[factors.index(factor.name)]
            assert median == pytest.approx(factor.default, abs=1e-5), factor.name


def test_people_without_beard_and_glasses_are_as_many_as_the_table_says():
    values = factors.sample_factors(20_000, seed=0)
    for factor in factors.FACTORS:
        if factor.absent:
            share = (values[:, factors.index(factor.name)] <= factor.low).mean()
            assert share == pytest.approx(factor.absent, abs=0.05), factor.name


def test_the_head_moves_by_its_targets_and_the_eyes_stay_in_place():
    head = Head()
    still, smiling = head.morph({}), head.morph({TARGETS[0]: 1.0})
    assert np.isfinite(smiling).all()
    assert np.abs(smiling - still).max() > 0.01
    eyes = np.concatenate([head.loose_faces[f"eye_{side}"].ravel() for side in ("left", "right")])
    middle = [vertices[np.unique(eyes)].mean(0) for vertices in (still, smiling)]
    np.testing.assert_allclose(middle[0], middle[1], atol=1e-4)
    faces = np.unique(head.surface.all_quads)
    lengths = np.linalg.norm(head.normals(still)[faces], axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-3)


def test_a_folder_of_another_seed_or_world_is_refused_in_one_sentence(tmp_path):
    recipe = dataset.Recipe(count=4, resolution=64, seed=0)
    dataset.claim(tmp_path, recipe)
    dataset.claim(tmp_path, recipe)  # the same again goes on
    with pytest.raises(dataset.DatasetError, match="choose another folder"):
        dataset.claim(tmp_path, dataset.Recipe(count=4, resolution=64, seed=1))
    index = tmp_path / dataset.INDEX
    told = json.loads(index.read_text())
    told["recipe"]["world"] = "0123456789abcdef"
    index.write_text(json.dumps(told))
    with pytest.raises(dataset.DatasetError, match="another head file or source"):
        dataset.claim(tmp_path, recipe)


@pytest.mark.parametrize("command", [dataset.main, scenes.main])
def test_without_the_renderer_a_command_says_how_to_get_it(command, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "moderngl", None)  # as where it is not installed
    monkeypatch.delitem(sys.modules, "people.gl", raising=False)
    assert command([str(tmp_path / "out"), "--count", "2"]) == 1
    assert "Rendering needs the package moderngl" in capsys.readouterr().err
    assert sets.main([str(tmp_path / "sets")]) == 1
    assert "Rendering needs the package moderngl" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_shard_that_was_stopped_half_way_goes_on_with_the_next_picture(tmp_path):
    recipe = dataset.Recipe(count=3, resolution=16)
    pictures = [
        SimpleNamespace(
            image=np.full((16, 16, 3), i, np.uint8),
            mask=np.full((16, 16), i, np.uint8),
            points=np.full((5, 2), i),
        )
        for i in range(3)
    ]
    fields = [("points", "f4", (5, 2))]
    part = dataset._Part(tmp_path, 0, recipe, fields)
    part.add(0, pictures[0])
    part.add(1, pictures[1])
    del part  # as where the process was killed
    again = dataset._Part(tmp_path, 0, recipe, fields)
    assert again.done == 2
    again.add(2, pictures[2])
    assert again.arrays()["images"][:, 0, 0, 0].tolist() == [0, 1, 2]
    again.remove()
    (tmp_path / "00000-part.npy").write_bytes(b"x")  # it was killed while the file was made
    assert dataset._Part(tmp_path, 0, recipe, fields).done == 0


def test_a_folder_of_scenes_is_none_of_portraits(tmp_path):
    scenes_recipe = scenes.SceneRecipe(count=4, resolution=64)
    dataset.claim(tmp_path, scenes_recipe)
    dataset.claim(tmp_path, scenes_recipe)
    with pytest.raises(dataset.DatasetError, match="not an index of such pictures"):
        dataset.claim(tmp_path, dataset.Recipe(count=4, resolution=64))


def test_a_longer_data_set_begins_with_a_shorter_one():
    short, long = (dataset.Recipe(count=n, shard=8) for n in (5, 20))
    np.testing.assert_array_equal(
        dataset.shard_factors(short, 0), dataset.shard_factors(long, 0)[:5]
    )


def test_a_larger_test_set_begins_with_a_smaller_one_and_splits_share_nobody():
    for name in sets.SETS:
        few, many = (sets.people_of(name, n, "test")[0] for n in (3, 9))
        np.testing.assert_array_equal(few, many[:3])
        other, _ = sets.people_of(name, 9, "tuning")
        assert not (other[:, None] == many).all(2).any()
    person, _ = sets.people_of("person", 6, "test")
    same = [factors.FACTORS[i].group == "identity" for i in range(factors.COUNT)]
    assert (person[:, same] == person[:1, same]).all()
    _, extras = sets.people_of("outside", 2 * len(sets.OUTSIDE), "test")
    assert (extras.sum(0) == 2).all()
    assert (extras.sum(1) == 1).all()


@pytest.mark.parametrize("preset", PRESETS)
def test_the_command_that_makes_everything_gives_options_that_exist(preset, tmp_path):
    known = {"cycle_core.cli": cli.parser(), "people.training": training.parser()}
    for command in commands(tmp_path, PRESETS[preset]).values():
        if command[0] == "make":
            assert command[1] in ("people", "scenes", "sets")
        else:
            known[command[2]].parse_args(
                command[3:]
            )  # ends the program for an option that there is not

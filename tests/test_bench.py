"""The comparison of methods: test sets, measures, intervals, and the command, with real models."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch

from cycle_core.bench.measures import (
    STRENGTHS,
    Rulers,
    check_finite,
    distance_to_w,
    distortion,
    editability,
    measure_code,
    strength_for,
    style_distance,
)
from cycle_core.bench.methods import METHODS, BenchModels, ByRefinement, find
from cycle_core.bench.report import estimates, plot, side_by_side, tables
from cycle_core.bench.run import COLUMNS, NUMBERS, compare, read_numbers, unlike
from cycle_core.bench.sets import NAMES, TestSet, open_set, read_set
from cycle_core.bench.settings import QUICK
from cycle_core.checkpoints.registry import load_encoder, load_generator
from cycle_core.cli import main
from cycle_core.codes import Code
from cycle_core.errors import CheckpointError, InputError, MissingFileError
from cycle_core.images.io import read_image
from cycle_core.invert.generate import generate
from cycle_core.invert.refine import refine
from cycle_core.invert.sampling import sample
from cycle_core.invert.settings import TuneSettings
from cycle_core.measure.selection import Networks
from people.training.world import World

TINY = replace(
    QUICK,
    methods=("optimise-w", "cycle"),
    inside=2,
    outside=0,
    edited=1,
    tuned=1,
    projected=1,
    share=0.004,  # 2 of 500
    tune=TuneSettings(steps=2, learning_rate=3e-3, threshold=0.0),
)


@pytest.fixture(scope="module")
def G():
    return load_generator("portraits")


@pytest.fixture(scope="module")
def rulers(G, inside):
    return Rulers.load(G, inside.attributes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def inside() -> TestSet:
    return open_set("inside", 2)


@pytest.fixture(scope="module")
def results(folder):
    return compare(folder, TINY)


def known(G, test: TestSet) -> Code:
    """The codes in W of the factors that the portraits were rendered from."""
    return Code(G.mapping(World(test.table.factors).to_z(test.factors)), "W", G.base_fingerprint)


# ------------------------------------------------------------------ sets
def test_a_true_edit_is_the_render_with_one_factor_moved(inside):
    apart = (inside.edited - inside.images[:, None]).abs().mean((2, 3, 4))  # [N, edits]
    assert apart.min() > 0
    for column, name in enumerate(inside.attributes):
        i = inside.table.index(name)
        moved = inside.factors[:, i] + inside.signs[:, column] * inside.deviations[i]
        factor = inside.table.factors[i]
        assert ((factor.low <= moved) & (moved <= factor.high)).all()  # there is room that way


def test_every_set_of_the_package_opens_and_a_part_is_its_beginning():
    for name in NAMES:
        whole, part = open_set(name), open_set(name, 2)
        assert whole.name == part.name == name
        assert whole.edited.shape[:2] == (len(whole), len(whole.attributes))
        assert torch.equal(part.edited, whole.edited[:2])
        assert whole.images.min() >= -1
        assert whole.images.max() <= 1


def test_more_pictures_than_a_set_has_and_a_set_that_is_not_there_are_refused(tmp_path):
    with pytest.raises(InputError, match="holds 24: ask for fewer, or render larger sets"):
        open_set("inside", 25)
    with pytest.raises(MissingFileError, match=r"out of a clone .* as `sets`, or render"):
        open_set("inside", 2, tmp_path)


def test_a_damaged_set_is_named(tmp_path):
    path = tmp_path / "inside-test.safetensors"
    path.write_bytes(b"no set")
    with pytest.raises(CheckpointError, match="not a test set"):
        read_set(path)


def test_a_result_remembers_the_settings_that_were_changed():
    default = TuneSettings()
    assert unlike(default, default) == ""
    assert unlike(replace(default, steps=3, dtype=torch.bfloat16), default) == (
        "steps=3, dtype=torch.bfloat16"
    )


def test_outside_the_domain_each_portrait_has_one_thing_that_is_not_in_it():
    test = open_set("outside")
    assert (test.extras.sum(1) == 1).all()
    assert (test.extras.sum(0) == len(test) / len(test.outside)).all()


def test_the_portraits_of_one_person_share_the_identity_alone():
    test = open_set("person")
    same = (test.factors == test.factors[:1]).all(0)
    world = World(test.table.factors)
    assert same[list(world.group("identity"))].all()
    assert same[list(world.group("attribute"))].float().mean() < 0.2  # all may be absent
    assert not test.extras.any()


def test_an_unknown_set_is_refused():
    with pytest.raises(InputError, match="inside, outside, person"):
        open_set("faces")


# ------------------------------------------------------------------ measures
def test_the_mean_is_at_distance_0_and_random_codes_where_the_docs_say(G, rulers):
    codes = sample(G, 200, seed=1, truncation=1.0)
    distances = torch.tensor(distance_to_w(rulers, codes))
    mean = Code(rulers.mean.expand(1, G.num_ws, -1), "W")
    assert distance_to_w(rulers, mean) == [0.0]
    assert float(distances.mean()) == pytest.approx(0.59, abs=0.02)  # docs/results.md
    far = codes.with_w(rulers.mean + 3 * (codes.w - rulers.mean))
    torch.testing.assert_close(torch.tensor(distance_to_w(rulers, far)), 3 * distances)


def test_nscd_is_the_mean_cosine_distance_of_styles_to_those_of_random_codes(G, rulers):
    codes, others = (sample(G, n, seed=seed, truncation=1.0) for n, seed in ((5, 1), (4000, 2)))
    layers = G.synthesis.style_layers
    distances = torch.zeros(5)
    for layer in layers:
        mine, theirs = (layer.affine(c.w[:, layer.style]) for c in (codes, others))
        distances += 1 - torch.nn.functional.cosine_similarity(mine[:, None], theirs, dim=2).mean(1)
    measured = torch.tensor(style_distance(rulers, G, codes))
    torch.testing.assert_close(measured, distances / len(layers), atol=5e-3, rtol=0)
    far = codes.with_w(rulers.mean + 3 * (codes.w - rulers.mean))
    assert (torch.tensor(style_distance(rulers, G, far)) > measured).all()


def test_consistency_is_told_in_parts_of_the_distance_to_the_mean_too(G, rulers):
    code = sample(G, 2, seed=1, truncation=1.0)
    measured = measure_code(rulers, G, load_encoder("portraits"), code)
    for i, away in enumerate((code.w[:, 0] - rulers.mean).norm(dim=1)):
        assert measured["lec_relative"][i] == pytest.approx(measured["lec"][i] / float(away))
    assert measure_code(rulers, G, None, code).keys() == {"to_w", "nscd"}


def test_the_right_code_has_less_distortion_and_truer_edits_than_anothers(G, rulers, inside):
    code, wrong = known(G, inside), known(G, inside).with_w(known(G, inside).w.flip(0))
    near = distortion(rulers, inside.images, generate(G, code))
    far = distortion(rulers, inside.images, generate(G, wrong))
    assert all(a < b for a, b in zip(near["mse"], far["mse"], strict=True))
    assert all(a > b for a, b in zip(near["identity"], far["identity"], strict=True))
    alone = inside.part(0, 1)
    right = editability(rulers, G, code.one(0), alone)
    other = editability(rulers, G, wrong.one(0), alone)
    assert right["true_lpips"][0] < other["true_lpips"][0]
    assert right["true_mse"][0] < other["true_mse"][0]


def test_calibrated_directions_achieve_what_their_strength_says(G, rulers, inside):
    measured = editability(rulers, G, known(G, inside).one(0), inside.part(0, 1))
    assert 0.7 < measured["achieved"][0] < 1.4
    assert measured["reached"][0] > 0.8
    assert measured["kept"][0] > 0.8


def test_a_generator_that_draws_one_picture_of_every_code_cannot_be_edited(G, rulers, inside):
    code = Code(known(G, inside).w[:1], "W")
    stuck = load_generator("portraits")
    for layer in stuck.synthesis.style_layers:  # deaf to w
        layer.affine.weight.zero_()
    measured = editability(rulers, stuck, code, inside.part(0, 1))
    assert measured["achieved"] == [pytest.approx(0, abs=1e-4)]
    assert measured["reached"] == [0.0]


def test_the_strength_for_a_change_is_interpolated_or_that_of_the_largest_change():
    assert strength_for([0.5, 1.5, 2, 3, 4]) == (0.75, True)
    assert strength_for([0.1, 0.2, 0.6, 0.4, 0.3]) == (STRENGTHS[2], False)


# ------------------------------------------------------------------ comparing
def test_every_method_is_measured_before_and_after_tuning(results):
    assert [r["facts"]["method"] for r in results] == ["optimise-w", "cycle"]
    for result in results:
        assert len(result["tuned"]["mse"]) == len(result["edited tuned"]["kept"]) == 1
        assert result["costs"]["pivot"]["seconds"] > 0
    cycle = results[1]
    assert len(cycle["pivot"]["mse"]) == 2
    assert len(cycle["pivot"]["lec"]) == 2
    assert cycle["tuned"]["mse"][0] < cycle["pivot"]["mse"][0]


def test_the_tables_name_methods_by_the_pictures_that_all_have(results):
    text = tables(results)
    row = next(line for line in text.splitlines() if line.startswith("| cycle encoding"))
    mean = results[1]["pivot"]["mse"][0]  # optimisation has one picture alone
    assert estimates(results, "pivot", "mse")["cycle"].mean == mean
    assert row.split(" | ")[1] == f"{mean:.4f}"
    assert "Pivots, 1 pictures" in text


def test_a_quick_look_says_what_it_is_and_marks_nothing(results):
    text = tables(results)
    assert text.startswith("**A quick look, not a comparison**")
    assert "**" not in text.partition("comparison**")[2]
    steps = {
        find(key).steps: r["facts"]["steps"]
        for key, r in zip(TINY.methods or (), results, strict=True)
    }
    assert steps == {500: 2, 0: 0}
    cut = [replace(QUICK, methods=(method.key,)) for method in METHODS if method.steps]
    assert {one.projected for one in cut} == {QUICK.projected}
    assert QUICK.projected >= max(QUICK.inside, QUICK.outside)  # of all methods the same pictures


def test_the_numbers_are_kept_in_short_and_make_the_same_tables(folder, results, tmp_path, capsys):
    path = folder / NUMBERS
    kept = read_numbers(path)
    assert [r["facts"] for r in kept] == [r["facts"] for r in results]
    assert kept[1]["pivot"]["lec"] == pytest.approx(results[1]["pivot"]["lec"], rel=1e-4)
    assert max(map(len, path.read_text().splitlines())) < 100  # of two pictures
    assert main(["bench", "--numbers", str(path), "--quiet"]) == 0
    assert "| cycle encoding |" in capsys.readouterr().out
    kept[0]["pivot"]["mse"] = "small"
    for other in ("[1]", json.dumps(kept)):
        (tmp_path / "other.json").write_text(other)
        assert main(["bench", "--numbers", str(tmp_path / "other.json")]) == 2
        assert "does not hold the numbers" in capsys.readouterr().err


def test_the_trade_off_is_drawn(results, tmp_path):
    plot(results, tmp_path / "trade-off.png")
    assert read_image(tmp_path / "trade-off.png").std() > 0.1


def test_pictures_lie_side_by_side(folder, results):
    strip = read_image(folder / "cycle-0-inside.png")
    assert strip.shape == (1, 3, 256, 256 * len(COLUMNS))
    sheet = side_by_side(folder, results, "inside", 0)
    assert sheet.shape[-1] > 100 * len(COLUMNS)


def test_a_comparison_goes_on_with_what_is_missing(folder, results):
    path = folder / "cycle-0-inside.json"
    kept = json.loads(path.read_text())
    (folder / "optimise-w-0-inside.json").unlink()
    (folder / NUMBERS).unlink()  # which alone would do
    said = []
    again = compare(folder, TINY, say=said.append)
    assert len(said) == 1
    assert "optimisation in W" in said[0]
    assert {part: again[1][part] for part in kept} == kept


def test_a_comparison_goes_on_from_its_numbers_alone(folder, results, tmp_path):
    shutil.copy(folder / NUMBERS, tmp_path)
    part = replace(TINY, methods=("optimise-w",))
    compare(tmp_path, part)  # writes numbers of its own, and loses none
    said = []
    again = compare(tmp_path, TINY, encoders=tmp_path / "gone", say=said.append)
    assert not said
    assert [r["facts"] for r in again] == [r["facts"] for r in results]
    (tmp_path / NUMBERS).write_text("[1]")
    with pytest.raises(CheckpointError, match="does not hold the numbers"):
        compare(tmp_path, TINY)


def test_other_settings_are_measured_anew(folder, results):
    said = []
    compare(folder, replace(TINY, methods=("cycle",), edited=0, tuned=0), say=said.append)
    assert len(said) == 1


def test_smaller_pictures_are_drawn_by_the_lower_blocks(tmp_path):
    small = replace(TINY, methods=("optimise-w",), size=64, outside=0, edited=1, tuned=1)
    (result,) = compare(tmp_path, small)
    assert result["facts"]["size"] == 64
    (picture,) = tmp_path.glob("*.png")
    assert read_image(picture).shape[2:] == (64, 64 * len(COLUMNS))


def test_an_encoder_that_is_not_there_is_said_before_anything_runs(tmp_path):
    with pytest.raises(InputError, match="as `encoders`"):
        compare(tmp_path, replace(TINY, methods=("e4e",)))
    with pytest.raises(MissingFileError, match=r"w\+-0"):
        compare(tmp_path, replace(TINY, methods=("e4e",)), encoders=tmp_path)
    assert not list(tmp_path.iterdir())


def test_real_pictures_hold_the_encoder_where_generated_ones_do(G, inside):
    E = load_encoder("portraits")
    models = BenchModels(G, E, Networks.for_loss(embedded=True))
    real, method = inside.images, find("cycle-real")
    assert isinstance(method.pivots, ByRefinement)
    given = replace(models, real=real[1:])
    codes = [
        one.pivots(on, real[:1], 2, 0).w
        for one, on in ((method, given), (find("cycle-refined"), models))
    ]
    settings = replace(method.pivots.settings, steps=2)
    wanted = refine(E, G, real[:1], settings, real[1:]).code.w
    torch.testing.assert_close(codes[0], wanted, rtol=0, atol=1e-6)
    assert (codes[0] - codes[1]).abs().max() > 1e-3
    with pytest.raises(InputError, match="take more pictures `inside` than are `projected`"):
        method.pivots(replace(models, real=real[:0]), real[:1], 2, 0)


def test_a_map_of_the_detail_follows_the_tuning_of_one_picture_alone(tmp_path):
    settings = replace(TINY, methods=("cycle", "cycle-detail"), share=0.05, person=1)
    results = compare(tmp_path, settings)
    cells = {(r["facts"]["method"], r["facts"]["set"]): r for r in results}
    assert cells.keys() == {("cycle", "inside"), ("cycle", "person"), ("cycle-detail", "inside")}
    plain, mapped = cells["cycle", "inside"], cells["cycle-detail", "inside"]
    assert mapped["facts"]["tuning"] == plain["facts"]["tuning"] + ", detail_steps=4"
    assert mapped["tuned"]["mse"][0] < plain["tuned"]["mse"][0]
    assert mapped["edited"] == plain["edited"] != plain["edited tuned"] != mapped["edited tuned"]


def test_every_method_has_a_key_of_its_own():
    assert len({method.key for method in METHODS}) == len(METHODS)


def test_an_unknown_method_ends_with_one_sentence(tmp_path, capsys):
    assert main(["bench", "--out", str(tmp_path), "--methods", "magic"]) == 2
    assert "There is no method 'magic'" in capsys.readouterr().err


def test_the_command_prints_tables_and_puts_them_into_a_page(folder, results, tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- compared -->\nold\n<!-- /compared -->\nafter\n")
    options = ["--quick", "--inside", "2", "--outside", "0", "--edited", "1", "--tuned", "0"]
    command = ["bench", "--out", str(folder), "--methods", "cycle", *options]
    assert main([*command, "--card", str(page), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "| cycle encoding |" in printed
    text = page.read_text()
    assert text.startswith("before\n<!-- compared -->\n")
    assert text.endswith("<!-- /compared -->\nafter\n")
    assert "old" not in text
    assert printed.strip() in text


def test_a_measure_that_is_no_number_is_told_and_not_kept():
    seen = {"pivot": {"mse": [0.1, 0.2], "lpips": [0.3, 0.4]}, "costs": {"pivot": {"seconds": 1.0}}}
    check_finite(seen)
    seen["pivot"]["lpips"][1] = float("nan")
    with pytest.raises(InputError, match="No finite lpips of the pivot: look at the model"):
        check_finite(seen)

"""Directions on a small latent space in which the attributes are known linear forms of w."""

from __future__ import annotations

from dataclasses import replace

import known_directions
import pytest
import torch
from known_directions import DIM, SAMPLES, N, close, read, unit

from cycle_core.codes import Code
from cycle_core.directions.direction import Direction, parse_layers
from cycle_core.directions.discovery import fit_directions
from cycle_core.directions.editing import Step, edit, edit_many, lerp, mix, slerp
from cycle_core.errors import InputError, MismatchError

seeded = known_directions.seeded
world = known_directions.world
fitted = known_directions.fitted
code = known_directions.code


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
    code = replace(code, generator_id="a" * 16)
    with pytest.raises(MismatchError, match="belongs to the generator b"):
        edit(code, Direction("x", unit((0, 1.0)), generator_id="b" * 16), 1.0)
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
    a, b = replace(code, generator_id="a" * 16), replace(code, generator_id="b" * 16)
    with pytest.raises(MismatchError, match="two generators"):
        mix(a, b, "0")

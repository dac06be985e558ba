"""Settings carry their meaning and their range."""

import argparse
from dataclasses import dataclass, fields

import pytest

from cycle_core.commands.options import add_settings, given
from cycle_core.errors import InputError
from cycle_core.runtime.settings import check, meaning, setting
from cycle_core.training.schedule import ScheduleSettings
from cycle_core.training.settings import (
    AdversarialTraining,
    EncoderTraining,
)
from people.training.settings import FeatureTraining, RegressionTraining


@dataclass(frozen=True)
class Toy:
    steps: int = setting(15, "steps for each picture", low=0)
    rate: float = setting(1e-4, "of all weights", above=0, high=1)
    weight: float = setting(1.0, "of the loss")
    space: str | None = setting(None, "of the code", choices=("W", "W+"))

    __post_init__ = check


def test_values_in_range_are_taken():
    assert Toy(steps=0, rate=1.0, weight=-3.0, space="W").steps == 0


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"steps": -1}, r"steps \(steps for each picture\) is at least 0, but -1"),
        ({"rate": 0.0}, r"rate \(of all weights\) is above 0, at most 1, but 0.0"),
        ({"rate": 2.0}, r"above 0, at most 1, but 2.0"),
        ({"weight": float("nan")}, r"weight \(of the loss\) is a finite number, but nan"),
        ({"weight": float("inf")}, r"a finite number, but inf"),
        ({"space": "S"}, r"space \(of the code\) is one of W, W\+, but 'S'"),
    ],
)
def test_a_value_out_of_range_is_named(wrong, sentence):
    with pytest.raises(InputError, match=sentence):
        Toy(**wrong)


def test_every_field_tells_its_meaning():
    told = {one.name: meaning(one) for one in fields(Toy)}
    assert told["steps"] is not None
    assert told["steps"].help == "steps for each picture"
    assert told["rate"] is not None
    assert told["rate"].range() == "above 0, at most 1"


def test_commands_take_every_setting_with_its_range_and_its_presets(capsys):
    parser = argparse.ArgumentParser()
    presets = {"slow": Toy(), "fast": Toy(steps=3)}
    add_settings(parser, Toy, ["steps", "rate"], presets=presets, spelling={"steps": "--count"})
    assert given(parser.parse_args([]), Toy) == {}
    assert given(parser.parse_args(["--count", "4", "--rate", "0.5"]), Toy) == {
        "steps": 4,
        "rate": 0.5,
    }
    assert "default: slow 15, fast 3" in parser.format_help()
    with pytest.raises(SystemExit):
        parser.parse_args(["--rate", "2"])
    assert "'2' is not a number above 0, at most 1" in capsys.readouterr().err


def test_a_command_of_several_steps_names_the_step_before_each_setting():
    parser = argparse.ArgumentParser()
    add_settings(parser, Toy, ["steps"], step="first_")
    add_settings(parser, Toy, ["steps"], step="second_")
    arguments = parser.parse_args(["--second-steps", "4"])
    assert given(arguments, Toy, "first_") == {}
    assert given(arguments, Toy, "second_") == {"steps": 4}


@pytest.mark.parametrize(
    ("kind", "old", "value", "name"),
    [
        (EncoderTraining, "lr", 0.01, "learning_rate"),
        (EncoderTraining, "lr-decay", 0.5, "learning_rate_decay"),
        (EncoderTraining, "discriminator-lr", 0.01, "discriminator_learning_rate"),
        (EncoderTraining, "warmup-lr", 0.01, "warmup_learning_rate"),
        (EncoderTraining, "warmup-samples", 10, "warmup_steps"),
        (AdversarialTraining, "lr", 0.01, "learning_rate"),
        (AdversarialTraining, "every", 10, "save_every"),
        (RegressionTraining, "adversarial-lr", 0.01, "adversarial_learning_rate"),
        (FeatureTraining, "lr", 0.01, "learning_rate"),
        (ScheduleSettings, "path", "w=1k", "phases"),
    ],
)
def test_old_spellings_of_options_are_taken_and_not_shown(kind, old, value, name):
    parser = argparse.ArgumentParser()
    add_settings(parser, kind, [name])
    assert given(parser.parse_args([f"--{old}", str(value)]), kind) == {name: value}
    assert f"--{old} " not in parser.format_help()

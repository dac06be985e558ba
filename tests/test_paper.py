"""The trainings of benchmarks/paper.py make common steps once, and are the whole trainings."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import Parts

from cycle_core.training.schedule import ScheduleSettings

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import paper

STEPS = 75  # the fewest


@pytest.mark.parametrize("name", ["w-decay", "cycle"])  # one of each branch
def test_a_training_in_parts_is_the_whole_one(name, tmp_path):
    parts = Parts(tmp_path / "data")

    def run(folder: str, values: dict[str, Any]) -> list[torch.Tensor]:
        settings = {**values, "schedule": ScheduleSettings(**values["schedule"])}
        out = tmp_path / folder
        made = parts.train(out, **settings, warmup_steps=3, warmup_batch=4, save_every=1000)
        return list(made.state_dict().values())

    chain = [name]
    while start := paper.RUNS[chain[0]][0]:
        chain.insert(0, start)
    parted = run(chain[0], paper.settings_of(chain[0], STEPS))
    for before, one in pairwise(chain):
        paper.go_on(tmp_path / before, tmp_path / one, paper.settings_of(one, STEPS))
        parted = run(one, paper.settings_of(one, STEPS))
    whole = run("whole", paper.settings_of(name, STEPS))
    assert all(torch.equal(a, b) for a, b in zip(parted, whole, strict=True))


def test_a_seed_is_measured_without_the_report_of_all():
    given = ["--inside", "60", "--card", "x.md", "--plot=x.png", "--methods", "e4e", "cycle"]
    assert paper.without_report(given) == ["--inside", "60", "--methods", "e4e", "cycle"]

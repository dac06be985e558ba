"""Widgets that hold `auto` or a number: what they take, and what they say of anything else."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import SimpleNamespace

import comfy_standin
import node_texts
import pytest

from cycle_core.runtime.settings import setting


@dataclass(frozen=True)
class Numbers:
    count: int = setting(3, "how many", low=0, high=50)
    rate: float = setting(0.1, "how much", low=0, high=1)


WIDGETS = {
    "CycleAlign": {"size": (1, 4096, 0)},
    "CycleRefinePivot": {"steps": (1, 100_000, 0), "learning_rate": (1e-7, 10, 0)},
    "CyclePivotTune": {
        "steps": (1, 100_000, 0),
        "early_stop": (0.0, 10.0, -1),
        "learning_rate": (1e-7, 10, 0),
    },
    "CycleProject": {"steps": (1, 100_000, 0), "label": (0, 100_000, -1)},
    "CycleSampleCodes": {"label": (0, 100_000, -1)},
}


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    before = set(sys.modules)
    comfy_standin.install(tmp_path_factory.mktemp("ComfyUI"))
    loaded = node_texts.load_pack(node_texts.ROOT)
    nodes = node_texts.nodes_of(loaded)
    widgets = sys.modules[f"{loaded.__name__}.nodes.widgets"]
    yield SimpleNamespace(nodes=nodes, widgets=widgets)
    for name in set(sys.modules) - before:
        if name.startswith(("comfy", "folder_paths", loaded.__name__)):
            del sys.modules[name]


@pytest.fixture
def count(pack):
    """A whole number from 1 to 50, for which workflows of 0.1 have 0."""
    return pack.widgets.NumberOrAuto.of(Numbers, "count", legacy=0)


@pytest.mark.parametrize("text", ["auto", " Auto ", "", "0", 0, 0.0])
def test_auto_nothing_and_the_number_of_old_workflows_mean_auto(count, text):
    assert count.read(text) is None


@pytest.mark.parametrize("text", ["7", " 7 ", "7.0", 7, 7.0])
def test_a_number_may_be_typed_or_connected(count, text):
    assert count.read(text) == 7
    assert isinstance(count.read(text), int)


def test_a_fraction_is_one_where_it_may_be(pack):
    rate = pack.widgets.NumberOrAuto.of(Numbers, "rate", legacy=-1)
    assert rate.read("0") == 0.0
    assert rate.read("3e-2") == 0.03
    assert rate.read("-1") is None


@pytest.mark.parametrize(
    "text", ["many", "7.5", "-3", "51", "nan", "inf", "-inf", "1e999", "7 8", "None", "自動", True]
)
def test_anything_else_is_told_with_what_may_be_written(pack, count, text):
    with pytest.raises(pack.widgets.InputError) as told:
        count.read(text)
    assert str(told.value) == f"count is {str(text)!r}: write auto, or a whole number from 1 to 50."


@pytest.mark.parametrize("node_id", WIDGETS)
def test_a_wrong_value_is_told_before_the_run(pack, node_id):
    check = pack.nodes[node_id].validate_inputs
    connected = dict.fromkeys(WIDGETS[node_id])  # None: the value is another node's
    assert check(**connected) is True
    for name, (low, high, legacy) in WIDGETS[node_id].items():
        for value in ("auto", low, str(high), legacy):
            assert check(**{**connected, name: value}) is True
        for value in (high + 1, -7, "much"):
            assert check(**{**connected, name: value}).startswith(f"{name} is ")


def test_every_widget_that_was_a_number_for_auto_says_auto(pack):
    found = {}
    for node_id, node in pack.nodes.items():
        for one in node.define_schema().inputs:
            if one.io_type.startswith("STRING,"):
                assert one.fields["default"] == "auto"
                found.setdefault(node_id, set()).add(one.id)
    assert found == {node_id: set(names) for node_id, names in WIDGETS.items()}

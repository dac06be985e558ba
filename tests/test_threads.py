"""What is small takes one thread, whatever the host has: several wait for each other."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch.overrides import TorchFunctionMode

from cycle_core.checkpoints.registry import load_encoder, load_generator
from cycle_core.directions.discovery import fit_directions, ganspace, sefa
from cycle_core.faces.detect import detect
from cycle_core.faces.video import align_all, cover, paste_all, show_places
from cycle_core.images.examples import example
from cycle_core.images.io import from_comfy, to_comfy
from cycle_core.invert.encode import encode
from cycle_core.invert.generate import generate
from cycle_core.invert.sampling import sample
from cycle_core.measure.comparison import Judge, compare

HEAVY = {"conv2d", "grid_sample", "interpolate", "avg_pool2d", "matmul", "linear", "contiguous"}
HEAVY |= {"linalg_eigh", "linalg_solve"}


class Watch(TorchFunctionMode):
    """Which heavy functions ran, and with how many threads: `seen`. Vectors, and copies of a few
    numbers, weigh nothing."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "").strip("_")
        light = isinstance(args[0], torch.Tensor) and (
            (name == "matmul" and args[0].ndim == 1)
            or (name == "contiguous" and args[0].numel() < 10_000)
        )
        if name in HEAVY and not light:
            self.seen.add((name, torch.get_num_threads()))
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def aligned():
    photo = example("portrait")
    return photo, *align_all(photo, 256)


@pytest.fixture(scope="module")
def judge():
    return Judge()


@cache
def portraits(kind):
    return {"encoder": load_encoder, "generator": load_generator}[kind]("portraits")


STEPS = {
    "detection": lambda photo, crops, places, judge: detect(photo),
    "alignment": lambda photo, crops, places, judge: align_all(photo, 256),
    "what was found": lambda photo, crops, places, judge: show_places(photo, places),
    "comparison": lambda photo, crops, places, judge: compare(crops, {"a": crops.flip(3)}, judge),
    "comparison of two sizes": lambda photo, crops, places, judge: compare(
        crops, {"a": crops[..., ::2, ::2]}, judge
    ),
    "encoding": lambda photo, crops, places, judge: encode(portraits("encoder"), crops),
    "generating": lambda photo, crops, places, judge: generate(
        portraits("generator"), sample(portraits("generator"), 1)
    ),
    "new codes": lambda photo, crops, places, judge: sample(portraits("generator"), 4),
    "components": lambda photo, crops, places, judge: ganspace(portraits("generator"), samples=500),
    "components without samples": lambda photo, crops, places, judge: sefa(portraits("generator")),
    "fitted directions": lambda photo, crops, places, judge: fit_directions(
        torch.randn(20, 6), {"smile": torch.randn(20)}
    ),
    "the judge": lambda photo, crops, places, judge: judge.changes(crops, crops.flip(3)),
    "pasting": lambda photo, crops, places, judge: paste_all(photo, crops, places, crops.flip(3)),
    "from the host": lambda photo, crops, places, judge: from_comfy(crops.movedim(1, -1)),
    "to the host": lambda photo, crops, places, judge: to_comfy(crops),
    "what is pasted": lambda photo, crops, places, judge: cover(places, photo),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_of_small_networks_takes_one_thread_and_leaves_the_others_to_the_host(
    step, aligned, judge
):
    portraits("encoder")  # opened before
    assert portraits("generator").fingerprint  # known before
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with torch.no_grad(), Watch() as watch:
            STEPS[step](*aligned, judge)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert {threads for _, threads in watch.seen} <= {1}, watch.seen
    if step != "what was found":  # which is drawn
        assert watch.seen

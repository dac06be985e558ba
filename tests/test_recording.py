"""What a GPU repeats by itself: recorded as a CUDA graph would record it, by the second device."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch
from other_device import THERE, Tapes, other_device
from small_networks import code_of
from torch.torch_version import TorchVersion

from cycle_core.invert.encode import generate
from cycle_core.invert.tune import TuneSettings, tune
from cycle_core.runtime import recording
from cycle_core.runtime.devices import say_once
from cycle_core.runtime.recording import FIRST, Recorder

pytest_plugins = ("small_networks",)
pytestmark = pytest.mark.usefixtures("seeded")


@pytest.fixture
def there(monkeypatch):
    """The second device, which can record: with `tapes`, its recordings."""
    say_once.cache_clear()
    with other_device() as device:

        def begin(_):
            device.tapes.append(Tapes(device))
            return device.tapes[-1]

        monkeypatch.setitem(recording.RECORDINGS, THERE.type, begin)
        yield device


SETTINGS = TuneSettings(
    steps=2 * FIRST + 3, learning_rate=1e-2, threshold=0.0, locality_every=2,
    detail_steps=FIRST + 3, detail_size=8,
)  # fmt: skip


@pytest.mark.parametrize(("pictures", "low_memory"), [(1, False), (1, True), (2, False)])
def test_a_recorded_tuning_is_the_same(G, perceptual, there, pictures, low_memory, monkeypatch):
    monkeypatch.setattr(torch, "meta", torch.cpu, raising=False)  # where checkpoints look for it
    # which may not ask for the state of random numbers while something is recorded
    monkeypatch.delattr(torch, "get_rng_state")
    image, code = generate(G, code_of(G, pictures)), code_of(G, pictures, seed=6)
    G, perceptual = G.to(THERE), perceptual.to(THERE)
    settings = replace(SETTINGS, low_memory=low_memory)
    plain, recorded = (
        tune(G, code, image, replace(settings, graphs=graphs), perceptual=perceptual)
        for graphs in (False, True)
    )
    # the gradients of pictures and of locality, the best weights; then those of the detail, which
    # only one picture has
    assert [tapes.made for tapes in there.tapes] == [5 if pictures == 1 else 3]
    assert recorded.history == plain.history
    assert torch.equal(recorded.image.cpu(), plain.image.cpu())
    assert recorded.best == plain.best > 2 * FIRST


def test_what_cannot_be_recorded_is_called(there, caplog):
    caplog.set_level(logging.WARNING, "cycle_core")
    x, read = torch.zeros(3).to(THERE), []

    def step():
        x.add_(1)
        read.append(float(x.sum()))  # waits for the device
        return (x,)

    with Recorder(THERE) as record:
        step = record(step)
        for _ in range(FIRST + 3):
            step()
    assert read[:FIRST] == [3.0, 6.0, 9.0]
    assert x.tolist() == 3 * [FIRST + 3.0]
    assert there.tapes[0].made == 0
    assert [r.getMessage() for r in caplog.records] == [
        "meta records no steps as CUDA graphs (operation not permitted when stream is capturing): "
        "they are asked for part by part."
    ]


@pytest.mark.parametrize("failing", range(5))
def test_a_tuning_goes_on_where_a_recording_fails(
    G, image, perceptual, there, failing, monkeypatch
):
    code, G, perceptual = code_of(G, 1, seed=6), G.to(THERE), perceptual.to(THERE)
    plain = tune(G, code, image, SETTINGS, perceptual=perceptual)
    record, tried = Tapes.record, []

    def fails(tapes, function):
        tried.append(function)
        if len(tried) == failing + 1:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        return record(tapes, function)

    monkeypatch.setattr(Tapes, "record", fails)
    settings = replace(SETTINGS, graphs=True)
    assert tune(G, code, image, settings, perceptual=perceptual).history == plain.history
    assert len(tried) == failing + 1  # it is the last
    assert there.tapes[0].made == failing


def test_where_memory_is_not_enough_for_a_recording_nothing_is_recorded(
    G, image, perceptual, there, monkeypatch
):
    code, G, perceptual = code_of(G, 1, seed=6), G.to(THERE), perceptual.to(THERE)
    plain = tune(G, code, image, SETTINGS, perceptual=perceptual)
    steps: list[int] = []

    def full(tapes, function):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(Tapes, "record", full)
    settings = replace(SETTINGS, graphs=True)
    again = tune(
        G, code, image, settings, lambda step, *_: steps.append(step), perceptual=perceptual
    )
    assert again.history == plain.history
    assert steps == [*range(1, FIRST + 1), *range(1, SETTINGS.steps + SETTINGS.detail_steps + 1)]
    assert len(there.tapes) == 1


@pytest.mark.parametrize(
    ("version", "allocator", "told"),
    [
        ("2.12.1", "native", "that needs torch 2.13 or newer"),
        ("2.13.0", "cudaMallocAsync", "that needs torch's own allocator, not cudaMallocAsync"),
    ],
)
def test_a_gpu_records_nothing_where_a_failure_would_cost_its_memory(
    version, allocator, told, monkeypatch, caplog
):
    say_once.cache_clear()
    caplog.set_level(logging.WARNING, "cycle_core")
    monkeypatch.setattr(torch, "__version__", TorchVersion(version))
    monkeypatch.setattr(torch.cuda, "get_allocator_backend", lambda: allocator)
    calls = []
    with Recorder(torch.device("cuda")) as record:
        step = record(lambda: calls.append(0) or ())
        for _ in range(FIRST + 1):
            step()
    assert len(calls) == FIRST + 1
    assert [r.getMessage() for r in caplog.records] == [
        f"cuda records no steps as CUDA graphs ({told}): they are asked for part by part."
    ]


def test_results_are_copies(there):
    x = torch.zeros(3).to(THERE)

    def step():
        return (x.add_(1) * 2,)

    with Recorder(THERE) as record:
        step = record(step)
        results = [step()[0].tolist() for _ in range(FIRST)]
        (kept,) = step()
        step()
    assert results == [[2.0] * 3, [4.0] * 3, [6.0] * 3]
    assert kept.tolist() == [8.0] * 3
    assert x.tolist() == [5.0] * 3
    assert there.tapes[0].made == 1


def test_a_device_that_cannot_record_or_need_not_is_simply_asked(there):
    for device, wanted in ((torch.device("cpu"), True), (THERE, False)):
        calls = []
        with Recorder(device, wanted) as record:
            step = record(lambda calls=calls: calls.append(0) or ())
            for _ in range(FIRST + 2):
                assert step() == ()
        assert len(calls) == FIRST + 2
    assert there.tapes == []

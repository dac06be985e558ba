"""What a device cannot do is done otherwise, which is said once, with the same result."""

from __future__ import annotations

import copy
import logging
import platform
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
import small_networks
import torch

from cycle_core.checkpoints.registry import load_generator
from cycle_core.codes import Code
from cycle_core.errors import InputError
from cycle_core.invert.encode import encode
from cycle_core.invert.generate import generate
from cycle_core.invert.sampling import sample
from cycle_core.invert.settings import TuneSettings
from cycle_core.invert.tune import tune
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config
from cycle_core.runtime.devices import compiled, in_parts, say_once, supported_dtype

E, G, seeded = small_networks.E, small_networks.G, small_networks.seeded
pytestmark = pytest.mark.usefixtures("seeded")
CPU = torch.device("cpu")


@pytest.fixture
def said(caplog):
    """said(): the sentences that are said, as if none had been said before."""
    say_once.cache_clear()
    caplog.set_level(logging.WARNING, "cycle_core")
    return lambda: [r.getMessage() for r in caplog.records if r.name.startswith("cycle_core")]


@pytest.fixture
def pair(E, G):
    return E, G


@pytest.fixture
def code(pair):
    z = torch.randn(9, 16, generator=torch.Generator().manual_seed(1))
    return Code(pair[1].mapping(z), "W")


@pytest.fixture
def limited():
    """limited(network, raises): what a device does; `raises(batch)` gives an error, or None. Gives
    the list of the batches that were tried."""
    hooks = []

    def limited(network, raises):
        tried = []

        def before(_, inputs):
            tried.append(len(inputs[0]))
            error = raises(len(inputs[0]))
            if error is not None:
                raise error

        hooks.append(network.register_forward_pre_hook(before))
        return tried

    yield limited
    for hook in hooks:
        hook.remove()


def full_from(limit):
    def raises(batch):
        text = "CUDA out of memory. Tried to allocate 2.00 GiB"
        return torch.OutOfMemoryError(text) if batch >= limit else None

    return raises


# ------------------------------------------------------------------ memory
def test_where_memory_ends_smaller_batches_draw_the_same(pair, code, limited, said):
    whole = generate(pair[1], code)
    tried = limited(pair[1].synthesis, full_from(4))
    again, steps = [], []
    for _ in range(2):
        again.append(generate(pair[1], code, callback=lambda *step: steps.append(step[:2])))
    assert tried == 2 * [8, 4, 2, 2, 2, 2, 1]
    assert steps == 2 * [(2, 9), (4, 9), (6, 9), (8, 9), (9, 9)]
    assert all(torch.allclose(whole, drawn, atol=1e-5) for drawn in again)
    assert said() == ["The memory of cpu is too small for so many pictures at once: fewer follow."]


def test_where_memory_ends_smaller_batches_are_encoded_the_same(pair, limited, said):
    pictures = torch.rand(9, 3, 32, 32) * 2 - 1
    whole = encode(pair[0], pictures).w
    tried = limited(pair[0], full_from(8))
    assert torch.allclose(whole, encode(pair[0], pictures).w, atol=1e-5)
    assert tried == [8, 4, 4, 1]
    assert len(said()) == 1


def test_memory_that_is_not_enough_for_one_picture_is_told(pair, code, limited):
    tried = limited(pair[1].synthesis, full_from(1))
    with pytest.raises(InputError, match="memory of cpu is not enough for one picture: close"):
        generate(pair[1], code)
    assert tried == [8, 4, 2, 1]


def test_true_exhaustion_of_the_cpu_is_met_too(pair):
    def run(_, rows):
        if rows.stop - rows.start > 1:
            return torch.empty(2**60)  # an exabyte
        return rows.start

    assert list(in_parts(run, pair[:1], 3, 2)) == [0, 1, 2]


def test_other_errors_pass(pair):
    with pytest.raises(RuntimeError, match="shape"):
        list(in_parts(lambda *_: torch.zeros(2, 3) @ torch.zeros(2, 3), pair[:1], 3, 2))


# ------------------------------------------------------------------ operators
def test_an_operator_that_the_device_lacks_is_left_to_the_cpu(pair, code, limited, said):
    """As MPS says of such an operator, at whatever picture it meets it."""
    whole, calls = generate(pair[1], code), []

    def lacking(_):
        calls.append(0)
        text = "The operator 'aten::conv' is not currently implemented for the MPS device."
        return NotImplementedError(text) if len(calls) == 2 else None

    limited(pair[1].synthesis, lacking)
    assert torch.equal(generate(pair[1], code), whole)
    assert len(calls) == 3
    assert said() == ["cpu lacks an operator: the CPU goes on, which is slower."]


@pytest.mark.parametrize("compile", [False, True])
def test_an_encoder_whose_device_lacks_an_operator_goes_on_on_the_cpu(
    pair, said, compile, monkeypatch
):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    E, pictures = pair[0], torch.rand(3, 3, 32, 32) * 2 - 1
    whole = encode(E, pictures).w

    def lacking(network, _):
        if network is E:  # not of its copy on the CPU
            text = "The operator 'aten::conv' is not currently implemented for the MPS device."
            raise NotImplementedError(text)

    E.register_forward_pre_hook(lacking)
    assert torch.allclose(encode(E, pictures, batch=1, compile=compile).w, whole, atol=1e-5)
    assert said() == ["cpu lacks an operator: the CPU goes on, which is slower."]


def test_an_operator_that_the_cpu_lacks_as_well_is_an_error(pair):
    eight = torch.zeros(2).to(torch.float8_e4m3fn)
    with pytest.raises(NotImplementedError):
        list(in_parts(lambda *_: eight.sin(), pair[:1], 3, 2))


# ------------------------------------------------------------------ dtypes
def test_a_dtype_that_the_device_cannot_convolve_in_is_replaced(pair, code, said):
    eight = torch.float8_e4m3fn
    assert supported_dtype(torch.float32, CPU) is torch.float32
    assert torch.equal(generate(pair[1], code, dtype=eight), generate(pair[1], code))
    pictures = torch.rand(2, 3, 32, 32) * 2 - 1
    assert torch.equal(encode(pair[0], pictures, dtype=eight).w, encode(pair[0], pictures).w)
    assert said() == [
        "cpu does not compute in torch.float8_e4m3fn: the dtype of the weights is used."
    ]


def test_an_encoder_beyond_the_range_of_half_precision_encodes_in_float32(pair, said):
    E, pictures = copy.deepcopy(pair[0]), torch.rand(2, 3, 32, 32) * 2 - 1
    E.latlayer1.bias += 1e6
    assert torch.equal(encode(E, pictures, dtype=torch.float16).w, encode(E, pictures).w)
    assert said() == ["This encoder exceeds the range of torch.float16: float32 is used."]


# ------------------------------------------------------------------ threads
def test_a_small_generator_is_tuned_by_one_thread_and_a_large_one_by_all(pair):
    large = Generator(StyleGAN2Config(64, 8, 8, mapping_layers=1, channels=(4, 4, 4, 4, 256)))
    embedded = load_generator("portraits")  # several threads took five times as long when busy
    settings = TuneSettings(steps=1, lpips=0.0, locality=False)
    before, found = torch.get_num_threads(), {}

    def told(*_):
        found[G] = torch.get_num_threads()
        raise KeyboardInterrupt

    torch.set_num_threads(3)
    try:
        for G in (pair[1], embedded, large.eval().requires_grad_(False)):
            code, image = sample(G, 1, seed=1), torch.zeros(1, 3, 8, 8)
            with pytest.raises(KeyboardInterrupt):
                tune(G, code, image, settings, told)
            assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert found == {pair[1]: 1, embedded: 1, large: 3}


# ------------------------------------------------------------------ compiling
def test_what_cannot_be_compiled_runs_as_it_is(said):
    def no_compiler(*_, **__):
        raise RuntimeError("there is no compiler")

    for function in (torch.sin, lambda x: x.sin() + 1):
        plain = compiled(function, backend=no_compiler)
        assert torch.equal(plain(torch.ones(3)), function(torch.ones(3)))
    assert len(said()) == 1


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler here")
def test_a_compiled_generator_draws_the_same(said):
    torch.manual_seed(0)
    config = StyleGAN2Config(resolution=8, z_dim=8, w_dim=8, mapping_layers=1, channels=(8, 4))
    G = Generator(config).eval().requires_grad_(False)
    code = Code(torch.randn(1, G.num_ws, 8), "W+")
    assert torch.allclose(generate(G, code, compile=True), generate(G, code), atol=1e-5)
    assert said() == []


def test_a_compiled_encoder_encodes_the_same(pair, said, monkeypatch):
    """Without the kernels, whose C++ takes a compiler minutes."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    graphs = torch._dynamo.utils.counters["stats"]
    before = graphs["unique_graphs"]
    pictures = torch.rand(3, 3, 48, 48) * 2 - 1
    for dtype in (None, torch.bfloat16):
        whole = encode(pair[0], pictures, "W+", dtype=dtype).w
        fast = encode(pair[0], pictures, "W+", batch=2, dtype=dtype, compile=True).w
        assert torch.allclose(fast, whole, atol=1e-5 if dtype is None else 2e-2)
    assert graphs["unique_graphs"] - before >= 2
    assert said() == []


def test_a_compiled_generator_is_tuned_the_same(pair, code, said, monkeypatch):
    """Without the kernels, whose C++ takes a compiler minutes."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    settings = TuneSettings(
        steps=2, threshold=0.0, lpips=0.0, locality_lpips=0.0, detail_steps=2, detail_size=4
    )
    G, code, image = pair[1], code.one(0), torch.zeros(1, 3, 32, 32)
    graphs = torch._dynamo.utils.counters["stats"]
    drawing = graphs["unique_graphs"]
    ours, fast = (tune(G, code, image, replace(settings, compile=x)) for x in (False, True))
    for one, other in zip(ours.history, fast.history, strict=True):
        assert other == pytest.approx(one, abs=1e-5)
    assert torch.allclose(fast.image, ours.image, atol=1e-4)
    # of the pictures and of locality, with and without gradients, and with the detail
    assert graphs["unique_graphs"] - drawing >= 4
    assert said() == []


def test_many_kinds_are_compiled():
    def half(x, kind):
        return x / 2 + kind

    fast = compiled(half, dynamic=False, backend="eager")
    graphs = torch._dynamo.utils.counters["stats"]
    before = graphs["unique_graphs"]
    for kind in range(10):
        assert torch.equal(fast(torch.ones(kind + 1), kind), half(torch.ones(kind + 1), kind))
    assert graphs["unique_graphs"] - before == 10


def test_a_picture_is_drawn_without_a_compiler(pair, code, monkeypatch, said):
    from torch._inductor import config as inductor

    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    one = code.one(0)
    with inductor.patch({"cpp.cxx": ("no-such-compiler",)}):
        assert torch.equal(generate(pair[1], one, compile=True), generate(pair[1], one))
    assert said() == [
        "torch.compile does not work on this machine: what it was for runs uncompiled."
    ]


def test_errors_of_the_compiled_function_itself_pass(said):
    def wrong(x):
        return x @ torch.zeros(2, 3)

    with pytest.raises(RuntimeError, match=r"shape|size"):
        compiled(wrong, backend="eager")(torch.zeros(2, 3))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc takes such a wish")
def test_a_program_keeps_its_memory():
    """New pages that large tensors cost, in a process of its own."""
    script = """
import resource, sys, torch
from cycle_core.runtime.devices import keep_memory
assert len(sys.argv) == 1 or keep_memory()
def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for i in range(40):
    if i == 20:  # the memory has grown to what it needs
        before = pages()
    torch.ones(2**24)  # 64 MB
print(pages() - before)
"""
    usual, kept = (
        int(
            subprocess.run(
                [sys.executable, "-c", script, *more], check=True, capture_output=True
            ).stdout
        )
        for more in ([], ["keep"])
    )
    assert kept < usual / 10

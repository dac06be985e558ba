"""`cycle-core inspect` tells what a file is, `cycle-core convert` brings it into our layout."""

from __future__ import annotations

import json
import os

import pytest
import torch
from layouts import nvidia_names, write_nvidia

from cycle_core.checkpoints.inspecting import cached_conversion
from cycle_core.checkpoints.latents import save_code
from cycle_core.checkpoints.native import read_model, save_model
from cycle_core.checkpoints.registry import load_generator
from cycle_core.cli import main
from cycle_core.codes import Code
from cycle_core.files.assets import ASSETS
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config

CONFIG = StyleGAN2Config(16, z_dim=8, w_dim=12, mapping_layers=2, channels=(8, 6, 4), c_dim=3)


@pytest.fixture
def generator():
    torch.manual_seed(0)
    return Generator(CONFIG).eval().requires_grad_(False)


@pytest.fixture
def pickled(generator, tmp_path):
    return write_nvidia(tmp_path / "net.pkl", nvidia_names(generator))


def told(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main([str(part) for part in argv]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("path", sorted(ASSETS.glob("*.safetensors")), ids=lambda path: path.stem)
def test_every_embedded_file_is_known(capsys, path):
    assert "used with" in told(capsys, "inspect", path)


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main([str(part) for part in argv]) == 2
    return capsys.readouterr().err


# ------------------------------------------------------------------ inspect
def test_a_generator_is_told_with_all_that_matters(pickled, generator, capsys):
    (facts,) = json.loads(told(capsys, "inspect", pickled, "--json"))["holds"]
    assert facts.pop("format").startswith("NVIDIA StyleGAN2")
    assert facts.pop("used with")
    assert facts == {
        "kind": "generator",
        "resolution": 16,
        "styles": 6,
        "dimensions": 12,
        "conditional": True,
        "classes": 3,
        "parameters": sum(p.numel() for p in generator.parameters()),
        "fingerprint": load_generator(pickled).fingerprint,
    }


def test_the_same_in_words(pickled, capsys):
    lines = [line.split(maxsplit=1) for line in told(capsys, "inspect", pickled).splitlines()]
    assert ["container", "pickle"] in lines
    assert ["resolution", "16"] in lines
    assert ["conditional", "yes"] in lines


def test_what_tuning_changed_is_told_with_its_generator(tmp_path, capsys):
    save_model(tmp_path / "t.safetensors", "delta", {"original": "0123456789abcdef"}, {})
    words = told(capsys, "inspect", tmp_path / "t.safetensors")
    assert "tuned generator" in words
    assert "the generator 0123456789abcdef" in words


def test_codes_and_directions_are_told(tmp_path, capsys):
    save_code(Code(torch.zeros(2, 6, 12), "W", "0123456789abcdef"), tmp_path / "c.safetensors")
    assert "0123456789abcdef" in told(capsys, "inspect", tmp_path / "c.safetensors")
    torch.save(torch.randn(1, 512), tmp_path / "age.pt")
    assert "direction" in told(capsys, "inspect", tmp_path / "age.pt")


def test_a_file_for_something_else_is_told(tmp_path, capsys):
    torch.save({"lora_unet.lora_up.weight": torch.zeros(1)}, tmp_path / "a.pt")
    assert "a LoRA" in told(capsys, "inspect", tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("page.pkl", b"<!DOCTYPE html>", "a web page"),
        ("notes.pkl", "Schön: my notes\n".encode(), "it is a text file"),
        ("settings.pt", b'{"a": 1}', "it is a text file"),
        ("table.safetensors", b"a,b\n1,2\n", "it is a text file"),
        ("cut.pkl", b"\x80\x04\x95\x10", "it ends too early"),
        ("empty.pt", b"", "it is empty"),
        ("call.pkl", b"cos\nsystem\n(S'true'\ntR.", "os.system"),
        ("numbers.pkl", b"(lp0\n.", "nothing that is known"),
        ("none.pkl", None, "There is no file"),
    ],
)
def test_what_cannot_be_told_is_one_sentence(name, content, says, tmp_path, capsys):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert says in refused(capsys, "inspect", tmp_path / name)


# ------------------------------------------------------------------ convert
def test_a_converted_generator_is_the_same_and_says_where_it_is_from(pickled, tmp_path, capsys):
    out = tmp_path / "net.safetensors"
    told(capsys, "convert", pickled, out)
    loaded, original = load_generator(out), load_generator(pickled)
    assert loaded.config == original.config
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.parameters(), original.parameters(), strict=True)
    )
    metadata = read_model(out, "generator")[2]
    assert metadata["source"].startswith("net.pkl (NVIDIA")
    assert len(metadata["source_sha256"]) == 64
    assert metadata["fingerprint"] == original.fingerprint


def test_the_stored_fingerprint_is_the_true_one_and_follows_changes(pickled, tmp_path, capsys):
    out = tmp_path / "net.safetensors"
    told(capsys, "convert", pickled, out)
    loaded = load_generator(out)
    stored = loaded.fingerprint
    loaded._fingerprint = None
    assert loaded.fingerprint == stored
    loaded.w_avg.add_(1)
    assert loaded.fingerprint != stored


def test_a_file_that_holds_both_asks_which_one(generator, tmp_path, capsys):
    save_model(tmp_path / "t.safetensors", "delta", {"original": ""}, {})
    assert "no generator and no encoder" in refused(
        capsys, "convert", tmp_path / "t.safetensors", tmp_path / "out.safetensors"
    )
    assert not (tmp_path / "out.safetensors").exists()


def test_a_layout_is_told_by_its_ending(pickled, tmp_path, capsys):
    assert "the name of a file" in refused(capsys, "convert", pickled, tmp_path / "net.zip")


# ------------------------------------------------------------------ the conversion beside a file
def test_nothing_is_written_unless_allowed(pickled):
    assert cached_conversion(pickled, "generator", allow=False) == pickled
    assert os.listdir(pickled.parent) == ["net.pkl"]


def test_a_conversion_is_kept_until_its_source_changes(pickled, generator):
    cached = cached_conversion(pickled, "generator", allow=True)
    written = cached.stat().st_mtime_ns
    assert cached_conversion(pickled, "generator", allow=False) == cached
    assert cached_conversion(pickled, "generator", allow=True).stat().st_mtime_ns == written

    generator.w_avg.fill_(3)
    write_nvidia(pickled, nvidia_names(generator))
    assert cached_conversion(pickled, "generator", allow=False) == pickled


def test_a_folder_that_takes_no_file_still_opens(pickled, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cycle_core.checkpoints.native.save_file", full)
    assert cached_conversion(pickled, "generator", allow=True) == pickled
    assert os.listdir(pickled.parent) == ["net.pkl"]

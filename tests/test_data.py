"""The pictures of a training: folders, packed shards and rendered portraits read alike."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from limits import full_disk
from PIL import Image

from cycle_core.cli import main
from cycle_core.errors import CheckpointError, InputError
from cycle_core.files import shards
from cycle_core.images.io import list_images, save_image
from cycle_core.training import packing
from cycle_core.training.data import Prefetcher, open_all, open_pictures
from cycle_core.training.packing import pack

torch.set_num_threads(1)


@pytest.fixture
def small_shards(monkeypatch):
    """Shards of four pictures."""
    monkeypatch.setattr(packing, "MAX_SHARD", 4)


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Ten pictures of 16 pixels, each of one grey, whose order is that of their levels."""
    folder = tmp_path / "pictures"
    for level in range(10):
        name = f"{'ab'[level > 4]}/deep/img{level}.{('png', 'jpg', 'webp')[level % 3]}"
        save_image(torch.full((3, 16, 16), level / 10 - 0.5), folder / name)
    return folder


def levels(read) -> list[int]:
    return (read.mean((1, 2, 3)) * 10 + 5).round().int().tolist()


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


# ------------------------------------------------------------------ folders
def test_a_folder_is_read_in_the_order_of_its_names_in_any_nesting(pictures):
    save_image(torch.zeros(3, 4, 4), pictures / ".hidden" / "x.png")
    (pictures / "a" / "notes.txt").write_text("no picture")

    read = open_all(pictures, 16)

    assert levels(read[torch.arange(10)]) == list(range(10))
    assert levels(read[torch.tensor([7, 1, 7])]) == [7, 1, 7]


def test_a_folder_alone_is_listed_without_those_below(pictures):
    save_image(torch.zeros(3, 4, 4), pictures / "top.png")
    assert [path.name for path in list_images(pictures)] == ["top.png"]


def test_pictures_are_brought_to_one_size(pictures):
    save_image(torch.full((3, 64, 64), -0.5), pictures / "a" / "deep" / "img0.png")
    assert open_all(pictures, 8)[torch.tensor([0, 1])].shape == (2, 3, 8, 8)


def test_broken_pictures_are_told_before_the_training_in_one_sentence(pictures):
    cut_off(pictures / "a/deep/img3.png")
    cut_off(pictures / "b/deep/img6.png")
    with pytest.raises(InputError, match=r"2 of 10 pictures cannot be used \(.*img3.*img6"):
        open_all(pictures, 16)


def test_a_picture_that_is_not_square_is_told_by_its_header_alone(pictures):
    Image.new("RGB", (16, 12)).save(pictures / "wide.png")
    cut_off(pictures / "a/deep/img3.png")
    with pytest.raises(InputError, match=r"wide.png is 16x12.*cycle-core align"):
        open_all(pictures, 16)


def test_a_folder_that_was_looked_through_is_not_again(pictures):
    known = open_all(pictures, 16).digest
    path = pictures / "a/deep/img3.png"
    path.write_bytes(bytes(path.stat().st_size))
    open_all(pictures, 16, known)
    with pytest.raises(InputError, match="img3"):
        open_all(pictures, 16)


def test_held_out_pictures_do_not_train(pictures):
    train, held = open_pictures(pictures, 16)
    assert levels(held[torch.arange(len(held))]) == [0]
    assert levels(train[torch.arange(len(train))]) == list(range(1, 10))


def test_reading_ahead_gives_each_step_its_batch():
    read = Prefetcher(lambda step: torch.tensor(step))
    assert [int(read(step)) for step in (3, 4, 5, 1, 2)] == [3, 4, 5, 1, 2]


# ------------------------------------------------------------------ packed
def test_packed_pictures_read_as_the_folder_does(pictures, tmp_path, small_shards):
    pack(pictures, tmp_path / "packed", 8)

    folder, packed = open_all(pictures, 8), open_all(tmp_path / "packed", 8)

    places = torch.tensor([9, 0, 5, 5, 2])
    assert len(packed) == 10
    assert (folder[places] - packed[places]).abs().max() <= 0.5 / 127.5 + 1e-6
    assert packed.digest != folder.digest


def test_an_index_says_what_is_packed(pictures, tmp_path, small_shards):
    out = tmp_path / "packed"
    pack(pictures, out, 8)
    index = json.loads((out / "index.json").read_text())
    assert index["count"] == 10
    assert index["pictures"] == {"resolution": 8, "shard": 4}
    sources = json.loads((out / "00001-sources.json").read_text())
    assert [name for name, _ in sources["sources"]] == [
        "a/deep/img4.jpg", "b/deep/img5.webp", "b/deep/img6.png", "b/deep/img7.jpg"]  # fmt: skip
    assert np.load(out / "00002-images.npy").shape == (2, 3, 8, 8)


def test_packing_goes_on_where_it_was_interrupted(pictures, tmp_path, small_shards):
    out = tmp_path / "packed"

    def stop(done: int, total: int) -> None:
        if done > 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(pictures, out, 8, callback=stop)
    with pytest.raises(CheckpointError, match="not packed completely"):
        open_all(out, 8)
    first = (out / "00000-images.npy").stat()

    resumed = pack(pictures, out, 8)

    assert (out / "00000-images.npy").stat().st_ino == first.st_ino
    assert resumed.digest == pack(pictures, tmp_path / "other", 8).digest
    assert not list(out.glob(".*"))


def test_packing_again_makes_what_changed_or_was_damaged(pictures, tmp_path, small_shards):
    out = tmp_path / "packed"
    whole = pack(pictures, out, 8).digest
    kept = (out / "00001-images.npy").stat().st_ino
    cut_off(out / "00000-images.npy")
    assert pack(pictures, out, 8).digest == whole
    (pictures / "b/deep/img9.png").unlink()
    (pictures / "b/deep/img8.webp").unlink()

    assert len(pack(pictures, out, 8)) == 8

    assert (out / "00001-images.npy").stat().st_ino == kept
    assert not (out / "00002-images.npy").exists()


def test_broken_pictures_are_told_after_the_others_are_packed(pictures, tmp_path, small_shards):
    out = tmp_path / "packed"
    cut_off(pictures / "b/deep/img6.png")
    with pytest.raises(InputError, match=r"img6.png is damaged"):
        pack(pictures, out, 8)
    assert sorted(path.name for path in out.glob("*.npy")) == [
        "00000-images.npy", "00002-images.npy"]  # fmt: skip


def test_a_full_disk_is_told_as_that(tmp_path):
    with full_disk(4000), pytest.raises(InputError, match="File too large"):
        shards.write_array(tmp_path / "a.npy", np.zeros(10_000, np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_left_alone(pictures, tmp_path):
    out = tmp_path / "packed"
    pack(pictures, out, 8)
    with pytest.raises(InputError, match="packed at 8 pixels, not at 16"):
        pack(pictures, out, 16)
    shutil.copytree(pictures, tmp_path / "mine")
    (tmp_path / "mine" / "index.json").write_text('{"labels": []}')
    with pytest.raises(InputError, match="not of packed pictures"):
        pack(pictures, tmp_path / "mine", 8)
    assert len(open_all(tmp_path / "mine", 16)) == 10


def test_a_shard_that_is_missing_or_cut_off_is_told(pictures, tmp_path, small_shards):
    out = tmp_path / "packed"
    pack(pictures, out, 8)
    shards.open_array.cache_clear()
    cut_off(out / "00001-images.npy")
    os.remove(out / "00002-images.npy")
    read = open_all(out, 8)
    assert levels(read[torch.tensor([1])]) == [1]
    for place in (5, 9):
        with pytest.raises(CheckpointError, match="missing or damaged"):
            read[torch.tensor([place])]


@pytest.mark.parametrize("change", [(b"}", b"("), (b"(", b"["), (b"|u1", b"|O1"), (b"4,", b"9,")])
def test_a_shard_whose_header_is_none_is_told(change, tmp_path):
    np.save(tmp_path / "00000-images.npy", np.zeros((4, 3, 8, 8), np.uint8))
    content = (tmp_path / "00000-images.npy").read_bytes().replace(*change, 1)
    (tmp_path / "00000-images.npy").write_bytes(content)
    shards.open_array.cache_clear()
    with pytest.raises(CheckpointError, match="missing or damaged"):
        shards.open_array(tmp_path, 0)


def test_many_processes_read_at_once(pictures, tmp_path, small_shards):
    pack(pictures, tmp_path / "packed", 8)
    read = open_all(tmp_path / "packed", 8)
    places = torch.arange(10)
    context = torch.multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    readers = [context.Process(target=lambda: results.put(levels(read[places]))) for _ in range(3)]
    for reader in readers:
        reader.start()
    assert [results.get() for _ in readers] == [list(range(10))] * 3
    for reader in readers:
        reader.join()


def test_the_command_packs_a_folder_and_tells_what_is_broken(pictures, tmp_path, capsys):
    command = ["pack", str(pictures), "--size", "8", "--out", str(tmp_path / "packed")]
    assert main([*command, "--workers", "2"]) == 0
    assert "10 pictures of 8 pixels" in capsys.readouterr().out
    (pictures / "b/deep/img9.png").write_bytes(b"a letter")
    assert main(command) == 2
    assert "img9.png is not a picture that can be read" in capsys.readouterr().err

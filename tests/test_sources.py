"""Pictures in NVIDIA's zips and rosinality's LMDBs, read in place, whoever made them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import struct
import sys
import zipfile
from pathlib import Path

import lmdb
import pytest
import torch
from PIL import Image

from cycle_core.errors import InputError
from cycle_core.training import sources
from cycle_core.training.data import open_all, open_pictures
from cycle_core.training.packing import pack

torch.set_num_threads(1)


def encoded(level: int, size: int = 16, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (size, size), (level * 20,) * 3).save(stream, kind, quality=100)
    return stream.getvalue()


def nvidia_zip(path: Path, labels: object = None, packed: int = zipfile.ZIP_STORED) -> Path:
    """As dataset_tool.py writes it: ten pictures of 16 pixels, each of one grey."""
    with zipfile.ZipFile(path, "w", packed) as file:
        for level in range(10):
            file.writestr(f"{level // 4:05d}/img{level:08d}.png", encoded(level))
        file.writestr("dataset.json", json.dumps({"labels": labels}))
    return path


def rosinality_lmdb(path: Path, sizes: tuple[int, ...] = (8, 16), count: int = 10) -> Path:
    """As prepare_data.py writes it: JPEGs of several sizes."""
    with (
        lmdb.open(str(path), map_size=1 << 24, readahead=False) as env,
        env.begin(write=True) as txn,
    ):
        for number in range(count):
            for size in sizes:
                txn.put(f"{size}-{number:05d}".encode(), encoded(number, size, "JPEG"))
        txn.put(b"length", str(count).encode())
    return path


def levels(pictures, places=range(10)) -> list[int]:
    read = pictures[torch.tensor(list(places))]
    return ((read.mean((1, 2, 3)) + 1) * 127.5 / 20).round().int().tolist()


# ------------------------------------------------------------------ read in place
@pytest.mark.parametrize("packed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_reads_as_the_folder_that_it_packs(tmp_path, packed):
    path = nvidia_zip(tmp_path / "set.zip", packed=packed)
    with zipfile.ZipFile(path) as file:
        file.extractall(tmp_path / "folder")
    before = sorted(tmp_path.rglob("*"))
    read, folder = open_all(path, 16), open_all(tmp_path / "folder", 16)
    places = torch.tensor([9, 0, 5, 5, 2])
    assert torch.equal(read[places], folder[places])
    assert levels(read) == list(range(10))
    assert sorted(tmp_path.rglob("*")) == before
    train, held = open_pictures(path, 8)
    assert (len(train), len(held)) == (9, 1)


def test_an_lmdb_reads_the_pictures_of_one_size(tmp_path):
    path = rosinality_lmdb(tmp_path / "db")
    os.remove(path / "lock.mdb")
    os.chmod(path, 0o555)
    read = open_all(path, 16)
    assert levels(read) == list(range(10))
    assert read[torch.tensor([3])].shape == (1, 3, 16, 16)
    assert open_all(path, 8)[torch.tensor([3])].shape == (1, 3, 8, 8)
    assert read.digest != open_all(path, 8).digest
    assert not (path / "lock.mdb").exists()


@pytest.mark.parametrize("make", [nvidia_zip, rosinality_lmdb])
def test_a_process_that_is_forked_reads_on(tmp_path, make):
    read = open_all(make(tmp_path / "set"), 16)
    context = torch.multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    readers = [context.Process(target=lambda: results.put(levels(read))) for _ in range(3)]
    for reader in readers:
        reader.start()
    assert [results.get() for _ in readers] == [levels(read)] * 3
    for reader in readers:
        reader.join()


@pytest.mark.parametrize("make", [nvidia_zip, rosinality_lmdb])
def test_they_are_packed_as_a_folder_is(tmp_path, make):
    path = make(tmp_path / "set")
    pack(path, tmp_path / "packed", 16)
    packed = open_all(tmp_path / "packed", 16)
    places = torch.arange(10)
    assert (packed[places] - open_all(path, 16)[places]).abs().max() <= 0.5 / 127.5 + 1e-6


def test_an_lmdb_that_was_made_anew_is_opened_anew(tmp_path):
    path = rosinality_lmdb(tmp_path / "db")
    old = open_all(path, 16)
    os.replace(rosinality_lmdb(tmp_path / "new", count=4) / "data.mdb", path / "data.mdb")
    assert len(open_all(path, 16)) == 4
    with pytest.raises(InputError, match="16-00007 cannot be read"):
        old[torch.tensor([7])]


# ------------------------------------------------------------------ what is wrong, in a sentence
def test_an_lmdb_of_another_size_says_which_it_has(tmp_path):
    with pytest.raises(InputError, match="pictures of 8, 16 pixels and not of 32"):
        open_all(rosinality_lmdb(tmp_path / "db"), 32)


def test_without_the_package_it_says_what_to_install(tmp_path, monkeypatch):
    path = rosinality_lmdb(tmp_path / "db")
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(InputError, match="pip install lmdb"):
        open_all(path, 16)


@pytest.mark.parametrize("length", [b"", b"-1", b"0", b"12e3", b"9" * 30, b"11"])
def test_a_wrong_length_of_an_lmdb_is_told(tmp_path, length):
    path = rosinality_lmdb(tmp_path / "db")
    with lmdb.open(str(path), map_size=1 << 24) as env, env.begin(write=True) as txn:
        txn.put(b"length", length)
    told = "16-00010 is missing" if length == b"11" else "how many pictures"
    with pytest.raises(InputError, match=told):
        open_all(path, 16)


def test_an_lmdb_of_something_else_is_told(tmp_path):
    path = tmp_path / "db"
    with lmdb.open(str(path), map_size=1 << 24) as env, env.begin(write=True) as txn:
        txn.put(b"church-1", b"picture")
        txn.put(b"length", b"1")
    with pytest.raises(InputError, match="holds no pictures of rosinality"):
        open_all(path, 16)


def test_what_is_cut_off_is_told(tmp_path):
    path = rosinality_lmdb(tmp_path / "db", count=200) / "data.mdb"
    for size in (path.stat().st_size // 2 // 4096 * 4096, 5000, 100):
        os.truncate(path, size)
        with pytest.raises(InputError, match="cannot be read"):
            open_all(path.parent, 16)
    path = nvidia_zip(tmp_path / "set.zip")
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match="neither a folder nor a zip"):
        open_all(path, 16)


def test_a_broken_picture_inside_is_told_by_its_name(tmp_path):
    path = nvidia_zip(tmp_path / "set.zip")
    content = bytearray(path.read_bytes())
    place = content.index(b"00001/img00000005.png") + 60
    content[place] ^= 255
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"set.zip/00001/img00000005.png cannot be read"):
        open_all(path, 16)


def members(path: Path, *files: tuple[str, bytes], packed: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", packed) as file:
        for name, content in files:
            file.writestr(name, content)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("a.png", "a.png"), "holds a.png twice"),
        (("../a.png",), "outside of itself"),
        (("/etc/a.png",), "outside of itself"),
        (("a\\..\\..\\b.png",), "outside of itself"),
        ((".a.png", "__MACOSX/b.png", "c.txt"), "holds no pictures"),
        (("dataset.json",), "holds no pictures"),
    ],
)
def test_odd_names_in_a_zip_are_told(tmp_path, names, told):
    path = members(tmp_path / "set.zip", *((name, encoded(1)) for name in names))
    with pytest.raises(InputError, match=told):
        open_all(path, 16)


def test_a_picture_that_swells_is_not_unpacked(tmp_path, monkeypatch):
    path = members(tmp_path / "a.zip", ("a.png", bytes(5 << 20)), packed=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="far larger than what is packed"):
        open_all(path, 16)
    monkeypatch.setattr(sources, "MAX_PICTURE", 1000)
    path = members(tmp_path / "b.zip", ("a.png", bytes(2000)))
    with pytest.raises(InputError, match="MB that are read"):
        open_all(path, 16)


def test_a_claim_of_another_size_is_not_believed(tmp_path):
    path = members(tmp_path / "a.zip", ("a.png", encoded(1)), packed=zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\1\2") + 24  # the size after unpacking, in the directory
    (size,) = struct.unpack_from("<I", content, place)
    for claimed in (size - 5, size + 5):
        struct.pack_into("<I", content, place, claimed)
        path.write_bytes(content)
        with pytest.raises(InputError, match="cannot be read"):
            open_all(path, 16)


@pytest.mark.parametrize("packed", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing_are_refused(tmp_path, packed):
    with pytest.raises(InputError, match="packed in a way"):
        open_all(members(tmp_path / "a.zip", ("a.png", encoded(1)), packed=packed), 16)


def test_a_directory_that_is_too_long_is_not_read(tmp_path, monkeypatch):
    path = nvidia_zip(tmp_path / "set.zip")
    monkeypatch.setattr(sources, "MAX_DIRECTORY", 500)
    with pytest.raises(InputError, match="more in it"):
        open_all(path, 16)


def test_no_damage_to_a_zip_gives_another_error(tmp_path):
    whole = nvidia_zip(tmp_path / "set.zip", packed=zipfile.ZIP_DEFLATED).read_bytes()
    rng = random.Random(0)
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(rng.choice([1, 1, 4])):
            content[rng.randrange(len(content))] = rng.randrange(256)
        (tmp_path / "set.zip").write_bytes(content)
        with contextlib.suppress(InputError):
            open_all(tmp_path / "set.zip", 16)

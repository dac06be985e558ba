"""Where model files are looked for, and downloads from a server on this machine."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import http.server
import io
import os
import threading
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cycle_core.errors import CheckpointError, MissingFileError
from cycle_core.files import download, weights
from cycle_core.files.catalogue import Weight

CONTENT = bytes(range(256)) * 5000


class Server(http.server.BaseHTTPRequestHandler):
    """/file: CONTENT, with ranges. /short: ends early. /page: a web page. Anything else: 404."""

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Range")))  # type: ignore[attr-defined]
        if self.path == "/page":
            return self.answer(200, b"<html>confirm</html>", {"Content-Type": "text/html"})
        if self.path == "/archive.zip":
            return self.answer(200, archive(), {})
        if self.path not in ("/file", "/short", "/file.zip"):
            return self.send_error(404)
        first = 0
        if "Range" in self.headers and self.headers.get("If-Range") == '"v1"':
            first = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        body = CONTENT[first:]
        headers = {"ETag": '"v1"', "Content-Length": str(len(body))}
        if self.path == "/short":
            body = body[: len(body) // 2]
        return self.answer(206 if first else 200, body, headers)

    def answer(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the client may have seen enough
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def archive() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as files:
        files.writestr("det.onnx", b"a network")
    return data.getvalue()


@pytest.fixture(scope="module")
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        running.asked = []  # type: ignore[attr-defined]
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def file(server, machine) -> Weight:
    """A public file of that server."""
    server.asked.clear()
    return Weight(
        name="test",
        kind="generator",
        file="test.pkl",
        url=f"http://127.0.0.1:{server.server_address[1]}/file",
        licence="none",
        page="https://example.org",
        size=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    )


@pytest.fixture
def machine(monkeypatch, tmp_path) -> Path:
    """A machine without any model file; gives its cache folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TORCH_HOME", raising=False)
    monkeypatch.delenv("CYCLE_CORE_MODELS", raising=False)
    monkeypatch.delenv("CYCLE_CORE_OFFLINE", raising=False)
    monkeypatch.setattr(weights, "_registered", [])
    return tmp_path / "cache/cycle-core"


def elsewhere(weight: Weight, path: str) -> Weight:
    return replace(weight, url=weight.url.replace("/file", path))


def test_a_file_is_downloaded_once_into_the_cache(file, server, machine):
    path = weights.fetch(file, progress=False)
    assert path == machine / "test.pkl"
    assert path.read_bytes() == CONTENT
    assert weights.fetch(file, progress=False) == path
    assert len(server.asked) == 1
    assert [entry.name for entry in machine.iterdir()] == ["test.pkl"]


def test_the_download_reports_its_progress(file, capsys):
    seen = []
    weights.fetch(file, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert len(seen) > 2


def test_the_progress_bar_names_the_file(file, capsys):
    weights.fetch(file)
    assert "test.pkl" in capsys.readouterr().err


def test_a_wrong_checksum_throws_the_file_away(file, machine):
    with pytest.raises(CheckpointError, match=r"test.pkl .* checksum .* 000000000000"):
        weights.fetch(replace(file, sha256="0" * 64), progress=False)
    assert not list(machine.iterdir())
    assert weights.find(file) is None


def test_a_checksum_may_be_known_in_its_first_digits(file):
    assert file.sha256 is not None
    assert weights.fetch(replace(file, sha256=file.sha256[:8]), progress=False).is_file()


def test_an_interrupted_download_goes_on_where_it_stopped(file, server):
    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        weights.fetch(file, progress=interrupt)
    assert weights.find(file) is None
    assert weights.fetch(file, progress=False).read_bytes() == CONTENT
    (_, first), (_, second) = server.asked
    assert first is None
    assert second is not None
    assert int(second.removeprefix("bytes=").rstrip("-")) > 0


def test_another_version_on_the_server_is_downloaded_from_its_start(file, machine):
    machine.mkdir(parents=True)
    (machine / "test.pkl.part").write_bytes(b"of an older version")
    (machine / "test.pkl.part.tag").write_text('"v0"')
    assert weights.fetch(file, progress=False).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/none", "404"), ("/short", "ended after|IncompleteRead"), ("/page", "web page")],
)
def test_a_failed_download_names_file_address_and_folder(file, machine, path, reason):
    wanted = elsewhere(file, path)
    with pytest.raises(MissingFileError, match=reason) as caught:
        weights.fetch(wanted, progress=False)
    for part in ("test.pkl", wanted.url, str(machine)):
        assert part in str(caught.value)
    assert weights.find(wanted) is None


def test_no_server_is_said_plainly(file):
    with pytest.raises(MissingFileError, match="no connection"):
        weights.fetch(replace(file, url="http://127.0.0.1:9/file"), progress=False)


def test_offline_nothing_is_asked_of_any_server(file, server, monkeypatch, machine):
    monkeypatch.setenv("CYCLE_CORE_OFFLINE", "1")
    with pytest.raises(MissingFileError, match="CYCLE_CORE_OFFLINE") as caught:
        weights.fetch(file)
    assert str(machine) in str(caught.value)
    assert file.url in str(caught.value)
    assert server.asked == []


def test_a_folder_that_cannot_be_written_is_named(file, machine):
    machine.parent.mkdir(parents=True)
    machine.write_bytes(b"in the way")
    with pytest.raises(MissingFileError, match=r"test.pkl.*could not be downloaded"):
        weights.fetch(file, progress=False)


def test_an_archive_becomes_a_folder(file, machine):
    wanted = elsewhere(file, "/archive.zip")
    wanted = replace(wanted, name="models", file="own", size=None, sha256=None)
    folder = weights.fetch(wanted, progress=False)
    assert folder == machine / "models/own"  # the parent's name is what insightface asks for
    assert [entry.name for entry in folder.iterdir()] == ["det.onnx"]
    assert weights.find(wanted) == folder


def test_what_is_no_archive_is_thrown_away(file, machine):
    wanted = replace(elsewhere(file, "/file.zip"), file="own")
    with pytest.raises(CheckpointError, match="no zip archive"):
        weights.fetch(wanted, progress=False)
    assert not list((machine / "models").iterdir())
    assert weights.find(wanted) is None


def test_the_environment_variable_names_folders(file, monkeypatch, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "two/test.pkl").write_bytes(b"x")
    monkeypatch.setenv("CYCLE_CORE_MODELS", f"{tmp_path / 'one'}{os.pathsep}{tmp_path / 'two'}")
    assert weights.find(file) == tmp_path / "two/test.pkl"
    (tmp_path / "one/deeper").mkdir()
    (tmp_path / "one/deeper/test.pkl").write_bytes(b"x")
    assert weights.find(file) == tmp_path / "one/deeper/test.pkl"


def test_a_host_program_can_add_folders_for_a_kind(machine, tmp_path):
    folder = tmp_path / "comfy"
    folder.mkdir()
    (folder / "yunet_final.pth").write_bytes(b"x")
    weights.add_folder("generator", folder)
    assert weights.find("yunet") is None  # a detector
    weights.add_folder("detector", folder)
    assert weights.find("yunet") == folder / "yunet_final.pth"


def test_a_path_or_a_file_name_is_found_too(machine, tmp_path):
    (tmp_path / "mine.pkl").write_bytes(b"x")
    assert weights.find(tmp_path / "mine.pkl") == tmp_path / "mine.pkl"
    assert weights.find("mine.pkl") is None
    weights.add_folder("", tmp_path)
    assert weights.find("mine.pkl") == tmp_path / "mine.pkl"
    assert weights.find("../mine.pkl") is None
    assert weights.find("") is None


def test_an_unknown_name_lists_the_known_ones(machine):
    with pytest.raises(MissingFileError, match=r"ffhq-1024.*yunet"):
        weights.fetch("ffqh-1024")


def test_a_file_without_address_points_to_its_page(machine):
    with pytest.raises(MissingFileError, match=r"by way of https://"):
        weights.fetch("cycle-ffhq")


def test_the_catalogue_is_complete_and_invents_no_checksum():
    assert len({weight.file for weight in weights.CATALOGUE.values()}) == len(weights.CATALOGUE)
    for name, weight in weights.CATALOGUE.items():
        assert weight.name == name
        assert weight.licence
        assert weight.page.startswith("https://")
        assert weight.url == "" or weight.url.startswith("https://")
        assert weight.sha256 is None or len(weight.sha256) in (8, 64)
        if weight.sha256 and len(weight.sha256) == 8:
            assert weight.sha256 in weight.file  # stated by the publisher, in the name


# ------------------------------------------------------------------ servers that lie
def test_two_programs_that_want_one_file_download_it_once(file, server, machine):
    got = []
    threads = [
        threading.Thread(target=lambda: got.append(weights.fetch(file, progress=False)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [machine / "test.pkl"] * 4
    assert len(server.asked) == 1
    assert [entry.name for entry in machine.iterdir()] == ["test.pkl"]


def test_another_length_than_the_known_one_is_refused(file):
    with pytest.raises(MissingFileError, match="were expected"):
        weights.fetch(replace(file, size=len(CONTENT) - 1, sha256=None), progress=False)


def test_a_file_of_unknown_size_has_a_limit(file, monkeypatch):
    monkeypatch.setattr(download, "_LARGEST", 1000)
    with pytest.raises(MissingFileError, match="at most 1000"):
        weights.fetch(replace(file, size=None), progress=False)


@pytest.mark.parametrize("url", ["http://127.0.0.1/x", "ftp://127.0.0.1/x", "file:///etc/passwd"])
def test_https_leads_to_https_alone(url):
    request = urllib.request.Request("https://example.org/file")
    with pytest.raises(http.client.HTTPException, match="not https"):
        download._Redirects().redirect_request(request, None, 302, "", {}, url)


@pytest.mark.parametrize("name", ["../out.onnx", "/out.onnx", "a\x1b[2J.onnx"])
def test_an_archive_with_odd_names_is_refused(name, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, b"x")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive, pytest.raises(ValueError, match="packed"):
        download._check_members(archive, 100)


def test_an_archive_that_unpacks_to_much_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.onnx", bytes(10 << 20))
    with zipfile.ZipFile(tmp_path / "a.zip") as archive, pytest.raises(ValueError, match="unpacks"):
        download._check_members(archive, (tmp_path / "a.zip").stat().st_size)

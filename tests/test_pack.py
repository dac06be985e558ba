"""The folder as ComfyUI and its registry take it: what it imports, what its archive holds."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def printed_by(code: str, *arguments: object) -> str:
    """What a Python without any installed package prints."""
    command = [sys.executable, "-I", "-S", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


# ------------------------------------------------------------------ loading
def test_the_entry_point_imports_nothing_by_itself():
    code = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("pack", sys.argv[1])
pack = importlib.util.module_from_spec(spec)
before = set(sys.modules)
spec.loader.exec_module(pack)
assert not hasattr(pack, "NODE_CLASS_MAPPINGS")  # else ComfyUI would not ask for the nodes
print(*set(sys.modules) - before)
"""
    assert printed_by(code, ROOT / "__init__.py").split() == []


LOAD = """
import json, sys, tempfile
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import comfy_standin, node_texts
comfy_standin.install(Path(tempfile.mkdtemp()))
sys.path.pop(0)
before = set(sys.modules)
pack = node_texts.load_pack(Path(sys.argv[2]))
nodes = node_texts.nodes_of(pack)
print(json.dumps([list(nodes), pack.__name__, sorted(set(sys.modules) - before)]))
"""
AT_ONCE = ["cycle_core", "cycle_core.errors", "cycle_core.files", "cycle_core.files.assets"]
AT_ONCE += ["cycle_core.runtime", "cycle_core.runtime.cache", "nodes"]
AT_ONCE += ["cycle_core.files.catalogue", "cycle_core.runtime.settings"]
for _room in ("directions", "faces", "invert", "models"):
    AT_ONCE += [f"cycle_core.{_room}", f"cycle_core.{_room}.settings"]


@pytest.mark.parametrize("name", ["cycle-encoding", "cycle.encoding-0.1", "Cycle Encoding (循环)"])
def test_loading_it_takes_no_library_and_little_of_its_own(tmp_path, name):
    """Under any folder name, and through a link: that is what makes it quick, and never fail."""
    folder = tmp_path / name
    folder.symlink_to(ROOT, target_is_directory=True)
    nodes, pack, imported = json.loads(printed_by(LOAD, ROOT / "tests", folder))
    assert len(nodes) == len(json.loads((ROOT / "locales/en/nodeDefs.json").read_text()))
    ours = [module for module in imported if module.startswith(f"{pack}.")]
    others = {module.partition(".")[0] for module in imported if not module.startswith(pack)}
    assert not others - set(sys.stdlib_module_names)
    parts = {module.removeprefix(f"{pack}.") for module in ours}
    assert {part for part in parts if not part.startswith("nodes.")} == set(AT_ONCE)


@pytest.mark.parametrize("name", ["cycle-encoding", "Cycle Encoding (1)"])
def test_a_space_in_the_folder_s_name_is_told_in_the_log_with_what_to_do(tmp_path, name):
    folder = tmp_path / name
    folder.symlink_to(ROOT, target_is_directory=True)
    command = [sys.executable, "-I", "-S", "-c", LOAD, str(ROOT / "tests"), str(folder)]
    log = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    told = "Rename custom_nodes/Cycle Encoding (1) to Cycle-Encoding-(1) and restart."
    assert (told in log) is (" " in name)


HOST = {"torch", "numpy", "PIL", "safetensors", "tqdm", "kornia"}  # of what ComfyUI itself requires
ITS_OWN = {"comfy", "comfy_api", "folder_paths", "server"}
USED_IN = {"nodes": HOST | ITS_OWN, "cycle_core": HOST}
OPTIONAL = {
    "insightface.py": {"insightface", "onnxruntime"},
    "clip_text.py": {"open_clip"},
    "decode.py": {"pillow_heif"},
    "demo.py": {"skimage"},
    "clips.py": {"av"},
    "exporting.py": {"onnx"},
    "recognition.py": {"onnxruntime"},
    "report.py": {"matplotlib"},
    "sources.py": {"lmdb"},
    "statistics.py": {"scipy"},
}


def test_nothing_is_imported_that_comfyui_does_not_bring_but_by_what_can_do_without():
    for folder, always in USED_IN.items():
        for path in (ROOT / folder).rglob("*.py"):
            found = set(imports(ast.parse(path.read_text(encoding="utf-8"))))
            allowed = always | sys.stdlib_module_names | OPTIONAL.get(path.name, set())
            assert found <= allowed, path


def imports(tree: ast.AST) -> Iterator[str]:
    """The packages that a module imports, wherever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0]


def test_no_requirement_can_move_a_package_of_the_host():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["kornia"]
    (dependencies,) = re.findall(r"^dependencies = (.*)$", PROJECT, re.M)
    asked = re.findall(r'"([^"]+)"', dependencies)
    # a lower bound at most, which safety needs: never another version than the host's newer one
    bounds = {re.sub(r">=[0-9.]+$", "", name).replace("pillow", "PIL") for name in asked}
    assert bounds == HOST


# ------------------------------------------------------------------ the registry's archive
PROJECT = (ROOT / "pyproject.toml").read_text()


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory) -> Path:
    """What the registry's tool packs, which is what git knows but for .comfyignore's lines."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is not a git checkout, of which the archive is made")
    folder = tmp_path_factory.mktemp("custom_nodes") / "cycle-encoding"
    command = ["git", "-C", str(ROOT), "ls-files", "-z"]
    listed = subprocess.run(command, check=True, capture_output=True).stdout.decode().split("\0")
    for name in filter(None, listed):
        if not any(f"/{name}".startswith(rule) for rule in ignored()):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def ignored() -> list[str]:
    lines = (ROOT / ".comfyignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"(/[\w.-]+)+/?", rule) for rule in rules)
    assert all((ROOT / rule[1:]).exists() for rule in rules)
    return rules


def test_the_archive_holds_what_the_pack_shows_and_nothing_of_its_making(unpacked):
    there = {path.name for path in unpacked.iterdir()}
    assert there >= {"__init__.py", "LICENSE", "README.md", "requirements.txt", "pyproject.toml"}
    assert not there & {"tests", "benchmarks", "docs", "Makefile", ".ci", ".github"}
    pictures = re.findall(r'^(?:Icon|Banner) = "(.*)"$', PROJECT, re.M)
    assert len(pictures) == 2
    assert all((unpacked / name).is_file() for name in pictures)
    nodes = json.loads((unpacked / "locales/en/nodeDefs.json").read_text())
    assert {path.stem for path in (unpacked / "web/docs").glob("*.md")} == set(nodes)
    assert sorted((unpacked / "workflows").glob("*.json"))
    assert len(sorted((unpacked / "subgraphs").glob("*.json"))) == 4


def test_the_archive_is_fetched_soon(unpacked, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "pack"), "zip", unpacked)
    assert Path(archive).stat().st_size < 20e6


def test_an_archive_without_history_is_fetched_soon_and_has_what_the_readme_shows(unpacked):
    """What "Download ZIP" of a page of the repository gives; a clone has everything."""
    lines = (ROOT / ".gitattributes").read_text().splitlines()
    left_out = [line.split()[0] for line in lines if line.endswith(" export-ignore")]
    assert all((ROOT / rule[1:]).exists() for rule in left_out)
    assert not [one for one in left_out if (unpacked / one[1:]).exists()]
    shown = re.findall(r"\]\((docs/[^)#]*)", (ROOT / "README.md").read_text())
    assert len(shown) > 8
    command = ["git", "-C", str(ROOT), "archive", "--worktree-attributes", "--format=zip", "HEAD"]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    assert len(archive) < 20e6
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        assert set(shown) <= set(file.namelist())


def test_the_pack_works_from_where_the_archive_is_unpacked(unpacked):
    nodes, _, _ = json.loads(printed_by(LOAD, ROOT / "tests", unpacked))
    assert nodes
    code = """
import torch
import cycle_core as cc
G, E = cc.load_generator("portraits"), cc.load_encoder("portraits")
photo = cc.generate(G, cc.sample(G, 1, seed=7))
crop, frame = cc.align(photo, cc.detect(photo, "embedded")[0], G.resolution)
tuned = cc.tune(G, cc.encode(E, crop), crop, cc.TuneSettings(steps=1))
edited = cc.edit(tuned.pivot, cc.load_direction("smile"), 2.0)
pasted = cc.paste(photo, cc.generate(tuned.generator, edited), frame, reference=tuned.image)
print(cc.__file__, float((pasted - photo).abs().max()) > 0.02)
"""
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "CYCLE_CORE_OFFLINE": "1", "HOME": str(unpacked)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=unpacked, env=environment)
    assert done.stdout.split() == [str(unpacked / "cycle_core/__init__.py"), "True"], done.stderr


def test_the_readme_shows_what_it_is_and_then_three_ways_to_install_it():
    text = (ROOT / "README.md").read_text()
    order = [
        text.index(one)
        for one in (
            "moving.webp",
            "**ComfyUI-Manager**",
            "git clone",
            "comfy node install",
            "no\nspace",
        )
    ]
    assert order == sorted(order)
    assert text[: order[0]].count("\n") < 10  # within the first screen


def test_publishing_gives_the_registry_whole_addresses(tmp_path):
    """The step of the workflow that does it, run on a copy."""
    workflow = (ROOT / ".github/workflows/publish.yml").read_text()
    (script,) = re.findall(r"name: Addresses .*\n +run: \|\n((?: {10}.*\n)+)", workflow)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    environment = {**os.environ, "GITHUB_REPOSITORY": "someone/pack", "GITHUB_SHA": "abc"}
    subprocess.run(["bash", "-e", "-c", script], check=True, cwd=tmp_path, env=environment)
    text = (tmp_path / "pyproject.toml").read_text()
    for name in ("icon", "banner"):
        address = f"https://raw.githubusercontent.com/someone/pack/abc/web/{name}.svg"
        assert f'{name.title()} = "{address}"\n' in text
    assert text.endswith('[project.urls]\nRepository = "https://github.com/someone/pack"\n')
    assert "[project.urls]" not in PROJECT  # there it would be given twice

"""The pack in a real ComfyUI that serves: what the editor and other programs get over the wire."""

# aiohttp is the host's
# pyright: reportMissingImports=false
from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from fractions import Fraction
from importlib.util import find_spec

import comfy_real
import make_workflows
import node_texts
import pytest
import torch
import workflow_files

from cycle_core.images.clips import ClipWriter, open_clip
from cycle_core.images.examples import example

pytestmark = pytest.mark.skipif(
    not comfy_real.CHECKOUT or find_spec("aiohttp") is None, reason=comfy_real.REASON
)
ENCODING = ("CycleExample", "CycleLoadGenerator", "CycleLoadEncoder", "CycleAlign")
FOLDER = "cycle-encoding"  # the host serves no help pages of folders with spaces in their names


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("ComfyUI")


@pytest.fixture(scope="module")
def address(base):
    """Of a server with only the pack in its custom_nodes, and without an editor."""
    (base / "editor").mkdir()
    (base / "editor" / "index.html").write_text("no editor")
    with comfy_real.serve(base, FOLDER, "--front-end-root", str(base / "editor")) as url:
        yield url


@asynccontextmanager
async def connected(address):
    """(session, websocket)."""
    import aiohttp

    async with (
        aiohttp.ClientSession(address) as session,
        session.ws_connect("/ws?clientId=test", max_msg_size=0) as socket,
    ):
        yield session, socket


async def get(session, path):
    async with session.get(path) as answer:
        assert answer.status == 200, f"{path}: {answer.status}"
        return await (answer.json() if answer.content_type.endswith("json") else answer.text())


async def post(session, path, content=None):
    async with session.post(path, json=content) as answer:
        return answer.status, await answer.text()


async def follow(session, socket, prompt, interrupt_at=math.inf):
    """Run a prompt: the names and data of all messages, and the previews."""
    status, text = await post(session, "/prompt", {"prompt": prompt, "client_id": "test"})
    assert status == 200, text
    messages, previews = [], []
    async for message in socket:
        if isinstance(message.data, bytes):
            previews.append(message.data)
            continue
        event = message.json()
        messages.append((event["type"], event["data"]))
        if event["type"] == "progress" and event["data"]["value"] >= interrupt_at:
            await post(session, "/interrupt")
        if event["type"] in ("execution_success", "execution_error", "execution_interrupted"):
            return messages, previews
    raise AssertionError("the server closed the connection")


def test_the_editor_finds_nodes_help_texts_and_workflows(address):
    async def look():
        async with connected(address) as (session, _):
            nodes = await get(session, "/object_info")
            pages = f"/extensions/{FOLDER}/docs/CycleAlign.md"
            texts = await get(session, "/i18n")
            templates = await get(session, "/workflow_templates")
            async with session.get("/global_subgraphs") as answer:  # 0.3.64 has none
                blueprints = await answer.json() if answer.status == 200 else None
            return nodes, await get(session, pages), texts, templates, blueprints

    nodes, page, texts, templates, blueprints = asyncio.run(look())
    ours = {name for name, node in nodes.items() if node["category"].startswith("Cycle Encoding/")}
    assert "CyclePivotTune" in ours
    titles = [{nodes[x]["display_name"] for x in group} for group in (ours, nodes.keys() - ours)]
    assert not titles[0] & titles[1]  # a search shows whose a node is
    assert page.startswith("# ")
    for language in ("en", *node_texts.LANGUAGES):
        assert ours == set(texts[language]["nodeDefs"])
    assert sorted(templates[FOLDER]) == workflow_files.names()
    if blueprints is not None:
        packs = [one for one in blueprints.values() if FOLDER in one["info"]["node_pack"]]
        assert {one["name"] for one in packs} == {
            p.stem for p in make_workflows.SUBGRAPHS.iterdir()
        }


def test_a_prompt_shows_progress_and_previews_can_be_cancelled_and_the_next_one_runs(address):
    prompt = workflow_files.read_api("invert-and-edit")
    tune = next(key for key, node in prompt.items() if node["class_type"] == "CyclePivotTune")
    prompt[tune]["inputs"]["steps"] = 5000

    async def talk():
        async with connected(address) as (session, socket):
            cancelled = await follow(session, socket, prompt, interrupt_at=40)
            prompt[tune]["inputs"]["steps"] = 10
            finished = await follow(session, socket, prompt)
            wrong = {**prompt, tune: {**prompt[tune], "inputs": {**prompt[tune]["inputs"]}}}
            wrong[tune]["inputs"]["steps"] = -1
            return cancelled, finished, await post(session, "/prompt", {"prompt": wrong})

    (cancelled, previews), (finished, _), (status, text) = asyncio.run(talk())
    values = [data["value"] for name, data in cancelled if name == "progress"]
    assert values[-1] < 200  # what was on its way when it was cancelled
    assert cancelled[-1][0] == "execution_interrupted"
    assert cancelled[-1][1]["node_type"] == "CyclePivotTune"
    assert previews
    assert all(preview[8:10] == b"\xff\xd8" for preview in previews)  # JPEG
    assert finished[-1][0] == "execution_success"
    assert [data for name, data in finished if name == "executed"]
    assert status == 400
    assert "steps" in text


def test_whatever_is_wrong_is_told_in_a_sentence_and_the_server_keeps_serving(address):
    def broken(kind, **inputs):
        prompt = workflow_files.read_api("edit-strength-strip")
        for node in prompt.values():
            if node["class_type"] == kind:
                node["inputs"] |= inputs
        return prompt

    refused = {
        "put the file": broken("CycleLoadGenerator", name="gone.pkl"),
        "truncation": broken("CycleGenerate", truncation=-1.0),
        "CycleGone": {"1": {"class_type": "CycleGone", "inputs": {}}},
    }
    failing = {
        "strengths": broken("CycleLatentEdit", strengths="a lot"),
        "layers": broken("CycleLatentEdit", layers="77"),
    }

    async def talk():
        async with connected(address) as (session, socket):
            answers = {
                key: await post(session, "/prompt", {"prompt": prompt})
                for key, prompt in refused.items()
            }
            ends = {
                key: (await follow(session, socket, prompt))[0][-1]
                for key, prompt in failing.items()
            }
            right = workflow_files.read_api("edit-strength-strip")
            return answers, ends, (await follow(session, socket, right))[0][-1]

    answers, ends, last = asyncio.run(talk())
    for key, (status, text) in answers.items():
        assert status == 400
        assert key in text
        assert "Traceback" not in text
    for name, data in ends.values():
        assert name == "execution_error"
        assert data["node_type"] == "CycleLatentEdit"
        assert "\n" not in data["exception_message"].strip()
        assert data["exception_message"].strip().endswith(".")
    assert last[0] == "execution_success"


def test_a_photo_that_was_not_aligned_is_noticed_on_the_node_that_encodes_it(address):
    prompt = workflow_files.read_api("invert-and-edit")
    keys = {node["class_type"]: key for key, node in prompt.items()}
    few = {key: prompt[key] for kind, key in keys.items() if kind in ENCODING}

    def encoding(*images):
        return {
            **few,
            "code": comfy_real.node(
                "CycleEncode", images=images, encoder=(keys["CycleLoadEncoder"], 0), space="auto"
            ),
            "save": comfy_real.node("CycleSavePivot", code=("code", 0), filename_prefix="x"),
        }

    async def talk():
        async with connected(address) as (session, socket):
            whole = await follow(session, socket, encoding(keys["CycleExample"], 0))
            aligned = await follow(session, socket, encoding(keys["CycleAlign"], 0))
            return whole, aligned

    for (messages, binary), noticed in zip(asyncio.run(talk()), (True, False), strict=True):
        assert messages[-1][0] == "execution_success"
        assert any(b"Put that node before this one" in one for one in binary) is noticed


def test_a_video_of_one_s_own_keeps_its_sound_and_its_frames_without_a_face(address, base):
    """The template as it is, but for its file, `no_face` and fewer steps."""
    from sound import seconds_of_sound, write_sound

    people = example("clip")[:4]
    frames = torch.cat([people, torch.zeros_like(people)])
    write_sound(base / "tone.m4a", 1.0)
    with ClipWriter(base / "input" / "own.mp4", 8, sound=base / "tone.m4a") as writer:
        for k, frame in enumerate(frames):
            writer.write(frame[None], Fraction(k, 8))
    prompt = workflow_files.read_api("video")
    keys = {node["class_type"]: key for key, node in prompt.items()}
    prompt[keys["CycleClip"]]["inputs"]["file"] = "own.mp4"
    prompt[keys["CycleAlign"]]["inputs"]["no_face"] = "skip"
    prompt[keys["CyclePivotTune"]]["inputs"]["steps"] = "2"

    async def talk():
        async with connected(address) as (session, socket):
            return (await follow(session, socket, prompt))[0]

    assert asyncio.run(talk())[-1][0] == "execution_success"
    (saved,) = (base / "output" / "cycle").glob("video*.mp4")
    assert seconds_of_sound(saved) == pytest.approx(1.0, abs=0.1)
    before, after = (
        torch.cat([frame.image for frame in open_clip(path)])
        for path in (base / "input" / "own.mp4", saved)
    )
    changed = (after - before).abs().amax((1, 2, 3)) > 0.3
    assert changed.tolist() == [True] * 4 + [False] * 4
    assert open_clip(saved).rate == 8

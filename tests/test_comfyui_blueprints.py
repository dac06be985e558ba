"""The blueprints as single nodes in a real ComfyUI: what they give, and say of wrong input."""

from __future__ import annotations

import json
from importlib.util import find_spec

import comfy_real
import make_workflows
import pytest
import torch
from blueprint_files import expanded
from comfy_real import collect, node

pytestmark = pytest.mark.skipif(
    not comfy_real.CHECKOUT or find_spec("aiohttp") is None, reason=comfy_real.REASON
)
QUICK = {"CycleRefinePivot": "2", "CyclePivotTune": "2"}
PHOTO = {"photo": node("CycleExample")}
GROUP = {"photo": node("CycleExample", which="group")}
NOBODY = {"photo": node("EmptyImage", width=96, height=80, batch_size=2, color=0x7F7F7F)}
CLIP = {
    "frames": node("CycleExample", which="clip"),
    "first": node("ImageFromBatch", image=("frames", 0), batch_index=0, length=3),
}
EDITS = ("Edit a face in a photo", "Edit a face in a video")


def blueprint(name, source, **given):
    """A prompt with the blueprint after a source of pictures, whose outputs are collected."""
    file = json.loads((make_workflows.SUBGRAPHS / f"{name}.json").read_text())
    if name == "Edit a face in a video":
        last = "first" if "first" in source else "photo"
        source = {**source, "video": node("CreateVideo", images=(last, 0), fps=12.0)}
        given = {"video": ("video", 0), **given}
    else:
        given = {"images": ("photo", 0), **given}
    inside, outputs = expanded(file, **given)
    for entry in inside.values():
        if entry["class_type"] in QUICK and "steps" not in given:
            entry["inputs"]["steps"] = QUICK[entry["class_type"]]
    return {**source, **inside, **collect(**outputs)}


def told(comfy, prompt):
    """What stands on the node, of a check before the run or of the run."""
    _, _, _, errors = comfy.validate(prompt)
    if errors:
        message = " ".join(one["details"] for entry in errors.values() for one in entry["errors"])
    else:
        with pytest.raises(RuntimeError) as error:
            comfy.run(prompt)
        message = str(error.value)
    assert "\n" not in message.strip()
    assert "Traceback" not in message
    return message


def test_a_photo_is_edited_and_keeps_its_size(run):
    got = run({**blueprint(EDITS[0], PHOTO), **collect(before=("photo", 0))})
    assert got["images"].shape == got["before"].shape
    assert 0 < (got["images"] - got["before"]).abs().amax(-1).gt(0.02).float().mean() < 0.7
    assert got["face"].shape == (1, 256, 256, 3)


def test_all_faces_of_a_group_are_edited(run):
    got = run(blueprint(EDITS[0], GROUP, face="all"))
    assert len(got["face"]) == 3
    assert len(got["images"]) == 1


def test_a_face_is_inverted(run):
    got = run(blueprint("Invert a face", PHOTO))
    assert got["pivot"].batch == len(got["reconstruction"]) == len(got["crops"]) == 1


def test_a_face_is_chosen_by_its_number_and_a_preset_for_all_steps(run):
    given = {"face": "from the left", "preset": "instant"}
    chosen = [run(blueprint(EDITS[0], GROUP, number=n, **given))["face"] for n in (0, 2)]
    assert all(len(one) == 1 for one in chosen)
    assert (chosen[0] - chosen[1]).abs().mean() > 0.05


def test_a_face_is_chosen_by_a_point_on_it(run):
    instant = {"face": "all", "preset": "instant"}
    everybody = run(blueprint("Invert a face", GROUP, **instant))["crops"]
    got = run(blueprint("Invert a face", GROUP, points="115, 200", **instant))["crops"]
    assert torch.equal(got, everybody[:1])


def test_one_person_is_tuned_to(run):
    got = run(blueprint("Tune to one person", PHOTO, steps="1"))
    assert got["tuned"].tuned is not None


def test_a_video_is_edited_in_every_frame_and_keeps_its_pace(run):
    sound = {"waveform": torch.rand(1, 1, 4000) - 0.5, "sample_rate": 16000}
    prompt = blueprint(EDITS[1], CLIP)
    prompt["video"]["inputs"]["audio"] = sound
    got = run(prompt)
    assert len(got["images"]) == 3
    parts = got["video"].get_components()
    assert float(parts.frame_rate) == 12.0
    assert torch.equal(parts.audio["waveform"], sound["waveform"])


@pytest.mark.parametrize("name", [*EDITS, "Invert a face", "Tune to one person"])
def test_pictures_without_a_face_are_told_with_what_can_be_done(comfy, name):
    message = told(comfy, blueprint(name, NOBODY))
    assert "No face was found" in message
    assert "On this node: choose another detector" in message


def test_a_video_with_faces_in_half_of_its_frames_keeps_the_others_as_they_are(run):
    source = {
        **CLIP,
        "nobody": node("EmptyImage", width=64, height=64, batch_size=2, color=0),
        "both": node("ImageBatch", image1=("first", 0), image2=("nobody", 0)),
        "video": node("CreateVideo", images=("both", 0), fps=12.0),
    }
    inside = blueprint(EDITS[1], CLIP, no_face="skip")
    got = run({**inside, **source, **collect(before=("both", 0))})
    assert len(got["images"]) == 5
    changed = (got["images"] - got["before"]).abs().amax((1, 2, 3)) > 0.1
    assert changed.tolist() == [True] * 3 + [False] * 2


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        (EDITS[0], {"generator": "gone.pkl"}, "There is no generator gone.pkl"),
        (EDITS[0], {"encoder": "gone.pt"}, "There is no encoder gone.pt"),
        (EDITS[0], {"direction": "frown"}, "There is no direction frown"),
        (EDITS[0], {"strength": 1e9}, "strength"),
        ("Tune to one person", {"steps": "many"}, "steps is 'many': write auto, or a whole number"),
        ("Tune to one person", {"steps": "-1"}, "steps is '-1': write auto, or a whole number"),
    ],
)
def test_a_wrong_value_is_told_before_the_run(comfy, name, given, says):
    prompt = blueprint(name, PHOTO, **given)
    assert comfy.validate(prompt)[3]
    assert says in told(comfy, prompt)


@pytest.mark.parametrize(
    ("name", "given"), [(EDITS[0], {"face": "smallest"}), (EDITS[1], {"no_face": "perhaps"})]
)
def test_a_value_of_no_list_is_told_by_hosts_that_check_the_lists_of_such_nodes(comfy, name, given):
    prompt = blueprint(name, PHOTO, **given)
    old = comfy_real.is_old()
    assert bool(comfy.validate(prompt)[3]) is not old
    if not old:
        assert all(value in told(comfy, prompt) for value in given.values())

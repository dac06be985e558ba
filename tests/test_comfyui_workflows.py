"""The shipped workflows in a real ComfyUI: they run, and give what the library gives."""

# `comfy` is the host's
# pyright: reportMissingImports=false
from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec

import comfy_real
import pytest
import torch
import workflow_files
from comfy_real import collect

import cycle_core as cc
from cycle_core.directions.text import parse_numbers
from cycle_core.faces.video import Places, align_all, cover, paste_all
from cycle_core.images.examples import example
from cycle_core.images.io import from_comfy, to_comfy

pytestmark = pytest.mark.skipif(
    not comfy_real.CHECKOUT or find_spec("aiohttp") is None, reason=comfy_real.REASON
)
STEPS = {"CycleRefinePivot": 3, "CyclePivotTune": 20}  # of 20 and 100: as good to compare


# ------------------------------------------------------------------ by the library
@dataclass(frozen=True)
class Inverted:
    photo: torch.Tensor
    crops: torch.Tensor
    places: Places
    code: cc.Code
    pivot: cc.Code
    tuned: cc.Tuned


def sent(pictures):
    """As they are after a link: tuning makes a large difference of a rounded bit."""
    return from_comfy(to_comfy(pictures))


@cache
def models():
    return cc.load_generator("portraits"), cc.load_encoder("portraits")


@cache
def inverted(which: str, face: str = "largest", smoothing: float = 0.0) -> Inverted:
    """An example photo, inverted; one face is refined before it is tuned."""
    from cycle_core.measure.perceptual import load_perceptual
    from cycle_core.measure.recognition import load_identity
    from cycle_core.run.pipeline import preset

    G, E = models()
    refining, tuning = preset("auto", G)
    lpips, identity = load_perceptual("loss", "embedded"), load_identity("loss", "embedded")
    photo = sent(example(which))
    crops, places = align_all(photo, G.resolution, choice=face, smoothing=smoothing)
    crops = sent(crops)
    code = pivot = cc.encode(E, crops, generator=G)
    if which == "portrait":
        refining = replace(refining, steps=STEPS["CycleRefinePivot"])
        pivot = cc.refine(E, G, crops, refining, perceptual=lpips, identity=identity).code
    tuning = tuning.in_steps(STEPS["CyclePivotTune"])
    tuned = cc.tune(G, pivot, crops, tuning, perceptual=lpips)
    return Inverted(photo, crops, places, code, pivot, tuned)


def edited(code, name, by, **options):
    return cc.edit(code, cc.load_direction(name), by, **options)


def pasted(of: Inverted, code):
    rendered = cc.generate(of.tuned.generator, code)
    return paste_all(of.photo, sent(rendered), of.places, sent(of.tuned.image))


def sampled(seed, count=1):
    return cc.sample(models()[0], count, seed, 0.7)


def rendered(code):
    return cc.generate(models()[0], code)


def smiling_photo():
    of = inverted("portrait")
    return pasted(of, edited(of.pivot, "smile", 1.0))


def smiling_with_glasses():
    of = inverted("portrait")
    return pasted(of, edited(edited(of.pivot, "smile", 1.0), "glasses", 1.5))


def photo_with_glasses():
    of = inverted("portrait")
    return pasted(of, edited(of.pivot, "glasses", 2.0))


def compared_pivots(strength=None):
    from cycle_core.measure.comparison import Judge, compare

    of = inverted("portrait")

    def at(code):
        return code if strength is None else edited(code, "smile", strength)

    images = {
        "encoded": rendered(at(of.code)),
        "refined": rendered(at(of.pivot)),
        "tuned": cc.generate(of.tuned.generator, at(of.pivot)),
    }
    images = {name: sent(picture) for name, picture in images.items()}
    return compare(of.crops, images, Judge("cpu", embedded=False), 192, columns=2)[0]


def strip(pictures, columns, labels="", cell=256):
    from cycle_core.images.sheet import contact_sheet

    each = [one[None] for one in sent(pictures)]
    names = [f"{number:+g}" for number in parse_numbers(labels) or ()]
    starts = range(0, len(each), columns)
    captions = [names[k : k + columns] for k in starts] if names else []
    return contact_sheet([each[k : k + columns] for k in starts], cell=cell, captions=captions)


def ageing():
    numbers = parse_numbers("-3:3:7")
    aged = edited(sampled(17), "age", numbers, keep=[cc.load_direction("glasses")])
    return strip(rendered(aged), 4, "-3:3:7")


def morphing():
    G, _ = models()
    return rendered(cc.slerp(sampled(5), sampled(26), parse_numbers("0:1:9"), G.w_avg))


def smiling(seed):
    return rendered(edited(sampled(seed), "smile", 1.5))


def video():
    of = inverted("clip", smoothing=2.0)
    return pasted(of, edited(of.code, "glasses", 2.0))


def group():
    of = inverted("group", "all")
    return pasted(of, edited(edited(of.code, "smile", [1.0, 0, 1]), "glasses", [0.0, 2, 0]))


def learnt():
    from cycle_core.directions.discovery import direction_from_pictures

    G, E = models()
    glasses = cc.load_direction("glasses")
    people = sampled(1, count=24)
    having, lacking = (sent(rendered(cc.edit(people, glasses, to=to))) for to in (1.5, -1.5))
    found = direction_from_pictures(E, having, lacking, "mine", G)
    return strip(rendered(cc.edit(sampled(21), found, parse_numbers("-2:2:5"))), 3, "-2:2:5", 192)


EXPECTED = {
    "invert-and-edit": {"edited": smiling_photo},
    "live-edit": {"live": smiling_with_glasses},
    "own-generator-and-encoder": {"own": photo_with_glasses},
    "compare-pivots": {
        "pivots": compared_pivots,
        "pivots_edited": lambda: compared_pivots(2.0),
    },
    "edit-strength-strip": {"strip": ageing},
    "morph": {"morph": lambda: strip(morphing(), 3), "morph_moving": morphing},
    "edit-then-upscale": {"upscaled": lambda: smiling(4)},
    "edit-then-img2img": {"before_img2img": lambda: smiling(3)},
    "video": {"video": video},
    "group-photo": {"group": group},
    "directions-from-images": {"found": learnt},
}


# ------------------------------------------------------------------ by ComfyUI
def prompt_of(name):
    """The workflow as the editor sends it, which is the form for the API; with fewer steps."""
    prompt = workflow_files.to_api(workflow_files.read(name))
    assert prompt == workflow_files.read_api(name)
    for node in prompt.values():
        if node["class_type"] in STEPS:
            node["inputs"]["steps"] = STEPS[node["class_type"]]
    return workflow_files.self_contained(prompt)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_workflow_gives_what_the_library_gives(run, comfy, name):
    shutil.rmtree(comfy.base / "output" / "cycle", ignore_errors=True)
    prompt = prompt_of(name)
    saved = comfy_real.saved(prompt)
    got = run({**prompt, **collect(**saved)})
    assert set(saved) == set(EXPECTED[name])
    for key, make in EXPECTED[name].items():
        expected = to_comfy(make())
        if name == "edit-then-upscale":
            expected = upscaled(expected, 4)
        assert got[key].shape == expected.shape
        assert float((got[key] - expected).abs().max()) < 1e-3, key
        assert list((comfy.base / "output" / "cycle").glob(f"{key}_0*"))


def upscaled(images, factor):
    import comfy.utils

    height, width = images.shape[1] * factor, images.shape[2] * factor
    channels_first = images.movedim(-1, 1)
    return comfy.utils.common_upscale(channels_first, width, height, "lanczos", "disabled").movedim(
        1, -1
    )


def test_every_workflow_is_compared():
    assert set(workflow_files.names()) == set(EXPECTED)


@pytest.mark.parametrize("name", workflow_files.names())
def test_the_core_s_nodes_are_as_this_version_has_them(comfy, name):
    """Widgets are saved by position: an input that another version adds or moves would be seen."""
    workflow = workflow_files.read(name)
    for node in workflow_files.nodes(workflow):
        kinds = comfy.nodes.NODE_CLASS_MAPPINGS[node["type"]].INPUT_TYPES()
        known = {**kinds.get("required", {}), **kinds.get("optional", {})}
        for later in ("compare_view", "bit_depth"):  # which 0.3.64 has not
            known.pop(later, None)
        names = [one["name"] for one in node["inputs"] if one["name"] != "upload"]
        assert set(names) == set(known)
        widgets = list(workflow_files.widgets(node))
        assert [one for one in known if one in widgets] == widgets


def test_img2img_lacks_nothing_but_the_checkpoint(comfy):
    prompt = workflow_files.read_api("edit-then-img2img")
    _, _, outputs, errors = comfy.validate(prompt)
    assert [prompt[key]["_meta"]["title"] for key in outputs] == ["Save Image (the edit itself)"]
    (wrong,) = [
        (prompt[key]["class_type"], error["type"], error["extra_info"]["input_name"])
        for key, entry in errors.items()
        for error in entry["errors"]
    ]
    assert wrong == ("CheckpointLoaderSimple", "value_not_in_list", "ckpt_name")


# ------------------------------------------------------------------ flicker
FLICKERS = 1.18  # times the clip's own trembling: the template's has 1.13, glasses on and off 1.23


def trembling(video, where):
    """How far pixels are from the middle of the frames before and after, in the mean: of an even
    movement nothing, of flicker twice its size."""
    middle = (video[2:] + video[:-2]) / 2
    return float((video[1:-1] - middle).abs()[where.expand_as(middle)].mean())


@pytest.fixture(scope="module")
def shaken():
    """The clip, its edit, and where all of three frames in a row are face, or nothing of it."""
    of = inverted("clip", smoothing=2.0)
    covered = cover(of.places, of.photo)
    rows = torch.stack([covered[:-2], covered[1:-1], covered[2:]])
    return of, video(), rows.amin(0) > 0.5, rows.amax(0) == 0


def test_a_video_shares_one_generator_and_does_not_flicker(shaken):
    of, after, face, around = shaken
    assert of.tuned.pivot.batch == len(of.photo) == 16
    assert torch.equal(after[1:-1][around.expand_as(of.photo[1:-1])],
                       of.photo[1:-1][around.expand_as(of.photo[1:-1])])  # fmt: skip
    change = (after - of.photo).abs()[1:-1]
    assert float(change[face.expand_as(change)].mean()) > 0.05  # there is an edit that could
    # glasses have more contrast than the skin which they cover, and move as the head does
    assert trembling(after, face) < FLICKERS * trembling(of.photo, face)


def test_flicker_would_be_seen(shaken):
    """Two generators that take turns: what happens where each frame is tuned by itself."""
    of, after, face, _ = shaken
    other = pasted(of, edited(of.code, "glasses", -2.0))
    alternating = torch.stack([(after, other)[i % 2][i] for i in range(len(after))])
    assert trembling(alternating, face) > FLICKERS * trembling(of.photo, face)

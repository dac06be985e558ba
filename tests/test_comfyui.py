"""The pack in a real ComfyUI: loaded, checked and run as users do."""

from __future__ import annotations

import json
from importlib.util import find_spec

import comfy_real
import node_texts
import pytest
import torch
from comfy_real import MODELS, SAMPLED, collect, node

from cycle_core.invert.settings import REFINE_PRESETS

pytestmark = pytest.mark.skipif(
    not comfy_real.CHECKOUT or find_spec("aiohttp") is None, reason=comfy_real.REASON
)


def state(held):
    return {name: x.clone() for name, x in held.module.state_dict().items()}


def same(before, held):
    return all(torch.equal(before[name], x) for name, x in held.module.state_dict().items())


# ------------------------------------------------------------------ registration
def test_the_pack_loads_from_any_folder_name_with_all_its_nodes(comfy):
    assert comfy.loaded
    known = json.loads(node_texts.SNAPSHOT.read_text())
    assert list(comfy.classes()) == list(known)
    assert comfy.nodes.EXTENSION_WEB_DIRS[comfy_real.FOLDER].endswith("web")


def test_every_definition_is_valid_and_as_saved_workflows_know_it(comfy):
    known = json.loads(node_texts.SNAPSHOT.read_text())
    for name, cls in comfy.classes().items():
        cls.GET_SCHEMA()  # validates
        info = json.loads(json.dumps(cls.GET_NODE_INFO_V1()))
        kinds = {**info["input"].get("required", {}), **info["input"].get("optional", {})}
        kinds.pop("compare_view", None)  # the slider, which 0.3.64 has not
        assert set(kinds) == {one["id"] for one in known[name]["inputs"]}
        assert info["output"] == [one["type"] for one in known[name]["outputs"]]
        assert info["output_node"] == known[name]["output_node"]
        assert all(info["output_tooltips"])
        assert all(spec[1]["tooltip"] for spec in kinds.values())


def test_widgets_come_in_the_order_of_the_schema(comfy):
    """The editor lists those that are needed first; saved values have no names."""
    for name, known in json.loads(node_texts.SNAPSHOT.read_text()).items():
        kinds = comfy.classes()[name].INPUT_TYPES()
        order = [*kinds.get("required", {}), *kinds.get("optional", {})]
        widgets = [one["id"] for one in known["inputs"] if "default" in one or "options" in one]
        assert [one for one in order if one in widgets] == widgets


def test_model_folders_show_files_of_their_kind_alone(comfy):
    folder = comfy.base / "models" / "stylegan"
    assert folder.is_dir()
    (folder / "mine.pkl").touch()
    (folder / "notes.txt").touch()
    options = comfy.classes()["CycleLoadGenerator"].INPUT_TYPES()["required"]["name"]
    listed = options[0] if isinstance(options[0], list) else options[1]["options"]
    assert listed == ["portraits", "mine.pkl"]


# ------------------------------------------------------------------ running
def test_a_sampled_portrait_is_the_library_s(run):
    from cycle_core.checkpoints.registry import load_generator
    from cycle_core.images.io import to_comfy
    from cycle_core.invert.generate import generate
    from cycle_core.invert.sampling import sample

    got = run({**SAMPLED, **collect(image=("photo", 0))})
    G = load_generator("portraits")
    expected = to_comfy(generate(G, sample(G, 1, 7, 0.7)))
    assert got["inference mode"]
    assert torch.allclose(got["image"], expected, atol=1e-5)


def test_what_did_not_change_is_not_run_again(run, comfy):
    prompt = {**SAMPLED, **collect(image=("photo", 0))}
    run(prompt)
    run(prompt)
    assert set(SAMPLED) - {"E"} <= set(comfy.sent("execution_cached")[0]["nodes"])
    run({**prompt, "code": node("CycleSampleCodes", generator=("G", 0), seed=8)})
    assert not {"code", "photo"} & set(comfy.sent("execution_cached")[0]["nodes"])


def test_a_photo_of_odd_size_goes_through_all_and_comes_back(run, comfy, portrait):
    from PIL import Image

    photo = Image.new("RGB", (213, 171), (120, 130, 140))
    photo.paste(Image.open(portrait).resize((128, 128)), (41, 22))
    photo.save(comfy.base / "input" / "photo.png")
    got = run(
        {
            **MODELS,
            "photo": node("LoadImage", image="photo.png"),
            "align": node("CycleAlign", images=("photo", 0), generator=("G", 0), no_face="centre"),
            "code": node("CycleEncode", images=("align", 0), encoder=("E", 0), generator=("G", 0)),
            "smile": node("CycleLoadDirection", name="smile"),
            "edit": node("CycleLatentEdit", code=("code", 0), direction=("smile", 0)),
            "before": node("CycleGenerate", code=("code", 0), generator=("G", 0)),
            "after": node("CycleGenerate", code=("edit", 0), generator=("G", 0)),
            "paste": node(
                "CyclePasteBack",
                images=("photo", 0),
                crops=("after", 0),
                frames=("align", 1),
                reference=("before", 0),
            ),
            "outside": node("InvertMask", mask=("paste", 1)),
            "shown": node("MaskToImage", mask=("outside", 0)),
            "large": node(
                "ImageScaleBy", image=("paste", 0), upscale_method="lanczos", scale_by=1.5
            ),
            **collect(
                photo=("photo", 0), pasted=("paste", 0), shown=("shown", 0), large=("large", 0)
            ),
        }
    )
    assert got["pasted"].shape == got["photo"].shape == got["shown"].shape == (1, 171, 213, 3)
    assert got["large"].shape == (1, 256, 320, 3)
    changed = (got["pasted"] - got["photo"]).abs().amax(-1)
    assert float(changed.max()) > 0.02
    assert float(changed[got["shown"][..., 0] == 1].max()) < 1e-3


def test_a_batch_of_seventeen_goes_through(run):
    got = run(
        {
            **MODELS,
            "photos": node("EmptyImage", width=97, height=61, batch_size=17, color=0x806040),
            "align": node("CycleAlign", images=("photos", 0), generator=("G", 0), no_face="centre"),
            "code": node("CycleEncode", images=("align", 0), encoder=("E", 0)),
            "drawn": node("CycleGenerate", code=("code", 0), generator=("G", 0)),
            **collect(drawn=("drawn", 0)),
        }
    )
    assert got["drawn"].shape[0] == 17


def inverting(refine=2, tune=4):
    return {
        **SAMPLED,
        "pivot": node(
            "CycleRefinePivot",
            images=("photo", 0),
            encoder=("E", 0),
            generator=("G", 0),
            steps=refine,
        ),
        "tuned": node(
            "CyclePivotTune",
            images=("photo", 0),
            generator=("G", 0),
            pivot=("pivot", 0),
            steps=tune,
        ),
        **collect(
            G=("G", 0), E=("E", 0), photo=("photo", 0), refined=("pivot", 1), tuned=("tuned", 1)
        ),
    }


def test_tuning_comes_nearer_changes_no_model_and_shows_how_far_it_is(run, comfy):
    held = run({**MODELS, **collect(G=("G", 0), E=("E", 0))})
    before = state(held["G"]), state(held["E"])
    got = run(inverting(refine=2, tune=20))
    assert got["G"] is held["G"]
    assert same(before[0], held["G"])
    assert same(before[1], held["E"])

    def distance(name):
        return float((got[name] - got["photo"]).square().mean())

    assert distance("tuned") < distance("refined")
    assert (20, 20) in [(value, total) for value, total, _ in comfy.progress]
    previews = [preview for *_, preview in comfy.progress if preview]
    assert {(kind, size) for kind, _, size in previews} == {("JPEG", 512)}
    # refinement compares smaller pictures, tuning whole ones
    widths = [picture.width for _, picture, _ in previews]
    assert (widths[0], widths[-1]) == (REFINE_PRESETS["embedded"].size, held["G"].module.resolution)


@pytest.mark.parametrize("steps", [(50, 4), (1, 50)], ids=["refining", "tuning"])
def test_an_interruption_ends_it_at_once_and_leaves_all_models_as_they_were(run, comfy, steps):
    held = run({**MODELS, **collect(G=("G", 0), E=("E", 0))})
    before = state(held["G"]), state(held["E"])
    prompt = inverting(*steps)
    prompt["pivot"]["inputs"]["seed"] = steps[0]  # nothing cached

    def cancel(value):
        if value >= 2:
            comfy.interrupt()

    comfy.on_progress = cancel
    run(prompt)
    assert len(comfy.sent("execution_interrupted")) == 1
    assert comfy.progress[-1][0] < 10
    assert same(before[0], held["G"])
    assert same(before[1], held["E"])
    comfy.on_progress = None
    run({**SAMPLED, **collect(image=("photo", 0))})
    assert comfy.sent("execution_success")


def test_a_saved_pivot_is_in_the_list_at_once_and_the_same(run, comfy):
    got = run(
        {
            **SAMPLED,
            "save": node("CycleSavePivot", code=("code", 0), filename_prefix="cycle/pivot"),
            **collect(code=("save", 0)),
        }
    )
    (saved,) = [one["output"]["files"][0] for one in comfy.sent("executed") if one["output"]]
    name = f"{saved['subfolder']}/{saved['filename']} [output]"
    again = run({"load": node("CycleLoadPivot", file=name), **collect(code=("load", 0))})
    assert torch.equal(again["code"].w, got["code"].w)


def test_what_went_wrong_is_told_on_the_node_and_the_next_run_works(run):
    nothing = {
        **MODELS,
        "photo": node("EmptyImage", width=90, height=70, batch_size=1, color=0),
        "align": node("CycleAlign", images=("photo", 0), no_face="error"),
        **collect(crops=("align", 0)),
    }
    with pytest.raises(RuntimeError, match=r"CycleAlign: .*[Nn]o face"):
        run(nothing)
    nothing["align"] = node("CycleAlign", images=("photo", 0), no_face="skip")
    nothing["code"] = node("CycleEncode", images=("align", 0), encoder=("E", 0))
    nothing |= collect(code=("code", 0))
    with pytest.raises(RuntimeError, match="CycleEncode: The batch of pictures is empty"):
        run(nothing)
    assert run({**SAMPLED, **collect(image=("photo", 0))})["image"].shape[0] == 1

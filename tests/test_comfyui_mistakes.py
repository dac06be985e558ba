"""What users of a real ComfyUI see when something is wrong, or of another version of the pack."""

from __future__ import annotations

import asyncio
import json
import re
from importlib.util import find_spec

import comfy_real
import pytest
import torch
from comfy_real import MODELS, SAMPLED, collect, edited, node
from test_published_encoders import small

pytestmark = pytest.mark.skipif(
    not comfy_real.CHECKOUT or find_spec("aiohttp") is None, reason=comfy_real.REASON
)

FIRST_VERSION = comfy_real.ROOT / "tests" / "fixtures" / "workflows" / "0.1.0.json"
SAVING = ("SaveImage", "PreviewImage")
PICTURE = {**SAMPLED, **collect(x=("photo", 0))}


def told(comfy, prompt):
    """What stands on the node, of a check before the run or of the run; then a right one runs."""
    known, _, _, errors = comfy.validate(prompt)
    if errors:
        message = " ".join(one["details"] for entry in errors.values() for one in entry["errors"])
    else:
        assert known
        with pytest.raises(RuntimeError) as error:
            comfy.run(prompt)
        message = str(error.value)
        (failed,) = comfy.sent("execution_error")
        assert re.fullmatch(r"cycle_core\.\w+", failed["exception_type"])
    assert "Traceback" not in message
    assert 'File "' not in message
    assert "\n" not in message.strip()
    assert comfy.run(PICTURE)["x"].shape == (1, 256, 256, 3)
    return message


def drawn_by(name):
    return {
        **SAMPLED,
        "other": node("CycleLoadGenerator", name=name),
        "last": node("CycleGenerate", code=("code", 0), generator=("other", 0)),
        **collect(x=("last", 0)),
    }


@pytest.fixture
def folder(comfy, run):
    return comfy.base / "models" / "stylegan"


def test_a_model_file_that_is_gone_is_told_with_its_folder(comfy, folder):
    message = told(comfy, drawn_by("gone.pkl"))
    assert f"put the file (.pkl, .pt, .pth, .safetensors) into {folder}" in message
    saved = {"load": node("CycleLoadPivot", file="cycle/gone.pivot.safetensors [output]"),
             **collect(x=("load", 0))}  # fmt: skip
    assert "There is no file cycle/gone.pivot.safetensors [output]: save one" in told(comfy, saved)


def test_a_wrong_name_of_a_direction_is_told_once_with_the_one_that_was_meant(comfy):
    prompt = {
        **SAMPLED,
        "dir": node("CycleLoadDirection", name="smlie"),
        "edit": node("CycleLatentEdit", code=("code", 0), direction=("dir", 0)),
        **collect(x=("edit", 0)),
    }
    message = told(comfy, prompt)
    assert message.count("There is no direction smlie (did you mean smile?)") == 1


def test_a_file_of_another_kind_is_told_what_it_is(comfy, folder):
    encoder = comfy_real.ROOT / "cycle_core" / "assets" / "portraits_encoder.safetensors"
    (folder / "encoder.safetensors").write_bytes(encoder.read_bytes())
    (folder / "text.pkl").write_text("This is no model.")
    (folder / "empty.pt").touch()
    (folder / "cut.safetensors").write_bytes(encoder.read_bytes()[:5000])
    for name in ("encoder.safetensors", "text.pkl", "empty.pt", "cut.safetensors"):
        assert re.match(f"CycleLoadGenerator: .*{name}", told(comfy, drawn_by(name)))
    assert "encoder" in told(comfy, drawn_by("encoder.safetensors")).split("safetensors", 1)[1]


def test_an_encoder_that_lacks_its_mean_code_is_told_what_to_add(comfy):
    state = {f"encoder.{name}": tensor for name, tensor in small().items()}
    content = {"state_dict": state, "opts": {"encoder_type": "Encoder4Editing"}}
    torch.save(content, comfy.base / "models" / "gan_encoders" / "no_mean.pt")
    prompt = {**SAMPLED, "E": node("CycleLoadEncoder", name="no_mean.pt"), **collect(x=("E", 0))}
    message = told(comfy, prompt)
    assert re.match(
        "CycleLoadEncoder: .*no_mean.pt holds no mean code .*: add .*generator", message
    )


@pytest.mark.skipif(find_spec("insightface") is not None, reason="nothing is missing")
def test_a_missing_package_is_told_with_what_to_install(comfy):
    align = node("CycleAlign", images=("photo", 0), generator=("G", 0), detector="insightface")
    message = told(comfy, {**SAMPLED, "align": align, **collect(x=("align", 0))})
    assert re.match("CycleAlign: .*insightface.*pip install insightface", message)


def test_codes_and_encoders_of_another_generator_are_told(comfy, run, folder):
    from cycle_core.checkpoints.native import save_model
    from cycle_core.models.generator import Generator
    from cycle_core.models.stylegan2 import StyleGAN2Config

    config = StyleGAN2Config(resolution=256, z_dim=73, w_dim=128, channels=(8,) * 7)
    state = Generator(config).state_dict()
    save_model(folder / "another.safetensors", "generator", config, state)
    message = told(comfy, drawn_by("another.safetensors"))
    assert re.match("CycleGenerate: The code was made for the generator .*, but this is ", message)
    encode = {
        **SAMPLED,
        "other": node("CycleLoadGenerator", name="another.safetensors"),
        "last": node("CycleEncode", images=("photo", 0), encoder=("E", 0), generator=("other", 0)),
        **collect(x=("last", 0)),
    }
    assert re.match("CycleEncode: The encoder .* generator", told(comfy, encode))
    encode["last"]["inputs"]["same_space"] = True  # on purpose
    encode["drawn"] = node(
        "CycleGenerate", generator=("other", 0), code=("last", 0), same_space=True
    )
    got = run({**encode, **collect(x=("last", 0), picture=("drawn", 0))})
    assert got["x"].batch == 1
    assert got["picture"].shape == (1, 256, 256, 3)


def test_a_picture_without_a_face_is_told(comfy, run):
    prompt = {
        "photo": node("EmptyImage", width=90, height=70, batch_size=1, color=0),
        **edited(("photo", 0), no_face="error"),
        **collect(x=("paste", 0)),
    }
    assert re.match("CycleAlign: No face", told(comfy, prompt))


def test_where_memory_ends_half_the_batch_is_tried_and_then_it_is_told(comfy, run):
    """The limit is set where a network draws; everything else is as it is."""
    held = run({**MODELS, **collect(G=("G", 0))})["G"]
    limit, tried = 4, []

    def measure(_, inputs):
        tried.append(len(inputs[0]))
        if len(inputs[0]) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def drawing(seed):
        many = node("CycleSampleCodes", generator=("G", 0), count=9, seed=seed)
        return {**SAMPLED, "code": many, **collect(x=("photo", 0))}

    hook = held.module.synthesis.register_forward_pre_hook(measure)
    try:
        assert len(run(drawing(1))["x"]) == 9
        assert tried == [8, 4, 4, 1]
        limit = 0
        with pytest.raises(RuntimeError, match="CycleGenerate: The memory of cpu is not enough"):
            run(drawing(2))
    finally:
        hook.remove()
    assert len(run(drawing(2))["x"]) == 9


# ------------------------------------------------------------------ other versions
def test_a_workflow_of_the_first_version_still_runs(comfy, run):
    """Nodes, inputs and options of 0.1.0: what comes later must be optional."""
    prompt = json.loads(FIRST_VERSION.read_text())
    known, error, outputs, errors = as_it_is(comfy, prompt)
    assert known, error
    assert len(outputs) == sum(entry["class_type"] in SAVING for entry in prompt.values())
    assert not errors


def test_what_a_workflow_of_another_version_has_and_this_one_has_not_is_told(comfy, run):
    def changed(**inputs):
        prompt = {**MODELS, "photo": node("CycleExample"), **edited(("photo", 0))}
        prompt["align"] = node("CycleAlign", images=("photo", 0), **inputs)
        return {**prompt, **collect(x=("align", 0))}

    assert "'dlib'" in told(comfy, changed(detector="dlib"))  # by the host, or an old one's node
    assert "smoothing" in told(comfy, changed(smoothing="a lot"))
    fewer = json.loads(FIRST_VERSION.read_text())
    (align,) = [x["inputs"] for x in fewer.values() if x["class_type"] == "CycleAlign"]
    del align["smoothing"]
    _, _, _, errors = as_it_is(comfy, fewer)
    assert [one["details"] for entry in errors.values() for one in entry["errors"]] == ["smoothing"]
    _, error, _, _ = as_it_is(comfy, {**fewer, "gone": node("CycleGone")})
    assert "CycleGone" in str(error)
    assert run(PICTURE)


def as_it_is(comfy, prompt):
    return asyncio.run(comfy.execution.validate_prompt("test", prompt, None))

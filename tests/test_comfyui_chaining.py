"""The pack between other nodes in a real ComfyUI: the core's and another pack's, pictures of any
size and number."""

from __future__ import annotations

import asyncio
import textwrap
from importlib.util import find_spec

import comfy_real
import pytest
import torch
from comfy_real import MODELS, SAMPLED, collect, edited, node

pytestmark = pytest.mark.skipif(
    not comfy_real.CHECKOUT or find_spec("aiohttp") is None, reason=comfy_real.REASON
)

# Another pack, in the old style: what it gives is laid out as nothing of ours is.
OTHER_PACK = '''
    import torch


    class Border:
        """Adds a border; gives RGBA, turned around in memory, and a mask without a batch."""

        RETURN_TYPES = ("IMAGE", "MASK")
        FUNCTION = "add"
        CATEGORY = "other"

        @classmethod
        def INPUT_TYPES(cls):
            return {"required": {"image": ("IMAGE",), "width": ("INT", {"default": 5})}}

        def add(self, image, width):
            b, h, w, _ = image.shape
            out = torch.ones(4, w + 2 * width, h + 2 * width, b)
            out[:3, width : w + width, width : h + width] = image.permute(3, 2, 1, 0)
            mask = torch.ones(h + 2 * width, w + 2 * width)
            mask[width:-width, width:-width] = 0
            return out.permute(3, 2, 1, 0), mask


    class Grain:
        """Changes what it is given in place, as some packs do."""

        RETURN_TYPES = ("IMAGE",)
        FUNCTION = "add"
        CATEGORY = "other"

        @classmethod
        def INPUT_TYPES(cls):
            return {"required": {"image": ("IMAGE",)}}

        def add(self, image):
            return (image.mul_(0.5),)


    class Some:
        """The first pictures of a batch, or none."""

        RETURN_TYPES = ("IMAGE",)
        FUNCTION = "take"
        CATEGORY = "other"

        @classmethod
        def INPUT_TYPES(cls):
            return {"required": {"image": ("IMAGE",), "count": ("INT", {"default": 0})}}

        def take(self, image, count):
            return (image[:count],)


    NODE_CLASS_MAPPINGS = {"OtherBorder": Border, "OtherGrain": Grain, "OtherSome": Some}
'''


@pytest.fixture(scope="module")
def other(comfy):
    """Another pack that the host has loaded."""
    folder = comfy.base / "custom_nodes" / "other_pack"
    folder.mkdir()
    (folder / "__init__.py").write_text(textwrap.dedent(OTHER_PACK))
    assert asyncio.run(comfy.nodes.load_custom_node(str(folder)))


# ------------------------------------------------------------------ the core's nodes
def test_the_core_s_nodes_before_and_after(run):
    got = run(
        {
            "example": node("CycleExample", which="group"),
            "crop": node("ImageCrop", image=("example", 0), width=401, height=333, x=121, y=33),
            "scale": node(
                "ImageScale",
                image=("crop", 0),
                upscale_method="bicubic",
                width=367,
                height=305,
                crop="disabled",
            ),
            "batch": node("RepeatImageBatch", image=("scale", 0), amount=2),
            "photo": node("ImageInvert", image=("batch", 0)),
            "photos": node("ImageInvert", image=("photo", 0)),
            **edited(("photos", 0)),
            "small": node("ImageScaleBy", image=("after", 0), upscale_method="area", scale_by=0.5),
            "large": node("ImageScaleBy", image=("small", 0), upscale_method="lanczos", scale_by=3),
            "round": node("GrowMask", mask=("align", 2), expand=-3, tapered_corners=True),
            "soft": node("FeatherMask", mask=("round", 0), left=9, top=9, right=9, bottom=9),
            "outside": node("InvertMask", mask=("paste", 1)),
            "shown": node("MaskToImage", mask=("outside", 0)),
            "composed": node(
                "ImageCompositeMasked",
                destination=("photos", 0),
                source=("paste", 0),
                mask=("soft", 0),
                x=0,
                y=0,
                resize_source=False,
            ),
            "joined": node("ImageBatch", image1=("composed", 0), image2=("shown", 0)),
            "again": node(
                "CyclePasteBack",
                images=("photos", 0),
                crops=("large", 0),
                frames=("align", 1),
            ),
            **collect(
                photos=("photos", 0),
                joined=("joined", 0),
                composed=("composed", 0),
                again=("again", 0),
                covered=("again", 1),
            ),
        }
    )
    assert got["photos"].shape == got["composed"].shape == got["again"].shape == (2, 305, 367, 3)
    assert got["joined"].shape == (4, 305, 367, 3)
    assert float((got["composed"] - got["photos"]).abs().max()) > 0.02
    free = got["covered"] == 0
    assert torch.equal(got["again"][free], got["photos"][free])


def test_a_box_of_the_core_says_which_face(run, comfy):
    if "PrimitiveBoundingBox" not in comfy.nodes.NODE_CLASS_MAPPINGS:
        assert comfy_real.is_old()
        return

    def cut(box, output=0):
        return {
            **MODELS,
            "photo": node("CycleExample", which="group"),
            "box": box,
            "align": node("CycleAlign", images=("photo", 0), boxes=("box", output), face="all"),
            **collect(crops=("align", 0)),
        }

    def typed(x, width):
        return cut(node("PrimitiveBoundingBox", x=x, y=0, width=width, height=400))

    def drawn(*boxes):  # onto the photo, in the core's editor of boxes, as the front end sends it
        places = [{"x": x, "y": 0, "width": width, "height": 400} for x, width in boxes]
        size = {"width": 640, "height": 400, "background": ("photo", 0)}
        return cut(node("CreateBoundingBoxes", editor_state={"__value__": places}, **size), 1)

    assert [len(run(typed(*box))["crops"]) for box in ((0, 230), (230, 410), (0, 640))] == [1, 2, 3]
    assert [len(run(drawn(*x))["crops"]) for x in ([(0, 230)], [(0, 230), (400, 240)], [])] == [
        1, 2, 3,
    ]  # fmt: skip
    canvas = "Create Bounding Boxes, set its width and height to 640 and 400"
    for wrong, told in (
        (typed(900, 50), "is outside the picture of 640x400 pixels"),
        (typed(450, 512), "450,0,962,400 is outside"),  # it reaches to the face at the right
        (drawn((450, 512)), "is outside"),
        (drawn((300, 0)), "300,0,300,400 is empty"),
    ):
        with pytest.raises(RuntimeError, match=f"{told}.*{canvas}"):
            run(wrong)
    with pytest.raises(RuntimeError, match="No face is at the place that was given"):
        run(typed(0, 20))


def test_a_mask_of_the_core_says_what_is_pasted(run):
    """It lies over the crop, whatever its own size."""
    got = run(
        {
            "photo": node("CycleExample", which="portrait"),
            **edited(("photo", 0)),
            "mask": node("SolidMask", value=0.0, width=31, height=17),
            "nothing": node(
                "CyclePasteBack",
                images=("photo", 0),
                crops=("after", 0),
                frames=("align", 1),
                mask=("mask", 0),
            ),
            **collect(photo=("photo", 0), nothing=("nothing", 0), covered=("nothing", 1)),
        }
    )
    assert torch.equal(got["nothing"], got["photo"])
    assert not got["covered"].any()


# ------------------------------------------------------------------ another pack's
def test_another_pack_s_nodes_before_and_after(run, other):
    photo = {
        "example": node("CycleExample", which="portrait"),
        "photo": node("OtherBorder", image=("example", 0), width=7),
    }
    got = run(
        {
            **photo,
            **edited(("photo", 0)),
            "last": node("OtherBorder", image=("paste", 0)),
            **collect(photo=("photo", 0), pasted=("paste", 0), mask=("paste", 1), last=("last", 0)),
        }
    )
    assert got["photo"].shape == (1, 494, 414, 4)
    assert got["pasted"].shape == (1, 494, 414, 3)
    assert got["last"].shape == (1, 504, 424, 4)
    free = got["mask"] == 0
    assert torch.equal(got["pasted"][free], got["photo"][..., :3][free])


def test_a_mask_without_a_batch_is_taken(run, other):
    got = run(
        {
            "photo": node("CycleExample", which="portrait"),
            **edited(("photo", 0)),
            "border": node("OtherBorder", image=("after", 0), width=9),
            "masked": node(
                "CyclePasteBack",
                images=("photo", 0),
                crops=("after", 0),
                frames=("align", 1),
                mask=("border", 1),
            ),
            **collect(masked=("masked", 0), covered=("masked", 1)),
        }
    )
    assert got["masked"].shape == (1, 480, 400, 3)
    assert 0 < float(got["covered"].mean()) < 0.5


def test_a_node_that_writes_into_what_it_is_given_spoils_no_model_and_no_example(run, other):
    prompt = {
        **SAMPLED,
        "example": node("CycleExample", which="portrait"),
        **collect(photo=("photo", 0), example=("example", 0)),
    }
    before = {name: x.clone() for name, x in run(prompt).items() if torch.is_tensor(x)}
    spoilt = {
        "spoilt": node("OtherGrain", image=("photo", 0)),
        "spoilt_example": node("OtherGrain", image=("example", 0)),
        **collect(spoilt=("spoilt", 0), other=("spoilt_example", 0)),
    }
    run({**prompt, **spoilt})
    run({"nothing": node("EmptyImage", width=8, height=8, batch_size=1, color=0),
         **collect(x=("nothing", 0))})  # fmt: skip
    after = run(prompt)
    assert torch.equal(after["photo"], before["photo"])
    assert torch.equal(after["example"], before["example"])


# ------------------------------------------------------------------ sizes and numbers
@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 333), (333, 7), (1023, 511)])
def test_pictures_and_masks_of_odd_sizes_go_through(run, width, height):
    got = run(
        {
            "photo": node("EmptyImage", width=width, height=height, batch_size=1, color=0x806040),
            **edited(("photo", 0)),
            "mask": node("SolidMask", value=1.0, width=width, height=height),
            "masked": node(
                "CyclePasteBack",
                images=("photo", 0),
                crops=("after", 0),
                frames=("align", 1),
                mask=("mask", 0),
                detail=0.0,
            ),
            "code_of_all": node("CycleEncode", images=("photo", 0), encoder=("E", 0)),
            "compare": node("CycleCompare", target=("photo", 0), image_1=("paste", 0)),
            **collect(
                found=("align", 3),
                area=("align", 2),
                pasted=("paste", 0),
                masked=("masked", 0),
                covered=("masked", 1),
                code=("code_of_all", 0),
            ),
        }
    )
    for name in ("found", "pasted", "masked"):
        assert got[name].shape == (1, height, width, 3), name
        assert got[name].isfinite().all()
    assert got["area"].shape == got["covered"].shape == (1, height, width)
    assert got["code"].batch == 1


@pytest.mark.parametrize("count", [1, 17])
def test_a_batch_of_any_size_goes_through(run, count):
    got = run(
        {
            "photos": node("EmptyImage", width=97, height=61, batch_size=count, color=0x806040),
            **edited(("photos", 0)),
            **collect(pasted=("paste", 0), masks=("paste", 1), codes=("edit", 0)),
        }
    )
    assert got["pasted"].shape == (count, 61, 97, 3)
    assert got["masks"].shape == (count, 61, 97)
    assert got["codes"].batch == count


def test_an_empty_batch_is_told_on_the_node_that_gets_it(run, other):
    nothing = {
        **SAMPLED,
        "none": node("OtherSome", image=("photo", 0)),
        "dir": node("CycleLoadDirection", name="smile"),
        "code_of": node("CycleEncode", images=("photo", 0), encoder=("E", 0)),
        "align": node("CycleAlign", images=("photo", 0), no_face="centre"),
    }
    models = {"encoder": ("E", 0), "generator": ("G", 0)}
    for kind, inputs in {
        "CycleAlign": {"images": ("none", 0)},
        "CycleEncode": {"images": ("none", 0), "encoder": ("E", 0)},
        "CycleRefinePivot": {"images": ("none", 0), **models},
        "CyclePivotTune": {"images": ("none", 0), "generator": ("G", 0), "pivot": ("code_of", 0)},
        "CyclePasteBack": {"images": ("none", 0), "crops": ("photo", 0), "frames": ("align", 1)},
        "CycleCompare": {"target": ("none", 0), "image_1": ("photo", 0)},
        "CycleDirectionFromImages": {"having": ("none", 0), "lacking": ("photo", 0), **models},
    }.items():
        prompt = {**nothing, "last": node(kind, **inputs), **collect(x=("last", 0))}
        with pytest.raises(RuntimeError, match=f"{kind}: The batch of pictures is empty"):
            run(prompt)
    no_crops = node("CyclePasteBack", images=("photo", 0), crops=("none", 0), frames=("align", 1))
    with pytest.raises(RuntimeError, match="1 faces were aligned, but 0 edited crops"):
        run({**nothing, "last": no_crops, **collect(x=("last", 0))})


# ------------------------------------------------------------------ a group photo
def test_every_face_of_a_group_gets_its_own_edit_and_nothing_else_changes(run):
    got = run(
        {
            "photo": node("CycleExample", which="group"),
            **edited(("photo", 0), face="all", no_face="error"),
            "edit": node(
                "CycleLatentEdit", code=("code", 0), direction=("dir", 0), strengths="-3, 0, 3"
            ),
            **collect(
                photo=("photo", 0),
                crops=("align", 0),
                faces=("align", 2),
                frames=("align", 1),
                before=("before", 0),
                after=("after", 0),
                pasted=("paste", 0),
                masks=("paste", 1),
            ),
        }
    )
    assert len(got["crops"]) == len(got["frames"].frames) == 3
    change = (got["pasted"] - got["photo"]).abs().amax(-1)[0]  # [H,W]
    free = got["masks"][0] == 0
    assert free.float().mean() > 0.4
    assert torch.equal(got["pasted"][0][free], got["photo"][0][free])
    moved = (got["after"] - got["before"]).abs().flatten(1).mean(1)
    assert moved[1] == 0
    assert min(moved[0], moved[2]) > 0.005

    def in_the_middle_of(k):
        (left, top), _, (right, bottom), _ = got["frames"].frames[k].quad
        x, y = (left + right) / 2, (top + bottom) / 2
        reach = abs(right - left) / 5
        return change[int(y - reach) : int(y + 2 * reach), int(x - reach) : int(x + reach)]

    assert float(in_the_middle_of(0).max()) > 0.1
    assert float(in_the_middle_of(2).max()) > 0.1
    assert float(in_the_middle_of(1).max()) < 2e-3  # what was not edited

"""The shipped workflows, written by `make_workflows`."""

from __future__ import annotations

from typing import Any

from shipped_video import video
from workflow_layout import Graph, Group, Node, Output
from workflow_parts import asked, edited_by, inverted, models, pasted, refined_and_tuned, smiling

OWN_FACE = (
    "Your own photo works, too: smile, mouth, glasses, age and hair colour follow, a turn shows "
    "the old hair. The embedded people are smooth; for pores and single hairs see the template "
    "*own-generator-and-encoder*."
)


def invert_and_edit() -> Graph:
    g = Graph("invert-and-edit")
    about = g.note(
        "## Begin here: one edit of one photo\n\n"
        "Press **Run**: the face is found and inverted, edited along a direction, and put back "
        "into the photo. It runs with the embedded models on an example portrait, on a CPU, in a "
        "minute. Then change *strength* or the direction and run again, which takes a moment, or "
        "choose your own picture in *photo*.\n\n"
        f"{OWN_FACE}",
        340,
    )
    photo, G, E, aligned, refined, tuned = inverted(g)
    direction = g.node("CycleLoadDirection", name="smile")
    edit = g.node("CycleLatentEdit", code=refined.pivot, direction=direction.direction)
    face = g.node(
        "CycleGenerate", "Generate (the edited face)", code=edit.code, generator=tuned.tuned
    )
    back = pasted(g, photo.images, aligned, face.images, tuned)
    both = g.node("CycleBeforeAfter", body=(400, 450), before=photo.images, after=back.images)
    save = g.node("SaveImage", body=(400, 460), images=back.images, filename_prefix="cycle/edited")
    g.lay(
        [about, Group("Photo", [[photo, aligned]])],
        [Group("Models", [[G, E]]), Group("Edit", [[direction, edit]])],
        [Group("Inversion", [[refined, tuned]])],
        [Group("Result", [[face, back], [both, save]])],
    )
    g.app = [asked(photo, "photo"), *edited_by(direction, edit)], [both, save]
    return g


def live_edit() -> Graph:
    g = Graph("live-edit")
    about = g.note(
        "## Live editing\n\n"
        "Press **Run** once: the face is inverted, and *Latent Editor* gets its sliders. It runs "
        "with the embedded models on an example portrait, on a CPU. Move the sliders, and the "
        "picture follows; run again to put the face back, or choose your own in *photo*.\n\n"
        f"{OWN_FACE}",
        300,
    )
    photo, G, E, aligned, refined, tuned = inverted(g)
    editor = g.node(
        "CycleLatentEditor", body=(640, 560), code=refined.pivot, generator=tuned.tuned,
        edits="smile=+1,glasses=+1.5",
    )  # fmt: skip
    face = g.node(
        "CycleGenerate", "Generate (the edited face)", code=editor.code, generator=tuned.tuned
    )
    back = pasted(g, photo.images, aligned, face.images, tuned)
    save = g.node("SaveImage", body=(316, 385), images=back.images, filename_prefix="cycle/live")
    g.lay(
        [about, Group("Photo", [[photo, aligned]])],
        [Group("Generate", [[face]]), Group("Models", [[G, E]])],
        [Group("Inversion", [[refined, tuned]])],
        [Group("Edit", [[editor]]), Group("Result", [[back], [save]])],
    )
    # the sliders and the picture, which the front end adds to the node; its text is hidden there
    g.app = [asked(photo, "photo"), (editor, "editor", {"height": 480})], [save]
    return g


def compare_pivots() -> Graph:
    g = Graph("compare-pivots", width=268)
    about = g.note(
        "## Compare pivots\n\n"
        "The embedded models invert an example portrait three ways: *encoded* at once, *refined* "
        "for this face, and *tuned*, where the generator moves too. The first picture shows how "
        "near each comes, the second the same edit at each. Change the direction, its *strength* "
        "or the *photo*.",
        230,
    )
    photo, G, E, aligned, refined, tuned = inverted(g)
    encoded = g.node("CycleEncode", images=aligned.crops, encoder=E.encoder, generator=G.generator)
    direction = g.node("CycleLoadDirection", name="smile")

    def edit(title: str, code: Output) -> Node:
        return g.node(
            "CycleLatentEdit", title, code=code, direction=direction.direction, strength=2.0
        )

    def generate(title: str, code: Output, generator: Output) -> Node:
        return g.node("CycleGenerate", title, code=code, generator=generator)

    near = generate("Generate (encoded)", encoded.code, G.generator)
    edits = [
        edit("Latent Edit (encoded)", encoded.code),
        edit("Latent Edit (refined and tuned)", refined.pivot),
    ]
    edited = [
        generate("Generate (encoded, edited)", edits[0].code, G.generator),
        generate("Generate (refined, edited)", edits[1].code, G.generator),
        generate("Generate (tuned, edited)", edits[1].code, tuned.tuned),
    ]

    def compare(title: str, *images: Output) -> Node:
        given: dict[str, Any] = {f"image_{k}": image for k, image in enumerate(images, 1)}
        return g.node(
            "CycleCompare", title, target=aligned.crops, **given,
            names="encoded, refined, tuned", cell=192, columns=2,
        )  # fmt: skip

    pivots = compare("Compare (pivots)", near.images, refined.reconstruction, tuned.reconstruction)
    same_edit = compare("Compare (edited)", *(one.images for one in edited))
    saves = [
        g.node("SaveImage", f"Save Image ({what})", (268, 470), images=of.grid,
               filename_prefix=f"cycle/{name}")
        for what, name, of in (
            ("pivots", "pivots", pivots), ("edited", "pivots_edited", same_edit),
        )
    ]  # fmt: skip
    g.lay(
        [about, Group("Photo", [[photo, aligned]])],
        [Group("Models and code", [[G, E, direction, encoded, near]])],
        [Group("Inversion", [[refined, tuned]])],
        [Group("Edit and compare", [[*edits, pivots]])],
        [Group("The edited pictures", [[*edited, same_edit]])],
        [Group("Result", [saves])],
    )
    return g


def edit_strength_strip() -> Graph:
    g = Graph("edit-strength-strip")
    about = g.note(
        "## One edit at seven strengths\n\n"
        "A random person of the embedded generator gets younger and older in seven pictures; "
        "glasses stay, for their direction is in *keep*. The range **-3:3:7** in *strengths* says "
        "how many; a list such as **-2, 0, 2** gives three. Choose another direction or *seed*.",
        210,
    )
    G = g.node("CycleLoadGenerator", name="portraits")
    person = g.node("CycleSampleCodes", generator=G.generator, seed=17)
    direction = g.node("CycleLoadDirection", name="age")
    keep = g.node("CycleLoadDirection", "Load Direction (to keep)", name="glasses")
    edit = g.node(
        "CycleLatentEdit", code=person.code, direction=direction.direction, keep=keep.direction,
        strengths="-3:3:7",
    )  # fmt: skip
    faces = g.node("CycleGenerate", code=edit.code, generator=G.generator)
    strip = g.node("CycleStrip", images=faces.images, columns=4, labels="-3:3:7")
    save = g.node("SaveImage", body=(720, 520), images=strip.image, filename_prefix="cycle/strip")
    g.lay(
        [about, Group("Models", [[G, person]])],
        [Group("Edit", [[direction, keep, edit]])],
        [Group("Result", [[faces, strip], [save]])],
    )
    g.app = (
        [
            (person, "seed", {"description": "Each number is a person"}),
            asked(direction, "name"),
            (edit, "strengths", {"description": "From:to:how many, or a list"}),
        ],
        [save],
    )
    return g


def morph() -> Graph:
    g = Graph("morph")
    about = g.note(
        "## From one person to another\n\n"
        "Two random people of the embedded generator are mixed in nine steps, as a strip and as "
        "an animation. **0:1:9** in *amount* says how many; with mode *layers* the first gets "
        "styles of the second. Change each *seed*, or connect pivots of photos (*Load Pivot*).",
        220,
    )
    G = g.node("CycleLoadGenerator", name="portraits")
    people = [
        g.node("CycleSampleCodes", f"Sample Codes (the {which})", generator=G.generator, seed=seed)
        for which, seed in (("first", 5), ("second", 26))
    ]
    mixed = g.node(
        "CycleMixCodes",
        first=people[0].code,
        second=people[1].code,
        generator=G.generator,
        layers="4-13",
    )
    faces = g.node("CycleGenerate", code=mixed.code, generator=G.generator)
    strip = g.node("CycleStrip", images=faces.images, columns=3)
    save = g.node("SaveImage", body=(520, 620), images=strip.image, filename_prefix="cycle/morph")
    moving = g.node(
        "SaveAnimatedWEBP", body=(300, 480), images=faces.images,
        filename_prefix="cycle/morph_moving", fps=6.0,
    )  # fmt: skip
    g.lay(
        [about, Group("Models", [[G]])],
        [Group("Two people", [people])],
        [Group("Edit", [[mixed, faces]])],
        [Group("Result", [[strip, moving], [save]])],
    )
    return g


def edit_then_upscale() -> Graph:
    g = Graph("edit-then-upscale")
    about = g.note(
        "## Edit, then upscale\n\n"
        "A random person of the embedded generator smiles, and ComfyUI's own nodes go on from "
        "there. *Upscale Image By* needs no model and adds no detail. Change *seed* or *strength*, "
        "or with a file in **models/upscale_models** put *Load Upscale Model* and *Upscale Image "
        "(using Model)* in its place.",
        230,
    )
    G, person, direction, edit, face = smiling(g, seed=4)
    larger = g.node("ImageScaleBy", image=face.images)
    save = g.node(
        "SaveImage", body=(420, 470), images=larger.IMAGE, filename_prefix="cycle/upscaled"
    )
    g.lay(
        [about, Group("Models", [[G, person]])],
        [Group("Edit", [[direction, edit]])],
        [Group("Result", [[face, larger], [save]])],
    )
    return g


def edit_then_img2img() -> Graph:
    g = Graph("edit-then-img2img")
    about = g.note(
        "## Edit, then img2img\n\n"
        "A random person of the embedded generator smiles; a diffusion model gives the picture "
        "detail and style. **It needs a checkpoint of your own:** put any Stable Diffusion 1.5 "
        "checkpoint into **ComfyUI/models/checkpoints**, press **R** and choose it in *Load "
        "Checkpoint*. *denoise* says how much is made anew: 0.3 keeps the face, 0.6 little more "
        "than the pose.",
        260,
    )
    G, person, direction, edit, face = smiling(g, seed=3)
    larger = g.node("ImageScale", image=face.images)
    checkpoint = g.node("CheckpointLoaderSimple", "Load Checkpoint (your own)")
    texts = [
        g.node("CLIPTextEncode", title, (300, 130), clip=checkpoint.CLIP, text=text)
        for title, text in (
            ("CLIP Text Encode (what it shows)",
             "studio portrait of a smiling person, soft light, detailed"),
            ("CLIP Text Encode (what to avoid)", "blurry, low quality"),
        )
    ]  # fmt: skip
    latent = g.node("VAEEncode", pixels=larger.IMAGE, vae=checkpoint.VAE)
    sampled = g.node(
        "KSampler", model=checkpoint.MODEL, positive=texts[0].CONDITIONING,
        negative=texts[1].CONDITIONING, latent_image=latent.LATENT, body=(300, 310),
    )  # fmt: skip
    decoded = g.node("VAEDecode", samples=sampled.LATENT, vae=checkpoint.VAE)
    own = g.node(
        "SaveImage", "Save Image (the edit itself)", (340, 390), images=face.images,
        filename_prefix="cycle/before_img2img",
    )  # fmt: skip
    save = g.node(
        "SaveImage", body=(340, 390), images=decoded.IMAGE, filename_prefix="cycle/img2img"
    )
    g.lay(
        [about, Group("Models", [[G, person]])],
        [Group("Edit", [[direction, edit, face, larger]])],
        [Group("img2img with your checkpoint", [[checkpoint, *texts], [latent, sampled, decoded]])],
        [Group("Result", [[save, own]])],
    )
    return g


def group_photo() -> Graph:
    g = Graph("group-photo")
    about = g.note(
        "## Three faces, each with its own edit\n\n"
        "Each face of the example photo is cut out, from left to right, and the embedded generator "
        "is tuned for all. *strengths* has one number for each in that order, and 0 leaves it "
        "alone: two smile, one gets glasses. Change them or the *photo*; *from the left* in "
        "*Align Faces* takes one number of *found*.",
        208,
    )
    photo = g.node("CycleExample", which="group")
    G, E = models(g)
    aligned = g.node("CycleAlign", images=photo.images, generator=G.generator, face="all")
    found = g.node("PreviewImage", "What was found", (300, 270), images=aligned.found)
    encoded = g.node("CycleEncode", images=aligned.crops, encoder=E.encoder, generator=G.generator)
    tuned = g.node(
        "CyclePivotTune", "Pivot Tune (one for all faces)", images=aligned.crops,
        generator=G.generator, pivot=encoded.code, preview=True,
    )  # fmt: skip
    code, edits = encoded.code, []
    for name, strengths in (("smile", "1, 0, 1"), ("glasses", "0, 2, 0")):
        direction = g.node("CycleLoadDirection", name=name)
        edit = g.node(
            "CycleLatentEdit", "Latent Edit (one strength each)", code=code,
            direction=direction.direction, strengths=strengths,
        )  # fmt: skip
        code = edit.code
        edits += [direction, edit]
    faces = g.node("CycleGenerate", "Generate (the edited faces)", code=code, generator=tuned.tuned)
    back = g.node(
        "CyclePasteBack", images=photo.images, crops=faces.images, frames=aligned.frames,
        reference=tuned.reconstruction, preview=True,
    )  # fmt: skip
    both = g.node("CycleBeforeAfter", body=(360, 330), before=photo.images, after=back.images)
    save = g.node("SaveImage", body=(360, 330), images=back.images, filename_prefix="cycle/group")
    g.lay(
        [about, Group("Photo", [[photo, aligned, encoded]])],
        [Group("Models and tuning", [[G, E, tuned]])],
        [Group("Edit", [edits])],
        [Group("Result", [[faces, back, found], [both, save]])],
    )
    g.app = (
        [
            asked(photo, "photo"),
            (edits[1], "strengths", {"description": "Smile of each, from the left"}),
            (edits[3], "strengths", {"description": "Glasses of each, from the left"}),
        ],
        [both, save],
    )
    return g


def own_generator_and_encoder() -> Graph:
    g = Graph("own-generator-and-encoder")
    about = g.note(
        "## Your own generator and encoder\n\n"
        "A face of an example photo is inverted, edited and put back by models of your own. "
        "As it is these are the embedded ones, so that **Run** works now. Put files into these "
        "folders, press **R**, and choose each in *name*.\n\n"
        "| what | folder |\n"
        "| --- | --- |\n"
        "| generator (**.pkl** **.pt** **.pth** **.safetensors**) | **models/stylegan** |\n"
        "| its encoder (**.pt** **.pth** **.safetensors**) | **models/gan_encoders** |\n"
        "| its directions (and **.npy** **.npz**) | **models/gan_directions** |\n\n"
        "StyleGAN2 and StyleGAN3 generators, and Cycle Encoding, e4e, pSp and ReStyle encoders "
        "open as they were published; nothing that a file stores is executed. The three must "
        "belong together, as do **ffhq.pkl** of NVIDIA and **e4e_ffhq_encode.pt**.",
        530, "What goes where",
    )  # fmt: skip
    G = g.node("CycleLoadGenerator", name="portraits")
    E = g.node("CycleLoadEncoder", name="portraits", generator=G.generator)
    direction = g.node("CycleLoadDirection", name="glasses", generator=G.generator)
    photo = g.node("CycleExample")
    aligned = g.node("CycleAlign", images=photo.images, generator=G.generator)
    found = g.node("PreviewImage", "What was found", (300, 250), images=aligned.found)
    refined, tuned = refined_and_tuned(g, aligned.crops, G, E)
    edit = g.node(
        "CycleLatentEdit", code=refined.pivot, direction=direction.direction, strength=2.0
    )
    face = g.node(
        "CycleGenerate", "Generate (the edited face)", code=edit.code, generator=tuned.tuned
    )
    back = pasted(g, photo.images, aligned, face.images, tuned)
    both = g.node("CycleBeforeAfter", body=(380, 380), before=photo.images, after=back.images)
    save = g.node("SaveImage", body=(380, 380), images=back.images, filename_prefix="cycle/own")
    g.lay(
        [about, Group("Models", [[G, E, direction]])],
        [Group("Photo", [[photo, aligned, found]])],
        [Group("Inversion", [[refined, tuned]])],
        [Group("Edit", [[edit, face, back]])],
        [Group("Result", [[both, save]])],
    )
    models_asked = [
        (one, "name", {"description": text})
        for one, text in ((G, "Generator"), (E, "Encoder of this generator"))
    ]
    g.app = [asked(photo, "photo"), *models_asked, *edited_by(direction, edit)], [both, save]
    return g


def directions_from_images() -> Graph:
    g = Graph("directions-from-images", width=280)
    about = g.note(
        "## A direction from your own pictures\n\n"
        "Two sets of aligned faces, with something and without it, give a direction that edits "
        "anybody. Here both are 24 random people of the embedded generator, with glasses and "
        "without. For your own, cut a few dozen pictures of each out by *Align Faces* and connect "
        "them to *having* and *lacking*; otherwise the two sets should be alike.",
        275,
    )
    G, E = models(g)
    people = g.node(
        "CycleSampleCodes", "Sample Codes (24 people)", generator=G.generator, count=24, seed=1
    )
    glasses = g.node("CycleLoadDirection", name="glasses")
    sets = []
    for what, title, value in (("having", "with glasses", 1.5), ("lacking", "without", -1.5)):
        edit = g.node(
            "CycleLatentEdit", f"Latent Edit ({title})", code=people.code,
            direction=glasses.direction, mode="to a value", strength=value,
        )  # fmt: skip
        faces = g.node("CycleGenerate", f"Generate ({what})", code=edit.code, generator=G.generator)
        shown = g.node("PreviewImage", what, (280, 260), images=faces.images)
        sets.append([edit, faces, shown])
    learnt = g.node(
        "CycleDirectionFromImages", having=sets[0][1].images, lacking=sets[1][1].images,
        encoder=E.encoder, generator=G.generator,
    )  # fmt: skip
    other = g.node(
        "CycleSampleCodes", "Sample Codes (somebody else)", generator=G.generator, seed=21
    )
    edit = g.node(
        "CycleLatentEdit", "Latent Edit (the new direction)", code=other.code,
        direction=learnt.direction, strengths="-2:2:5",
    )  # fmt: skip
    faces = g.node("CycleGenerate", code=edit.code, generator=G.generator)
    strip = g.node("CycleStrip", images=faces.images, size=192, columns=3, labels="-2:2:5")
    save = g.node("SaveImage", body=(420, 470), images=strip.image, filename_prefix="cycle/found")
    g.lay(
        [about, Group("Models", [[G, E, people, glasses]])],
        [Group("Having it: yours", [sets[0]])],
        [Group("Lacking it: yours", [sets[1]])],
        [Group("Edit", [[learnt, other, edit, faces]])],
        [Group("Result", [[strip, save]])],
    )
    return g


WORKFLOWS = (
    invert_and_edit, live_edit, compare_pivots, edit_strength_strip, morph, edit_then_upscale,
    edit_then_img2img, group_photo, own_generator_and_encoder, directions_from_images, video,
)  # fmt: skip

"""The comparison on photographs: any models, aligned pictures of which nothing is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cycle_core.bench.measures import at_256, edits, photo_rulers
from cycle_core.bench.photos import PhotoSettings, compare_photos
from cycle_core.bench.report import photo_layout, photo_sheets, photo_tables, plot
from cycle_core.bench.sets import open_set
from cycle_core.checkpoints.registry import load_generator
from cycle_core.cli import main
from cycle_core.directions.direction import Direction
from cycle_core.directions.discovery import sefa
from cycle_core.directions.files import load_direction, save_directions
from cycle_core.errors import CheckpointError, InputError
from cycle_core.images.io import read_image, save_image
from cycle_core.invert.sampling import sample
from cycle_core.invert.settings import RefineSettings, TuneSettings
from cycle_core.measure.recognition import find_recognizer
from cycle_core.models.irse import IdentityConfig, face_of

TINY = PhotoSettings(
    projected=1,
    tuned=1,
    steps=2,
    refine=RefineSettings(steps=1, images=0),
    tune=TuneSettings(steps=2, learning_rate=3e-3, threshold=0.0),
)
METHODS = ["optimise-w", "optimise-w+", "small-w", "small-w+", "small-refined"]
ENCODERS = {"small": "portraits"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two portraits, and a damaged file and one that is not square after them."""
    folder = tmp_path_factory.mktemp("pictures")
    for i, image in enumerate(open_set("inside", 2).images):
        save_image(image, folder / f"a{i}.png")
    (folder / "damaged.png").write_bytes((folder / "a0.png").read_bytes()[:500])
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(folder / "wide.png")
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def compared(out, folder):
    return compare_photos(out, folder, "portraits", ENCODERS, ["smile", "yaw"], TINY)


@pytest.fixture(scope="module")
def G():
    return load_generator("portraits")


def test_every_space_and_refinement_is_measured_before_and_after_tuning(compared):
    assert [r["facts"]["method"] for r in compared.results] == METHODS
    for result in compared.results:
        method, pictures = result["facts"]["method"], result["facts"]["pictures"]
        optimised = method.startswith("optimise")
        few = optimised or method.endswith("refined")  # those that take time for each picture
        assert pictures == (["a0.png"] if few else ["a0.png", "a1.png"])
        measured = {"mse", "psnr", "lpips", "ms_ssim", "identity", "to_w", "nscd"}
        encoded = set() if optimised else {"lec", "lec_relative"}
        assert result["pivot"].keys() == measured | encoded
        assert len(result["tuned"]["mse"]) == len(result["edited tuned"]["kept"]) == 1
        assert result["tuned"]["mse"][0] != result["pivot"]["mse"][0]
        assert result["costs"]["tuned"]["seconds"] > 0


def test_what_fails_is_named_with_its_reason_ends_nothing_and_is_tried_again(compared, out):
    failed = {(one["picture"], one["method"]) for one in compared.failed}
    assert failed == {(name, m) for name in ("damaged.png", "wide.png") for m in METHODS[2:4]}
    text = photo_tables(compared)
    assert "Failed, and in no mean: 2 of 4 pictures." in text
    assert "`wide.png`, small-w, small-w+: " in text
    assert "60x40, but a crop is square" in text
    assert not list(out.glob("*/wide*"))


def test_the_tables_name_the_networks_and_say_which_is_also_a_loss(compared):
    text = photo_tables(compared)
    assert "| identity (embedded, metrics) |" in text
    assert "also a loss" not in text
    published = {"lpips": "LPIPS (AlexNet)", "identity": "ArcFace IR-SE50"}
    facts = compared.facts | {"measured by": published, "losses": published}
    layout = photo_layout(replace(compared, facts=facts))
    assert layout.distortion["lpips"][0] == "LPIPS (AlexNet), also a loss"
    assert layout.distortion["identity"][0] == "identity ArcFace IR-SE50, also a loss"
    assert "small, W+" in text


def test_numbers_are_kept_as_they_are(out, compared):
    report = json.loads((out / "report.json").read_text())
    assert report["results"] == compared.results
    assert report["failed"] == compared.failed
    values = report["results"][2]["pivot"]["mse"]
    assert any(value != round(value, 8) for value in values)


def test_pictures_lie_side_by_side_and_the_trade_off_is_drawn(compared, tmp_path):
    sheets = photo_sheets(compared)
    assert list(sheets) == ["a0.png", "a1.png"]
    columns, strips = compared.sheets["a0.png"]
    assert columns == ["picture", "pivot", "tuned", "smile +2", "yaw +2"]
    assert read_image(strips["small, W"]).shape == (1, 3, 256, 5 * 256)
    assert "tuned" not in compared.sheets["a1.png"][0]
    plot(compared.results, tmp_path / "plot.png", photo_layout(compared))
    assert read_image(tmp_path / "plot.png").std() > 0.1


def test_a_comparison_goes_on_with_what_is_missing_or_has_changed(out, folder, compared):
    def times() -> dict[Path, int]:
        return {file: file.stat().st_mtime_ns for file in out.glob("*/*.json")}

    before = times()
    (out / "small-w" / "a1.png.json").unlink()
    again = compare_photos(out, folder, "portraits", ENCODERS, ["smile", "yaw"], TINY)
    after = times()
    assert {file for file in after if after[file] != before[file]} == {out / "small-w/a1.png.json"}
    assert again.results[3] == compared.results[3]
    compare_photos(
        out, folder, "portraits", ENCODERS, ["smile"], replace(TINY, methods=("small-w",), tuned=0)
    )
    assert times()[out / "small-w/a0.png.json"] != after[out / "small-w/a0.png.json"]


# ------------------------------------------------------------------ measures
def test_pictures_are_resized_as_pil_does_it():
    image = torch.rand(1, 3, 512, 512) * 2 - 1
    pixels = ((image[0].movedim(0, 2) + 1) * 127.5).round().byte().numpy()
    wanted = np.asarray(Image.fromarray(pixels).resize((256, 256)))  # PIL's own choice: bicubic
    found = ((at_256(image)[0].movedim(0, 2) + 1) * 127.5).round().byte().numpy()
    assert (found == wanted).all()


def test_a_strength_is_in_standard_deviations_of_random_codes(G, tmp_path):
    raw = sefa(G, count=1)[0].scaled(7.0)  # however long a vector is that was found somewhere
    save_directions(raw, tmp_path / "raw.safetensors")
    rulers, names = photo_rulers(G, [str(tmp_path / "raw.safetensors"), "smile"], embedded=True)
    w = sample(G, 5000, truncation=1.0).w[:, 0]
    vectors, smile = rulers.directions[0].vectors, load_direction("smile")
    assert isinstance(smile, Direction)
    along = w @ (vectors / vectors.norm())
    assert float(vectors.norm()) == pytest.approx(float(along.std()), rel=0.05)
    assert torch.equal(rulers.directions[1].vectors, smile.vectors)
    assert names["identity"] == "identity (embedded, metrics)"


def test_a_larger_edit_changes_more_and_keeps_less(G):
    rulers, _ = photo_rulers(G, [], embedded=True)
    assert len(rulers.directions) == 5
    code = sample(G, 1, seed=2)
    small, large = edits(rulers, G, code, 0.5), edits(rulers, G, code, 3.0)
    assert small["kept"] > large["kept"]
    assert small["changed"] < large["changed"]


def test_insightfaces_recogniser_looks_at_the_face_where_it_is_found(
    only_embedded, monkeypatch, tmp_path
):
    assert find_recognizer() is None
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime", reason="the optional extra `faces` is not installed")
    folder = tmp_path / "models" / "buffalo_l"
    folder.mkdir(parents=True)
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["input.1"], ["pool"]),
            helper.make_node("Flatten", ["pool"], ["683"]),
        ],
        "recogniser",
        [helper.make_tensor_value_info("input.1", kind, [None, 3, 112, 112])],
        [helper.make_tensor_value_info("683", kind, [None, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, folder / "w600k_r50.onnx")
    monkeypatch.setenv("CYCLE_CORE_MODELS", str(tmp_path / "models"))
    recogniser = find_recognizer()
    assert recogniser is not None
    image = torch.rand(2, 3, 300, 300)
    mean = face_of(image, IdentityConfig()).mean((2, 3))
    torch.testing.assert_close(recogniser(image), mean / mean.norm(dim=1, keepdim=True))
    (folder / "w600k_r50.onnx").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="download buffalo_l again"):
        find_recognizer()


# ------------------------------------------------------------------ refusals
def test_what_cannot_be_used_is_said_before_anything_is_measured(folder, tmp_path):
    def refused(match: str, kind: type[Exception] = InputError, **given) -> None:
        out = tmp_path / "out"
        with pytest.raises(kind, match=match):
            compare_photos(out, folder, "portraits", **{"settings": TINY, **given})
        assert not out.exists()

    refused("optimise-w, optimise-w+", settings=PhotoSettings(methods=("magic",)))
    refused("Two methods would be named", encoders={"optimise": "portraits"})
    refused("lies in StyleSpace", directions=["S:2_3"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no pictures"):
        compare_photos(tmp_path / "out", tmp_path / "empty", "portraits")


def test_pictures_that_all_fail_are_an_error(folder, tmp_path):
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "damaged.png").write_bytes((folder / "damaged.png").read_bytes())
    settings = PhotoSettings(methods=("small-w",), tuned=0)
    with pytest.raises(InputError, match=r"None of the 1 pictures .*damaged"):
        compare_photos(tmp_path / "out", bad, "portraits", ENCODERS, settings=settings)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--photos", "p", "--inside", "0"], "--inside belongs to the embedded domain: leave it"),
        (["--generator", "ffhq.pkl"], "--generator belongs to --photos: give the folder"),
        (["--encoders", "a", "b"], "--encoders takes one folder of trainings"),
        (["--photos", "p", "--encoders", "x/a.pt", "y/a.pt"], "write NAME=FILE"),
        (["--photos", "p", "--encoders", "../a=x.pt"], "write NAME=FILE"),
    ],
)
def test_options_that_do_not_fit_are_named(options, sentence, tmp_path, capsys):
    assert main(["bench", "--out", str(tmp_path), *options]) == 2
    assert sentence in capsys.readouterr().err


def test_the_command_measures_a_folder(folder, tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("<!-- photographs -->\n<!-- /photographs -->\n")
    command = ["bench", "--photos", str(folder), "--encoders", "portraits", "--count", "1"]
    options = ["--methods", "portraits-w", "--tuned", "0", "--projected", "0", "--quiet"]
    places = ["--out", str(tmp_path / "out"), "--card", str(page), "--pictures", str(tmp_path)]
    assert main([*command, *options, *places]) == 0
    printed = capsys.readouterr().out
    assert "| portraits, W |" in printed
    assert "None of the 1 pictures failed." in printed
    assert printed.strip() in page.read_text()
    assert (tmp_path / "compared-photographs-0.jpg").is_file()

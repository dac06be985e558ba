import json

import pytest
import torch
from people_data import FOLDER, TABLE, replace, write

from cycle_core.cli import main
from cycle_core.errors import InputError
from people.training import features
from people.training.__main__ import parser
from people.training.features import (
    augment,
    calibrate,
    identity_target,
    make,
    mirror,
    objective,
    train,
    visible_codes,
)
from people.training.renders import HELD_OUT, Renders
from people.training.settings import FeatureTraining


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Renders:
    """A folder in the layout of a data set, with noise for portraits: quick to make."""
    count, rng = HELD_OUT + 100, torch.Generator().manual_seed(0)
    images = torch.randint(0, 255, (count, 3, 64, 64), dtype=torch.uint8, generator=rng)
    return write(tmp_path_factory.mktemp("people"), count, 550, {"images": images})


def test_absent_glasses_have_the_code_at_which_they_begin_to_be_seen():
    factors = replace(TABLE.sample(5, seed=0), glasses=0.0)
    codes, bounds = visible_codes(factors, TABLE)
    i = TABLE.index("glasses")
    assert torch.equal(codes[:, i], bounds[i].expand(5))
    seen, _ = visible_codes(replace(factors, glasses=0.2), TABLE)
    assert (seen[:, i] > bounds[i]).all()


def test_any_low_code_is_right_for_what_is_absent_and_a_high_one_is_wrong():
    factors = replace(TABLE.sample(4, seed=0), glasses=0.0, beard=0.0, open_mouth=0.0)
    codes, _ = visible_codes(factors, TABLE)
    low, high = codes.clone(), codes.clone()
    low[:, TABLE.index("glasses")] -= 2
    high[:, TABLE.index("glasses")] += 2
    assert objective("perceptual", codes, factors, TABLE) == 0
    assert objective("perceptual", low, factors, TABLE) == 0
    assert objective("perceptual", high, factors, TABLE) > 0


def test_a_person_keeps_the_identity_target_in_other_clothes_and_moods():
    factors = TABLE.sample(6, seed=0)
    other = replace(
        factors, smile=1.0, glasses=0.9, yaw=-0.5, light_direction=1.0, background_hue=0.1
    )
    target, same = (identity_target(visible_codes(f, TABLE)[0], TABLE) for f in (factors, other))
    assert torch.allclose(target, same)
    assert torch.allclose(target.norm(dim=1), torch.ones(6))
    assert (target @ target.T - torch.eye(6)).abs().max() < 0.9


def test_a_mirrored_person_looks_and_turns_the_other_way_and_nothing_else_changes():
    people = Renders(FOLDER).batch([0, 1, 2, 3])
    images, factors = mirror(people.images, people.factors, TABLE, torch.Generator().manual_seed(0))
    flipped = (images == people.images.flip(3)).all((1, 2, 3))
    assert 0 < flipped.sum() < 4
    turned = [
        factors[:, TABLE.index(n)] / people.factors[:, TABLE.index(n)] for n in ("yaw", "look_x")
    ]
    assert all(torch.equal(t < 0, flipped) for t in turned)
    keep = [i for i, name in enumerate(TABLE.names) if name not in features.MIRRORED]
    assert torch.equal(factors[:, keep], people.factors[:, keep])
    assert torch.equal(images[~flipped], people.images[~flipped])


def test_augmentation_moves_pictures_a_little_and_only_by_its_own_random_numbers():
    images = torch.rand(8, 3, 64, 64)
    first = augment(images, torch.Generator().manual_seed(1))
    assert torch.equal(first, augment(images, torch.Generator().manual_seed(1)))
    assert not torch.equal(first, augment(images, torch.Generator().manual_seed(2)))
    assert (first - images).mean().abs() < 0.05


def test_an_interrupted_training_ends_with_the_same_weights(data, tmp_path):
    settings = FeatureTraining(resolution=64, steps=4, batch=8, save_every=2)
    whole = train(data, tmp_path / "whole", settings)

    def stop(step: int, total: int, preview: object) -> None:
        if step == 3:
            raise Stopped

    with pytest.raises(Stopped):
        train(data, tmp_path / "halves", settings, callback=stop)
    resumed = train(data, tmp_path / "halves", settings)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    log = (tmp_path / "halves" / "log.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in log]
    assert steps == [2, 4]


def test_a_run_is_not_resumed_with_other_settings(data, tmp_path):
    settings = FeatureTraining(kind="identity", resolution=64, steps=1, batch=8)
    train(data, tmp_path, settings)
    with pytest.raises(InputError, match="seed=1"):
        train(
            data,
            tmp_path,
            FeatureTraining(kind="identity", resolution=64, seed=5, steps=1, batch=8),
        )


def test_calibration_gives_every_level_the_same_share_of_the_distance(data):
    net = make(FeatureTraining(role="metrics", resolution=64), TABLE).eval()
    calibrate(net, data)
    images, _, _, _ = data.batch(data.held_out[:200])
    distance = features.Lpips(net, "")(images[:100], images[100:])  # type: ignore[arg-type]
    assert distance.mean().item() == pytest.approx(features.DISTANCE, rel=0.05)


def test_the_roles_have_networks_of_different_width():
    for kind in FeatureTraining.KINDS:
        loss, metrics = (
            make(FeatureTraining(kind=kind, role=role), TABLE) for role in ("loss", "metrics")
        )
        assert loss.config != metrics.config


def test_bad_input_is_answered_with_one_sentence_and_exit_code_2(tmp_path, capsys):
    command = [
        "features",
        "identity",
        str(tmp_path),
        "--role",
        "loss",
        "--out",
        str(tmp_path / "r"),
    ]
    assert main(command, parser) == 2
    assert "index.json" in capsys.readouterr().err
    with pytest.raises(InputError, match="perceptual, identity"):
        FeatureTraining(kind="landmarks")

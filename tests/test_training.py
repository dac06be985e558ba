"""Encoder training: optimisers, logs, checkpoints, data order, and that resuming is exact."""

import json
import os
import sys
from dataclasses import replace

import pytest
import torch
from small_training import Parts
from torch import nn

from cycle_core.checkpoints.registry import load_encoder
from cycle_core.errors import CheckpointError, CycleError, InputError
from cycle_core.files.disk import write_atomically
from cycle_core.images.io import save_image
from cycle_core.models.generator import Generator
from cycle_core.runtime.optim import Muon, Ranger, orthogonalize, update_average
from cycle_core.training import loop
from cycle_core.training.data import Order, Prefetcher
from cycle_core.training.encoder import EncoderTrainer, train
from cycle_core.training.log import LOG, Log, Means
from cycle_core.training.schedule import ScheduleSettings
from cycle_core.training.settings import EncoderTraining

torch.set_num_threads(1)


# ------------------------------------------------------------------ optimisers
def test_ranger_without_its_extras_is_radam():
    ranger, radam = nn.Parameter(torch.ones(5)), nn.Parameter(torch.ones(5))
    ours = Ranger([ranger], lr=0.1, lookahead_steps=1000)
    theirs = torch.optim.RAdam([radam], lr=0.1, betas=(0.95, 0.999), eps=1e-5)
    for step in range(20):
        ranger.grad = torch.linspace(-1, 1, 5) * (step + 1)
        radam.grad = ranger.grad.clone()
        ours.step()
        theirs.step()
    assert torch.equal(ranger, radam)


def test_ranger_goes_halfway_back_every_six_updates():
    ahead, back = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3))
    without = Ranger([ahead], lr=0.1, lookahead_steps=1000)
    ranger = Ranger([back], lr=0.1)
    for step in range(6):
        assert torch.equal(ahead, back), f"differs already after {step} updates"
        ahead.grad, back.grad = torch.ones(3), torch.ones(3)
        without.step()
        ranger.step()
    assert torch.allclose(back, ahead / 2)  # from 0


def test_a_run_that_goes_on_clears_what_a_killed_process_left_half_written(tmp_path):
    unfinished = []

    def kill(part):
        part.write_bytes(b"half")
        unfinished.append(part.parent)
        part.parent.rename(tmp_path / "left")  # a killed process does not clear up
        raise KeyboardInterrupt

    foreign = [".log.jsonl.swp", ".mine", ".tmpA1b2C3"]
    for name in foreign:
        (tmp_path / name).write_bytes(b"of others")
    for name in ("checkpoint.pt", "log.jsonl", "encoder.safetensors"):
        with pytest.raises(KeyboardInterrupt):
            write_atomically(tmp_path / name, kill)
        (tmp_path / "left").rename(unfinished[-1])
    with loop.open_run(tmp_path):
        assert sorted(path.name for path in tmp_path.glob(".*")) == foreign


def test_ranger_centralises_kernels_but_not_vectors():
    kernel, vector = nn.Parameter(torch.zeros(2, 3, 3, 3)), nn.Parameter(torch.zeros(4))
    optimizer = Ranger([kernel, vector], lr=0.1)
    kernel.grad, vector.grad = torch.ones_like(kernel), torch.ones_like(vector)
    optimizer.step()
    assert torch.equal(kernel, torch.zeros_like(kernel))
    assert (vector < 0).all()


def test_ranger_lets_parameters_without_gradient_rest():
    moving, resting = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizer = Ranger([moving, resting], lr=0.1)
    for _ in range(6):
        moving.grad = torch.ones(3)
        optimizer.step()
    assert torch.equal(resting, torch.ones(3))
    assert not optimizer.state[resting]


@pytest.mark.parametrize("shape", [(6, 40), (40, 6)])
def test_orthogonalized_matrix_has_singular_values_near_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalize(matrix))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_muon_moves_kernels_and_biases_about_as_far():
    kernel, bias = nn.Parameter(torch.zeros(16, 8, 3, 3)), nn.Parameter(torch.zeros(16))
    optimizer = Muon([kernel, bias], lr=0.1)
    random = torch.Generator().manual_seed(0)
    kernel.grad = torch.randn(kernel.shape, generator=random)
    bias.grad = torch.randn(16, generator=random)
    optimizer.step()
    for parameter in (kernel, bias):
        assert 0.07 < parameter.detach().square().mean().sqrt() < 0.12


# ------------------------------------------------------------------ common
def test_order_shows_every_picture_once_an_epoch():
    order = Order(count=7, batch=3, seed=1)
    seen = torch.cat([order(step) for step in range(7)])  # three epochs
    for epoch in seen.split(7):
        assert sorted(epoch.tolist()) == list(range(7))
    assert not torch.equal(seen[:7], seen[7:14])


def test_order_depends_on_seed_and_step_alone():
    walked = Order(50, 8, seed=3)
    for step in range(20):
        walked(step)
    assert torch.equal(walked(5), Order(50, 8, seed=3)(5))
    assert not torch.equal(walked(5), Order(50, 8, seed=4)(5))


def test_resumed_log_forgets_the_lines_of_lost_steps(tmp_path):
    log = Log(tmp_path)
    for step in (10, 20, 30):
        log.write(step, loss=1.0)
    with open(log.path, "a") as file:
        file.write('{"step": 40, "lo')  # the process was killed here
    Log(tmp_path, step=20).write(25, loss=2.0)
    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 25]


def test_means_refuse_values_that_are_not_finite():
    means = Means()
    means.add(loss=torch.tensor(float("nan")))
    with pytest.raises(CycleError, match="before step 7: loss"):
        means.pop(7)


def test_another_program_that_trains_in_the_folder_is_left_alone(tmp_path):
    fcntl = pytest.importorskip("fcntl", reason="there are no such locks on Windows")
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    for _ in range(2):  # a run of this process may be resumed in it
        with loop.open_run(mine), pytest.raises(BlockingIOError):  # what another program would meet
            fcntl.flock(os.open(mine, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    theirs.mkdir()
    half = theirs / ".checkpoint.pt.0123456789ab"
    half.touch()
    handle = os.open(theirs, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(InputError, match="Another program is training in"), loop.open_run(theirs):
        pass
    assert half.exists()
    os.close(handle)  # it ended
    with loop.open_run(theirs):
        assert not half.exists()


def test_the_checkpoint_of_something_else_is_named(tmp_path):
    loop.save_checkpoint(tmp_path, {"g_ema": {"weight": torch.ones(3)}, "step": 5})
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt cannot be read as a checkpoint"):
        loop.load_checkpoint(tmp_path)


def test_damaged_checkpoint_is_named(tmp_path):
    loop.save_checkpoint(tmp_path, {"weights": torch.ones(1000)})
    whole = (tmp_path / loop.CHECKPOINT).read_bytes()
    (tmp_path / loop.CHECKPOINT).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt"):
        loop.load_checkpoint(tmp_path)


def test_average_follows_parameters_and_copies_buffers():
    average, model = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    nn.init.constant_(model.weight, 3.0)
    model.get_buffer("running_mean").fill_(5.0)
    update_average(average, model, decay=0.75)
    assert average.weight.tolist() == [1.5, 1.5]
    assert average.get_buffer("running_mean").tolist() == [5.0, 5.0]


# ------------------------------------------------------------------ the encoder's training
@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return Parts(tmp_path_factory.mktemp("pictures"))


class Interrupted(Exception):
    pass


def interrupt_at(step):
    def callback(now, total, preview):
        if now == step:
            raise Interrupted

    return callback


def flat(value, name=""):
    """(name, leaf) of nested dicts and lists."""
    if isinstance(value, dict):
        return [leaf for k, v in value.items() for leaf in flat(v, f"{name}/{k}")]
    if isinstance(value, list | tuple):
        return [leaf for i, v in enumerate(value) for leaf in flat(v, f"{name}/{i}")]
    return [(name, value)]


def test_resumed_training_equals_an_uninterrupted_one_to_the_bit(parts, tmp_path):
    settings = {"warmup_steps": 3, "pool": 3, "r1_interval": 4}
    parts.train(tmp_path / "straight", **settings)
    for step in (2, 11, 16):  # before the first checkpoint, and after the first and the second
        with pytest.raises(Interrupted):
            parts.train(tmp_path / "resumed", interrupt_at(step), **settings)
        torch.randn(3)  # what else happened to torch's random numbers must not matter
    parts.train(tmp_path / "resumed", **settings)
    straight, resumed = (
        dict(flat(loop.load_checkpoint(tmp_path / name))) for name in ("straight", "resumed")
    )
    assert straight.keys() == resumed.keys()
    ours = [name for name in straight if not name.startswith("/random/cpu")]
    assert sum(isinstance(straight[name], torch.Tensor) for name in ours) > 200
    for name in ours:
        a, b = straight[name], resumed[name]
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b, name


def test_finished_training_leaves_an_encoder_log_and_grids(parts, tmp_path):
    trained = parts.train(tmp_path)
    encoder = load_encoder(tmp_path / "encoder.safetensors")
    assert encoder.stage == 0  # the cycle ended in W
    assert encoder.generator_id == parts.generator.fingerprint
    image = torch.zeros(1, 3, 32, 32)
    assert torch.allclose(encoder.encode(image), trained.encode(image), atol=1e-5)
    assert torch.equal(encoder.w_avg[3], parts.generator.w_avg)
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert {"l2", "lpips", "id", "adv", "delta", "discriminator"} <= lines[0].keys()
    assert lines[-1]["validation"]["W"].keys() == {"mse", "lpips", "identity"}
    assert len(list((tmp_path / "samples").glob("*.png"))) == 4


def test_path_to_w_plus_ends_with_all_heads_and_changes_nothing_passed_in(parts, tmp_path):
    before = parts.generator.fingerprint
    grads = [p.requires_grad for p in parts.generator.parameters()]
    state = {k: v.clone() for k, v in parts.identity.state_dict().items()}
    encoder = parts.train(tmp_path, schedule=ScheduleSettings(phases="w+"))
    assert encoder.stage == 7  # all heads
    assert parts.generator.fingerprint == before
    assert [p.requires_grad for p in parts.generator.parameters()] == grads
    assert all(torch.equal(v, state[k]) for k, v in parts.identity.state_dict().items())


def test_warm_up_learns_the_known_w_of_generated_pictures(parts, tmp_path):
    with pytest.raises(Interrupted):
        parts.train(
            tmp_path,
            interrupt_at(60),
            warmup_steps=60,
            learning_rate=3e-3,
            log_every=10,
            save_every=1000,
        )
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert {line["phase"] for line in lines} == {"warmup"}
    assert lines[-1]["w"] < 0.9 * lines[0]["w"]


def test_losses_on_smaller_pictures_let_the_upper_heads_rest(parts, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="a size of 32 or more: the encoder reads 32 pixels"):
        parts.train(tmp_path / "blurred", size=16)
    monkeypatch.setattr(parts, "config", replace(parts.config, input_size=16))
    settings = {"size": 16, "schedule": ScheduleSettings(phases="w+", delta=0.0, adv=0.0)}
    with pytest.raises(Interrupted):
        parts.train(tmp_path, interrupt_at(16), save_every=16, **settings)
    early = load_encoder(tmp_path / "encoder.safetensors").state_dict()
    late = parts.train(tmp_path, save_every=1000, **settings).state_dict()
    moved = [i for i in range(8) if not torch.equal(early[key(i)], late[key(i)])]
    assert moved == [0, 1, 2, 3, 4, 5]  # a picture of 16 pixels takes six styles
    with pytest.raises(InputError, match="no pictures of 24 pixels"):
        parts.train(tmp_path / "other", size=24)


def key(head):
    return f"styles.{head}.linear.weight"


def test_heads_beyond_the_stage_are_not_trained(parts, tmp_path):
    only_w = ScheduleSettings(phases="w")
    with pytest.raises(Interrupted):
        parts.train(tmp_path, interrupt_at(1), schedule=only_w, save_every=1)
    early = load_encoder(tmp_path / "encoder.safetensors").state_dict()
    late = parts.train(tmp_path, schedule=only_w, save_every=1000).state_dict()
    assert not torch.equal(early["styles.0.linear.weight"], late["styles.0.linear.weight"])
    for name in [n for n in early if n.startswith("styles.") and not n.startswith("styles.0.")]:
        assert torch.equal(early[name], late[name]), name


def test_other_settings_and_networks_do_not_resume_a_run(parts, tmp_path, monkeypatch):
    with pytest.raises(Interrupted):
        parts.train(tmp_path, interrupt_at(8))
    with pytest.raises(InputError, match=r"learning_rate=0\.001, but learning_rate=0\.1"):
        parts.train(tmp_path, learning_rate=0.1)
    with monkeypatch.context() as patch:
        patch.setattr(parts.identity, "name", "another")
        with pytest.raises(InputError, match=r"network=identity, but identity network=another"):
            parts.train(tmp_path)


def test_pictures_that_are_not_square_are_refused(parts, tmp_path):
    save_image(torch.zeros(3, 32, 48), tmp_path / "pictures" / "wide.png")
    save_image(torch.zeros(3, 32, 48), tmp_path / "pictures" / "wider.png")
    with pytest.raises(InputError, match="48x32"):
        train(
            parts.generator, tmp_path / "pictures", tmp_path / "run", EncoderTraining(steps=21),
            parts.perceptual, parts.identity, parts.config,
        )  # fmt: skip


def test_a_generator_of_other_pictures_than_photos_gets_no_encoder(parts, tmp_path):
    grey = Generator(replace(parts.generator.config, img_channels=1))
    with pytest.raises(InputError, match="square RGB ones are needed"):
        train(grey, tmp_path / "pictures", tmp_path / "run", EncoderTraining(), None, None)


@pytest.mark.parametrize("other", [{"w_dim": 8}, {"num_ws": 6}])
def test_an_encoder_of_another_shape_than_the_generator_s_is_refused(parts, tmp_path, other):
    with pytest.raises(InputError, match="takes 8 of 16: change the encoder's configuration"):
        train(
            parts.generator, tmp_path / "pictures", tmp_path / "run", EncoderTraining(steps=21),
            None, None, replace(parts.config, **other),
        )  # fmt: skip


def test_gradients_of_a_batch_in_parts_are_the_mean_of_the_parts(parts):
    def gradients(step, **settings):
        path = ScheduleSettings(phases="w")
        settings = EncoderTraining(steps=24, schedule=path, held_out=2, **settings)
        run = EncoderTrainer(
            parts.generator, parts.folder, settings, parts.perceptual, parts.identity, parts.config
        )
        run.step = step
        run.advance()
        return {n: p.grad for n, p in run.encoder.named_parameters() if p.grad is not None}

    together = gradients(0, batch=4, accumulate=2)
    first, second = gradients(0, batch=2), gradients(1, batch=2)  # the same pictures
    assert len(together) > 40
    for name, gradient in together.items():
        mean = (first[name] + second[name]) / 2
        assert torch.allclose(gradient, mean, rtol=1e-4, atol=1e-6), name


def test_checkpoints_from_before_a_setting_resume(parts, tmp_path):
    with pytest.raises(Interrupted):
        parts.train(tmp_path, interrupt_at(8))
    state = loop.load_checkpoint(tmp_path)
    assert state is not None
    settings, schedule = state["settings"], state["settings"]["schedule"]
    for name in ("accumulate", "compile", "tensorboard"):
        del settings[name]
    settings["warmup"] = settings.pop("warmup_steps")
    for name in ("", "discriminator_", "warmup_"):
        settings[f"{name}lr"] = settings.pop(f"{name}learning_rate")
    settings["lr_decay"] = settings.pop("learning_rate_decay")
    schedule |= {"path": schedule.pop("phases"), "tighten": True}
    del state["digest"]
    loop.save_checkpoint(tmp_path, state)
    seen = []
    parts.train(tmp_path, lambda step, total, preview: seen.append(step))
    assert seen[0] == 8  # after the checkpoint at step 7


def test_other_pictures_do_not_resume_a_run(parts, tmp_path):
    with pytest.raises(Interrupted):
        parts.train(tmp_path / "run", interrupt_at(8))
    (tmp_path / "pictures").mkdir()
    others = Parts(tmp_path / "pictures")
    (others.folder / "0.png").unlink()
    with pytest.raises(InputError, match="other pictures"):
        others.train(tmp_path / "run")


def test_missing_tensorboard_is_told_before_the_first_step(parts, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as if not installed
    with pytest.raises(InputError, match="pip install tensorboard"):
        parts.train(tmp_path, tensorboard=True)


def test_tensorboard_gets_the_log(tmp_path):
    module = "tensorboard.backend.event_processing.event_accumulator"
    accumulator = pytest.importorskip(module, reason="an optional extra")
    log = Log(tmp_path, tensorboard=True)
    log.write(5, loss=2.0, phase="w", validation={"W": {"mse": 0.25}})
    log.save_grid(5, {"target": torch.zeros(2, 3, 64, 64)})
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("validation/W/mse")] == [(5, 0.25)]
    assert events.Tags()["images"] == ["samples"]


def test_what_cannot_be_read_ahead_is_told_when_it_is_needed():
    def read(step):
        if step == 2:
            raise InputError("broken")
        return step * 10

    ahead = Prefetcher(read)
    assert [ahead(0), ahead(1)] == [0, 10]
    with pytest.raises(InputError):
        ahead(2)
    assert ahead(7) == 70

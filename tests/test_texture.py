"""The second phase of the embedded generator's training: the upper layers learn texture alone."""

from dataclasses import replace

import torch
from people_data import TABLE, write
from test_generator_training import SMALL

from cycle_core.checkpoints.registry import load_generator
from cycle_core.models.generator import Generator
from cycle_core.models.stylegan2 import StyleGAN2Config
from cycle_core.training.discriminator import train_discriminator
from people.training.generator import RegressionTrainer, train
from people.training.renders import HELD_OUT
from people.training.texture import Crops, PatchDiscriminator

CONFIG = StyleGAN2Config(
    resolution=128, z_dim=4, w_dim=8, mapping_layers=1, channels=(8, 8, 8, 8, 6, 4)
)


def test_a_crop_is_what_the_whole_picture_has_there():
    torch.manual_seed(0)
    G = Generator(CONFIG)
    w = G.mapping(torch.randn(3, 4))
    crops = Crops(G, 3, torch.Generator().manual_seed(5))
    rendered, whole = crops.render(w, "none"), crops.of(G.synthesis(w, noise="none"))
    assert rendered.shape == whole.shape == (3, 3, 64, 64)
    inside = (..., slice(16, -16), slice(16, -16))  # beyond what the cut edges reach
    torch.testing.assert_close(rendered[inside], whole[inside])
    assert len({tuple(corner) for corner in crops.corners.tolist()}) > 1


def test_gradients_reach_the_upper_blocks_alone():
    G = Generator(CONFIG)
    w = torch.randn(2, G.num_ws, 8)
    Crops(G, 2, torch.Generator()).render(w, "random").sum().backward()
    reached = {name.split(".")[2] for name, p in G.named_parameters() if p.grad is not None}
    assert reached == {"3", "4", "5"}


def test_texture_leaves_the_space_as_it_is(tmp_path):
    count = HELD_OUT + 200
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
    data = write(tmp_path, count, count, {"images": images})
    settings = replace(SMALL, channels=(8, 8, 8, 8))
    start = RegressionTrainer(data, settings).average
    settings = replace(settings, regression_images=0, adversarial_images=32)
    train(data, tmp_path / "run", settings, start=start)
    after = load_generator(tmp_path / "run" / "generator.safetensors")
    assert after.has_space_of(start.fingerprint)
    assert after.fingerprint != start.fingerprint
    z = torch.randn(4, len(TABLE), generator=torch.Generator().manual_seed(0))
    assert torch.equal(after.mapping(z), start.mapping(z))
    learned = {
        name
        for name, value in start.synthesis.named_parameters()
        if not torch.equal(value, after.synthesis.get_parameter(name))
    }
    assert {name.split(".")[1] for name in learned} == {"1", "2", "3"}
    assert sum(name.endswith("noise_strength") for name in learned) == 6


def test_noise_begins_where_the_first_phase_ends_within_a_step(tmp_path):
    count = HELD_OUT + 200
    images = torch.zeros(count, 3, 16, 16, dtype=torch.uint8)
    data = write(tmp_path, count, count, {"images": images})
    trainer = RegressionTrainer(data, replace(SMALL, regression_images=12))
    strengths = [p for n, p in trainer.generator.named_parameters() if n.endswith("noise_strength")]
    for _ in range(2):
        trainer.advance()
    assert not any(strengths)
    trainer.advance()
    assert sum(map(bool, strengths)) == 4  # of the two upper blocks


def test_the_penalty_does_not_grow_with_the_number_of_patches():
    penalties = []
    for side in (64, 128):
        torch.manual_seed(0)
        D = PatchDiscriminator(8)
        pictures = torch.randn(2, 3, side, side)
        optimizer = torch.optim.SGD(D.parameters(), 0.0)
        penalties.append(train_discriminator(D, optimizer, pictures, pictures, 1.0)["r1"])
    assert 0.7 < penalties[0] / penalties[1] < 1.4

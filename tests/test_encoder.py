from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from parity import IRSE_TOLERANCE, image_of, load_case, relative_error

from cycle_core.bench.sets import open_set
from cycle_core.checkpoints.native import save_model
from cycle_core.checkpoints.registry import load_encoder, load_generator
from cycle_core.errors import InputError, MismatchError
from cycle_core.invert.encode import encode
from cycle_core.invert.generate import generate
from cycle_core.invert.w_scale import farthest
from cycle_core.models.encoder import Encoder, EncoderConfig
from cycle_core.models.generator import Generator
from cycle_core.models.irse import IdentityNet
from cycle_core.models.stylegan2 import StyleGAN2Config
from people.training.features import make
from people.training.settings import FeatureTraining
from people.training.world import World

TINY = EncoderConfig(
    num_ws=10, w_dim=16, input_size=64, widths=(8, 8, 8, 16, 16), units=(1, 1, 1, 1), reduction=4
)


@pytest.fixture(scope="module", params=["encoder4editing_64", "encoder4editing_1024"])
def published(request, tmp_path_factory):
    """An encoder from a file as e4e publishes it."""
    case = load_case(request.param)
    content = {
        "state_dict": {f"encoder.{name}": tensor for name, tensor in case.state_dict().items()},
        "opts": {"encoder_type": "Encoder4Editing", "start_from_latent_avg": True},
        "latent_avg": torch.zeros(case.meta["style_count"], 512),
    }
    path = tmp_path_factory.mktemp("e4e") / f"{request.param}.pt"
    torch.save(content, path)
    del content  # a gigabyte
    encoder = load_encoder(path)
    path.unlink()
    return encoder, case


@pytest.mark.parametrize("size", [16, 32])
def test_the_default_of_a_small_generator_has_a_code_for_each_picture(size):
    num_ws = 2 * size.bit_length() - 4
    encoder = Encoder(EncoderConfig.embedded(num_ws, 8, size)).eval()
    assert encoder(torch.zeros(1, 3, size, size)).shape == (1, num_ws, 8)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return Encoder(TINY).eval()


@torch.no_grad()
def test_the_full_size_encoder_agrees_with_the_published_one_at_every_stage(published):
    encoder, case = published
    image = image_of(case)
    for name, expected in case.expected.items():
        stage = int(name.removeprefix("codes_stage")) if "stage" in name else encoder.stage
        assert relative_error(encoder(image, stage), expected) < IRSE_TOLERANCE, name


@torch.no_grad()
def test_stage_0_is_w_and_each_stage_moves_one_row_more(encoder):
    image = torch.randn(2, 3, 64, 64)
    for stage in range(10):
        rows = encoder(image, stage)
        moved = (rows != rows[:, :1]).any(dim=2).all(dim=0)  # [N]
        assert moved.tolist() == [0 < i <= stage for i in range(10)]


@torch.no_grad()
def test_a_stage_keeps_the_rows_of_the_stages_below_it(encoder):
    image = torch.randn(1, 3, 64, 64)
    full = encoder(image, 9)
    for stage in range(10):
        assert torch.allclose(encoder(image, stage)[:, : stage + 1], full[:, : stage + 1])


@torch.no_grad()
def test_the_stage_trained_last_is_the_default_and_survives_saving(encoder, tmp_path):
    image = torch.randn(1, 3, 64, 64)
    assert encoder.stage == 9
    encoder.stage = 4
    encoder.w_avg += 0.5
    save_model(tmp_path / "e.safetensors", "encoder", encoder.config, encoder.state_dict())
    loaded = load_encoder(tmp_path / "e.safetensors")
    assert loaded.stage == 4
    # the last bit depends on where in memory a tensor lies
    assert torch.allclose(loaded(image), encoder(image, 4), atol=1e-6)
    assert torch.equal(loaded.w_avg, encoder.w_avg)


@torch.no_grad()
def test_encode_takes_any_size_and_adds_the_mean_code(encoder):
    encoder.w_avg += torch.randn(16)
    image = torch.randn(2, 3, 128, 128)
    small = torch.nn.functional.avg_pool2d(image, 2)
    assert torch.allclose(encoder.encode(image), encoder.w_avg + encoder(small))


def test_the_embedded_body_starts_as_the_identity_networks_body():
    encoder = Encoder(EncoderConfig.embedded(num_ws=10, w_dim=128))
    identity = make(FeatureTraining(kind="identity"), World(()))
    assert isinstance(identity, IdentityNet)
    encoder.init_body(identity)
    for name, tensor in encoder.body.state_dict().items():
        assert torch.equal(tensor, identity.body.state_dict()[name])
    with pytest.raises(MismatchError, match="widths"):
        Encoder(TINY).init_body(identity)


def test_an_encoder_starts_with_the_body_of_another_one_and_heads_of_its_own():
    first, second = (Encoder(EncoderConfig.embedded(n, w_dim=128)) for n in (10, 14))
    second.init_body(first)
    bodies = [one.body.state_dict() for one in (first, second)]
    assert all(torch.equal(bodies[0][name], tensor) for name, tensor in bodies[1].items())
    assert not torch.equal(*(next(one.styles.parameters()) for one in (first, second)))


def test_every_weight_of_the_active_heads_gets_a_gradient(encoder):
    encoder(torch.randn(1, 3, 64, 64), 9).square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_wrong_input_is_refused_in_words(encoder):
    with pytest.raises(InputError, match=r"encoder\.resize"):
        encoder(torch.zeros(1, 3, 32, 32))
    with pytest.raises(InputError, match=r"0 \(W\) to 9"):
        encoder(torch.zeros(1, 3, 64, 64), 10)
    with pytest.raises(InputError, match="power of two"):
        EncoderConfig(input_size=96)


@pytest.mark.parametrize(
    ("resolution", "w_dim", "size", "published"),
    [(1024, 512, 256, True), (256, 512, 256, True), (256, 128, 128, False), (64, 512, 64, False)],
)
def test_the_encoder_fits_the_size_of_the_generator(resolution, w_dim, size, published):
    with torch.device("meta"):  # no memory for the weights
        generator = Generator(StyleGAN2Config(resolution=resolution, w_dim=w_dim))
    config = EncoderConfig.for_generator(generator)
    assert config.input_size == size
    assert (config.widths == EncoderConfig().widths) is published


def test_codes_end_at_a_distance_from_the_mean_and_nearer_ones_keep_their_bits():
    torch.manual_seed(0)
    config = EncoderConfig.embedded(8, 16, 32)
    free = Encoder(config).eval()
    images = torch.rand(6, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        codes = free.encode(images)
        distance = (codes - free.w_avg).norm(dim=-1)
        end = float(distance.median())
        bounded = Encoder(replace(config, farthest=end)).eval()
        bounded.load_state_dict(free.state_dict())
        found = bounded.encode(images)
    near = distance <= end
    assert near.any()
    assert not near.all()
    assert torch.equal(found[near], codes[near])
    offsets, before = (found - free.w_avg)[~near], (codes - free.w_avg)[~near]
    assert torch.allclose(offsets.norm(dim=-1), torch.tensor(end))
    assert torch.allclose(F.cosine_similarity(offsets, before, dim=-1), torch.tensor(1.0))


def test_the_embedded_encoder_gives_codes_of_people_for_strange_pictures():
    people = open_set("outside")
    E, G = load_encoder("portraits"), load_generator("portraits")
    codes = encode(E, people.images)
    assert E.config.farthest == pytest.approx(farthest(G), rel=1e-4)
    assert (codes.w - G.w_avg).norm(dim=-1).max() < 1.001 * farthest(G)
    assert generate(G, codes).abs().max() < 2

import pytest
import torch
import torch.nn.functional as F
from parity import IRSE_TOLERANCE, image_of, load_case, relative_error
from torch import nn

from cycle_core.errors import InputError
from cycle_core.images.resize import average_pool, resize
from cycle_core.measure.recognition import load_identity
from cycle_core.models.irse import IdentityConfig, IdentityNet, Pointwise

SMALL = IdentityConfig(
    widths=(8, 8, 16, 16, 32),
    units=(1, 1, 1, 1),
    reduction=4,
    embedding=16,
    input_size=32,
    crop=None,
)


@pytest.fixture(scope="module")
def arcface(tmp_path_factory):
    """The network from a file as ArcFace is published."""
    case, folder = load_case("arcface_irse50"), tmp_path_factory.mktemp("arcface")
    torch.save(case.state_dict(), folder / "model_ir_se50.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CYCLE_CORE_MODELS", str(folder))
        net = load_identity(network="arcface")
    return net, image_of(case), case.expected["embedding"]


@torch.no_grad()
def test_the_full_size_network_agrees_with_the_published_one(arcface):
    net, image, expected = arcface
    assert relative_error(net(image), expected) < IRSE_TOLERANCE


@torch.no_grad()
def test_the_parity_case_notices_another_epsilon(arcface):
    net, image, expected = arcface
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d)]
    try:
        for norm in norms:
            norm.eps = 2e-5
        assert relative_error(net(image), expected) > IRSE_TOLERANCE
    finally:
        for norm in norms:
            norm.eps = 1e-5


def test_arcface_looks_at_the_middle_of_the_crop_pooled_to_112():
    image = torch.rand(1, 3, 256, 256)
    expected = F.adaptive_avg_pool2d(image[:, :, 35:223, 32:220], 112)
    assert torch.allclose(
        IdentityNet.prepare(_holder(IdentityConfig()), image), expected, atol=1e-6
    )


@torch.no_grad()
def test_embeddings_have_length_one_for_pictures_of_any_size():
    net = IdentityNet(SMALL).eval()
    for size in (32, 64, 48):
        assert torch.allclose(net(torch.randn(2, 3, size, size)).norm(dim=1), torch.ones(2))


@torch.no_grad()
def test_a_batch_gives_what_its_pictures_give_alone():
    net = IdentityNet(SMALL).eval()
    x = torch.randn(3, 3, 32, 32)
    assert torch.allclose(net(x), torch.cat([net(row[None]) for row in x]), atol=1e-6)


def test_impossible_shapes_are_refused_in_words():
    with pytest.raises(InputError, match="multiple of 16"):
        IdentityConfig(input_size=100)
    with pytest.raises(InputError, match="widths"):
        IdentityConfig(widths=(8, 8))


@pytest.mark.parametrize(("length", "size"), [(188, 112), (8, 4), (7, 3), (4, 8)])
def test_average_pool_is_the_adaptive_pooling_of_torch(length, size):
    x = torch.rand(1, 2, length, length + 1)
    assert torch.allclose(average_pool(x, size), F.adaptive_avg_pool2d(x, size), atol=1e-6)


def test_resize_keeps_the_mean_and_passes_gradients():
    x = torch.rand(1, 3, 96, 96, requires_grad=True)
    for size in (48, 64, 36):
        y = resize(x, size)
        assert y.shape == (1, 3, size, size)
        assert y.mean().item() == pytest.approx(x.mean().item(), abs=2e-3)
        y.sum().backward()
    assert x.grad is not None
    assert (x.grad > 0).all()


def _holder(config: IdentityConfig) -> IdentityNet:
    """An identity network without its weights, for what depends on the configuration alone."""
    with torch.device("meta"):
        return IdentityNet(config)


def test_a_pointwise_convolution_skips_like_a_strided_one():
    conv = Pointwise(8, 16, 2)
    x = torch.randn(3, 8, 6, 6)
    strided = F.conv2d(x, conv.weight, stride=2)
    assert torch.allclose(conv(x), strided, atol=1e-6)

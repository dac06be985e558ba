import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cycle_core.bench.sets import open_set
from cycle_core.errors import CheckpointError, InputError, MissingFileError
from cycle_core.files import weights
from cycle_core.files.assets import ASSETS
from cycle_core.measure.comparison import Judge
from cycle_core.measure.perceptual import (
    VGG16,
    AlexNet,
    Lpips,
    PortraitNet,
    PortraitNetConfig,
    load_attributes,
    load_perceptual,
)
from cycle_core.measure.recognition import load_identity
from cycle_core.measure.selection import Networks
from cycle_core.models.factors import Factor

ALEX_FILE, HEADS_FILE = "alexnet-owt-7be5be79.pth", "lpips_alex.pth"
VGG_FILE = "vgg16-397923af.pth"


@pytest.fixture
def alex():
    torch.manual_seed(0)
    net = AlexNet().eval()
    for i in range(5):
        net.get_parameter(f"lin{i}.model.1.weight").data.abs_()
    return net


def published_lpips(state, a, b):
    """LPIPS 0.1 written out from the paper and the tensors of the published files."""
    shift = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)

    def taps(x):
        x, out = (x - shift) / scale, []
        for i, (stride, padding, pool) in {
            0: (4, 2, False),
            3: (1, 2, True),
            6: (1, 1, True),
            8: (1, 1, False),
            10: (1, 1, False),
        }.items():
            x = F.max_pool2d(x, 3, 2) if pool else x
            weight, bias = state[f"features.{i}.weight"], state[f"features.{i}.bias"]
            x = F.relu(F.conv2d(x, weight, bias, stride, padding))
            out.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return out

    total = torch.zeros(len(a))
    for i, (x, y) in enumerate(zip(taps(a), taps(b), strict=True)):
        layer = F.conv2d((x - y) ** 2, state[f"lin{i}.model.1.weight"])
        total += layer.mean((1, 2, 3))
    return total


@torch.no_grad()
def test_alexnet_lpips_follows_the_published_formula(alex):
    a, b = torch.rand(2, 3, 64, 96) * 2 - 1, torch.rand(2, 3, 64, 96) * 2 - 1
    expected = published_lpips(alex.state_dict(), a, b)
    assert torch.allclose(Lpips(alex, "LPIPS (AlexNet)")(a, b), expected, rtol=1e-4)


@torch.no_grad()
def test_vgg_lpips_taps_the_last_layer_before_each_pooling(tmp_path, monkeypatch):
    monkeypatch.setenv("CYCLE_CORE_MODELS", str(tmp_path))
    torch.manual_seed(0)
    state = VGG16().state_dict()
    torch.save({k: v for k, v in state.items() if k[:8] == "features"}, tmp_path / VGG_FILE)
    torch.save({k: v for k, v in state.items() if k[:3] == "lin"}, tmp_path / "vgg.pth")
    a, b = torch.rand(2, 1, 3, 48, 48) * 2 - 1
    shift = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)
    x, total, tap = torch.cat([(a - shift) / scale, (b - shift) / scale]), torch.zeros(1), 0
    for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28):  # the published convolutions
        if i in (5, 10, 17, 24):
            x = F.max_pool2d(x, 2)
        x = F.relu(F.conv2d(x, state[f"features.{i}.weight"], state[f"features.{i}.bias"], 1, 1))
        if i in (2, 7, 14, 21, 28):
            y = F.normalize(x, dim=1, eps=1e-10)
            weight = state[f"lin{tap}.model.1.weight"]
            total, tap = total + F.conv2d((y[:1] - y[1:]) ** 2, weight).mean(), tap + 1
    found = load_perceptual("metrics", network="vgg")
    assert found.name == "LPIPS (VGG16)"
    assert torch.allclose(found(a, b), total, rtol=1e-4)


@torch.no_grad()
def test_the_published_lpips_files_are_used_where_they_are_found(alex, tmp_path, monkeypatch):
    monkeypatch.setenv("CYCLE_CORE_MODELS", str(tmp_path))
    state = alex.state_dict()
    backbone = {k: v for k, v in state.items() if k.startswith("features.")}
    classifier = {"classifier.6.bias": torch.zeros(1000)}  # of no use here
    torch.save(backbone | classifier, tmp_path / ALEX_FILE)
    torch.save({k: v for k, v in state.items() if k.startswith("lin")}, tmp_path / HEADS_FILE)
    a, b = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    found = load_perceptual("metrics", network="auto")
    assert found.name == "LPIPS (AlexNet)"
    assert torch.equal(found(a, b), Lpips(alex, "")(a, b))
    assert "embedded" in load_perceptual("metrics").name


def test_what_measures_is_another_network_than_what_a_loss_minimises_where_there_is_one(
    alex, tmp_path, monkeypatch, only_embedded
):
    monkeypatch.setenv("CYCLE_CORE_MODELS", str(tmp_path))
    embedded = Networks.for_metrics(embedded=True).names(Networks.for_loss(embedded=True))
    assert embedded["lpips"] == "LPIPS (embedded, metrics)"
    assert embedded["identity"] == "identity (embedded, metrics)"
    _save_lpips(alex.state_dict(), tmp_path / ALEX_FILE, tmp_path / HEADS_FILE)
    losses = Networks.for_loss(embedded=False)
    assert losses.names()["lpips"] == "LPIPS (AlexNet)"
    measured = Networks.for_metrics(embedded=False).names(losses)
    assert measured["lpips"] == "LPIPS (AlexNet), also minimised"
    torch.manual_seed(0)
    _save_lpips(VGG16().state_dict(), tmp_path / VGG_FILE, tmp_path / "vgg.pth")
    assert Networks.for_metrics(embedded=False).names(losses)["lpips"] == "LPIPS (VGG16)"


def _save_lpips(state, features, heads):
    torch.save({k: v for k, v in state.items() if k.startswith("features.")}, features)
    torch.save({k: v for k, v in state.items() if k.startswith("lin")}, heads)


def test_a_missing_or_damaged_published_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("CYCLE_CORE_MODELS", str(tmp_path))
    if weights.find("alexnet") is None:
        with pytest.raises(MissingFileError, match="alexnet"):
            load_perceptual(network="alex")
    (tmp_path / "model_ir_se50.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match=r"model_ir_se50\.pth"):
        load_identity(network="arcface")


def test_unknown_roles_and_networks_are_refused_in_words():
    with pytest.raises(InputError, match="loss, metrics"):
        load_identity("test")
    with pytest.raises(InputError, match="embedded, alex, vgg, auto"):
        load_perceptual(network="squeeze")


@torch.no_grad()
def test_a_portrait_network_gives_a_tap_for_each_level_and_a_code_for_each_factor():
    factors = tuple(Factor(n, 0, 1, 0.5, 1, "attribute", "") for n in ("smile", "age"))
    net = PortraitNet(PortraitNetConfig(factors, widths=(8, 8, 16), input_size=32)).eval()
    assert [tuple(t.shape) for t in net.taps(torch.zeros(2, 3, 64, 64))] == [
        (2, 8, 32, 32),
        (2, 8, 16, 16),
        (2, 16, 8, 8),
    ]
    for size in (32, 64):  # factors are read at the network's own size
        assert net.codes(torch.zeros(2, 3, size, size)).shape == (2, 2)


@torch.no_grad()
def test_a_folded_network_says_the_same_to_rounding():
    torch.manual_seed(0)
    smile = Factor("smile", 0, 1, 0.5, 1, "attribute", "")
    net = PortraitNet(PortraitNetConfig((smile,), widths=(8, 8, 16), blocks=2, input_size=32))
    for name, tensor in net.state_dict().items():
        if "norm" in name or ".1." in name:  # as if it had been trained
            tensor.copy_(torch.rand_like(tensor.float()) + 0.5)
    net.double().eval().requires_grad_(False)
    image = torch.rand(2, 3, 64, 64, dtype=torch.float64) * 2 - 1
    taps, codes = net.taps(image), net.codes(image)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.fold().modules())
    for before, after in zip(taps, net.taps(image), strict=True):
        torch.testing.assert_close(after, before)
    torch.testing.assert_close(net.codes(image), codes)


# ------------------------------------------------------------------ embedded models
@pytest.fixture(scope="module")
def people():
    return open_set("inside", 8)


@pytest.mark.parametrize("role", ["loss", "metrics", "reading"])
@pytest.mark.parametrize("name", ["smile", "age", "yaw"])
def test_the_attribute_network_sees_a_true_edit(role, name):
    people = open_set("inside")
    net, edit = load_attributes(role), people.attributes.index(name)
    i = net.config.names.index(name)
    change = net.factors(people.edited[:, edit])[:, i] - net.factors(people.images)[:, i]
    true = people.signs[:, edit] * people.deviations[people.table.index(name)]
    assert (change / true).mean().item() == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize("role", ["loss", "metrics"])
@pytest.mark.parametrize("name", ["smile", "yaw"])
def test_the_identity_network_knows_people_in_spite_of_smile_and_pose(people, role, name):
    net = load_identity(role)
    first, second = net(people.images), net(people.edited[:, people.attributes.index(name)])
    assert (first @ second.T).argmax(dim=1).tolist() == list(range(8))


@pytest.mark.parametrize("role", ["loss", "metrics"])
def test_the_perceptual_distance_grows_with_blur_and_is_half_between_strangers(people, role):
    lpips, images = load_perceptual(role), people.images
    blurred = [F.avg_pool2d(images, k, 1, k // 2, count_include_pad=False) for k in (3, 5, 9)]
    distances = [lpips(images, image).mean().item() for image in blurred]
    assert 0 < distances[0] < distances[1] < distances[2]
    assert lpips(images, images.roll(1, 0)).mean().item() == pytest.approx(0.5, abs=0.2)


def test_what_reads_edits_is_no_distance_and_another_network_than_what_compares():
    with pytest.raises(InputError, match="loss, metrics, not 'reading'"):
        load_perceptual("reading")
    judge = Judge()
    assert judge.attributes is not None
    read, compared = judge.attributes.tap_weights, judge.networks.perceptual.network.tap_weights
    assert not torch.equal(read, compared)


def test_the_networks_of_losses_and_metrics_are_different_ones():
    for kind in ("perceptual", "identity"):
        files = [
            (ASSETS / f"{kind}_{role}.safetensors").read_bytes() for role in ("loss", "metrics")
        ]
        assert files[0] != files[1]

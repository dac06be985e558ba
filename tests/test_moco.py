import pytest
import torch
import torch.nn.functional as F

from cycle_core.cli import main
from cycle_core.errors import CheckpointError, MissingFileError
from cycle_core.invert.objective import Objective
from cycle_core.measure.recognition import load_moco
from cycle_core.measure.selection import Networks
from cycle_core.models.moco import MocoNet

pytestmark = pytest.mark.usefixtures("only_embedded")
FILE = "moco_v2_800ep_pretrain.pth.tar"


def published(encoder):
    """A checkpoint of MoCo's training as far as names and shapes go, around an encoder's state."""
    head = {"fc.0.weight": torch.zeros(2048, 2048), "fc.0.bias": torch.zeros(2048)}
    head |= {"fc.2.weight": torch.zeros(128, 2048), "fc.2.bias": torch.zeros(128)}
    query = {f"module.encoder_q.{name}": tensor for name, tensor in (encoder | head).items()}
    momentum = {"module.encoder_k.conv1.weight": torch.zeros(64, 3, 7, 7)}
    queue = {"module.queue": torch.zeros(128, 16), "module.queue_ptr": torch.zeros(1).long()}
    parameter = {140234866534472: {"momentum_buffer": torch.zeros(64)}}  # an id, as torch had it
    optimizer = {"state": parameter, "param_groups": [{"lr": 0.03, "params": [140234866534472]}]}
    state = query | momentum | queue
    return {"epoch": 800, "arch": "resnet50", "state_dict": state, "optimizer": optimizer}


@pytest.fixture(scope="module")
def encoder():
    """The state of a ResNet-50 in torchvision's names, whose norms have something to do."""
    torch.manual_seed(0)
    state = MocoNet().state_dict()
    for name, tensor in state.items():
        if "bn" in name or "downsample.1" in name:
            if name.endswith(("weight", "running_var")):
                tensor.uniform_(0.7, 1.3)
            elif tensor.is_floating_point():
                tensor.normal_(0, 0.1)
    return state


@pytest.fixture(scope="module")
def net(encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("moco")
    torch.save(published(encoder), folder / FILE, _use_new_zipfile_serialization=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CYCLE_CORE_MODELS", str(folder))
        return load_moco()


def resnet50(state, x):
    """Written out from the paper and the tensors, up to the mean over positions."""

    def norm(x, name):
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return F.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"])

    x = F.relu(norm(F.conv2d(x, state["conv1.weight"], stride=2, padding=3), "bn1"))
    x = F.max_pool2d(x, 3, 2, 1)
    for layer, units in enumerate((3, 4, 6, 3), 1):
        for i in range(units):
            at, stride = f"layer{layer}.{i}", 2 if layer > 1 and i == 0 else 1
            shortcut = x
            if i == 0:
                shortcut = F.conv2d(x, state[f"{at}.downsample.0.weight"], stride=stride)
                shortcut = norm(shortcut, f"{at}.downsample.1")
            x = F.relu(norm(F.conv2d(x, state[f"{at}.conv1.weight"]), f"{at}.bn1"))
            x = F.conv2d(x, state[f"{at}.conv2.weight"], stride=stride, padding=1)
            x = F.conv2d(F.relu(norm(x, f"{at}.bn2")), state[f"{at}.conv3.weight"])
            x = F.relu(norm(x, f"{at}.bn3") + shortcut)
    return x.mean((2, 3))


@torch.no_grad()
def test_the_published_file_gives_unit_vectors_of_resnet50(net, encoder):
    image = torch.rand(1, 3, 224, 224) * 2 - 1
    expected = F.normalize(resnet50(encoder, image), dim=1)
    assert expected.shape == (1, 2048)
    assert torch.allclose(net(image), expected, atol=1e-6)


def test_as_identity_loss_it_is_zero_for_equal_pictures_and_moves_every_row_and_column(net):
    target = torch.rand(1, 3, 256, 256) * 2 - 1
    ramp = torch.linspace(-1, 1, 256).expand(1, 3, 256, 256)
    image = torch.cat([target, ramp]).requires_grad_(True)
    objective = Objective(l2=0, lpips=0, identity=1, networks=Networks(identity=net))
    same, other = objective(image, objective.target(target)).total
    assert same.item() == pytest.approx(0, abs=1e-6)
    assert other > 1e-5
    other.backward()
    assert image.grad is not None
    change = image.grad[1].abs()
    assert (change.sum((0, 1)) > 0).all()
    assert (change.sum((0, 2)) > 0).all()
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_training_with_it_asks_for_the_file(tmp_path, capsys):
    with pytest.raises(MissingFileError, match=FILE):
        load_moco()
    options = ["--generator", "portraits", "--data", "x", "--out", str(tmp_path / "run")]
    assert main(["train", "encoder", *options, "--networks", "moco", "--lpips", "0"]) == 2
    assert FILE in capsys.readouterr().err


def test_incomplete_and_other_files_are_refused(encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("CYCLE_CORE_MODELS", str(tmp_path))
    few = {name: tensor for name, tensor in encoder.items() if not name.startswith("layer")}
    torch.save(published(few), tmp_path / FILE)
    with pytest.raises(CheckpointError, match=r"layer1\.0\.conv1\.weight"):
        load_moco()
    torch.save(few, tmp_path / FILE)  # torchvision's own names: trained with labels
    with pytest.raises(CheckpointError, match="an identity is needed"):
        load_moco()

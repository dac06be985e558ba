"""The public model files that this project knows, those of the detectors among them: two tables.

Checksums are only of files that were read here or that their publisher states (torchvision puts
the first eight digits into the name); None means that nobody here has computed it, not that any
file will do."""

from __future__ import annotations

from dataclasses import dataclass

_NVIDIA = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained"
_DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="
_TORCH = "https://download.pytorch.org/models"
_LPIPS = (
    "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1"
)
_GITHUB = "https://github.com"

NVIDIA_LICENCE = "NVIDIA Source Code License-NC (research, non-commercial)"
INSIGHTFACE_LICENCE = "models for non-commercial research only (code MIT)"
_ENCODER_LICENCE = "MIT (code); the generator in it NVIDIA Source Code License-NC"


@dataclass(frozen=True)
class Weight:
    """One public file.

    name: as users and `fetch` write it; kind: what it holds (generator, encoder, identity,
    perceptual, fid, detector); file: its name on disk, for an archive (.zip) the folder's name.
    url: where it is downloaded, "" if it can only be fetched by hand from `page`.
    size: bytes, None if unknown. sha256: leading hexadecimal digits, as many as are known, or None.
    aliases: other names under which people have the same weights.
    """

    name: str
    kind: str
    file: str
    url: str
    licence: str
    page: str
    size: int | None = None
    sha256: str | None = None
    aliases: tuple[str, ...] = ()

    @property
    def is_archive(self) -> bool:
        return self.url.endswith(".zip")


# The face detectors by name, best first, and the public file that each reads. A new one is a module
# of `faces/detectors/`, its name here and a test; the command line and the nodes offer these.
DETECTORS: dict[str, Weight | None] = {
    "insightface": Weight(
        "buffalo_l", "detector", "buffalo_l",
        f"{_GITHUB}/deepinsight/insightface/releases/download/v0.7/buffalo_l.zip",
        INSIGHTFACE_LICENCE, f"{_GITHUB}/deepinsight/insightface/tree/master/model_zoo",
    ),
    "yunet": Weight(
        "yunet", "detector", "yunet_final.pth",
        "https://huggingface.co/kornia/yunet/resolve/main/yunet_final.pth",
        "BSD-3-Clause (libfacedetection)", f"{_GITHUB}/kornia/data", size=405729,
        sha256="ee0a3035c5cbfc9484a31332223c9fd9c0ddcdb7c46b6a19e558ed393b6f2c67",
    ),
    "embedded": None,
}  # fmt: skip

_WEIGHTS = (
    Weight(
        "ffhq-1024", "generator", "ffhq.pkl", f"{_NVIDIA}/ffhq.pkl",
        NVIDIA_LICENCE, f"{_GITHUB}/NVlabs/stylegan2-ada-pytorch",
    ),
    Weight(
        "ffhq-256", "generator", "ffhq-res256-mirror-paper256-noaug.pkl",
        f"{_NVIDIA}/transfer-learning-source-nets/ffhq-res256-mirror-paper256-noaug.pkl",
        NVIDIA_LICENCE, f"{_GITHUB}/NVlabs/stylegan2-ada-pytorch",
    ),
    Weight(
        "ffhq-rosinality", "generator", "stylegan2-ffhq-config-f.pt",
        f"{_DRIVE}1EM87UquaoQmk17Q8d5kYIAHqu0dkYqdT",
        NVIDIA_LICENCE, f"{_GITHUB}/omertov/encoder4editing#pretrained-models",
    ),
    Weight(
        "e4e-ffhq", "encoder", "e4e_ffhq_encode.pt", f"{_DRIVE}1cUv_reLE6k3604or78EranS7XzuVMWeO",
        _ENCODER_LICENCE, f"{_GITHUB}/omertov/encoder4editing#pretrained-models",
    ),
    Weight(
        "psp-ffhq", "encoder", "psp_ffhq_encode.pt", f"{_DRIVE}1bMTNWkh5LArlaWSc_wa8VKyq2V42T2z0",
        _ENCODER_LICENCE, f"{_GITHUB}/eladrich/pixel2style2pixel#pretrained-models",
    ),
    Weight(
        "cycle-ffhq", "encoder", "cycle_encoding_ffhq_encode.pt", "",
        _ENCODER_LICENCE, "https://arxiv.org/abs/2207.09367",
    ),
    Weight(
        "arcface", "identity", "model_ir_se50.pth", f"{_DRIVE}1KW7bjndL3QG3sxBbZxreGHigcCCpsDgn",
        "MIT (code)", f"{_GITHUB}/TreB1eN/InsightFace_Pytorch",
    ),
    Weight(
        "moco", "identity", "moco_v2_800ep_pretrain.pth.tar",
        "https://dl.fbaipublicfiles.com/moco/moco_checkpoints/moco_v2_800ep/"
        "moco_v2_800ep_pretrain.pth.tar",
        "CC BY-NC 4.0 (non-commercial), as its README says", f"{_GITHUB}/facebookresearch/moco",
    ),
    Weight(
        "inception", "fid", "pt_inception-2015-12-05-6726825d.pth",
        f"{_GITHUB}/mseitzer/pytorch-fid/releases/download/fid_weights/"
        "pt_inception-2015-12-05-6726825d.pth",
        "Apache-2.0", f"{_GITHUB}/mseitzer/pytorch-fid",
        aliases=("weights-inception-2015-12-05-6726825d.pth",),
    ),
    Weight(
        "lpips-alex", "perceptual", "lpips_alex.pth", f"{_LPIPS}/alex.pth",
        "BSD-2-Clause", f"{_GITHUB}/richzhang/PerceptualSimilarity", size=6009,
        sha256="df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        aliases=("alex.pth",),
    ),
    Weight(
        "lpips-vgg", "perceptual", "lpips_vgg.pth", f"{_LPIPS}/vgg.pth",
        "BSD-2-Clause", f"{_GITHUB}/richzhang/PerceptualSimilarity", size=7289,
        sha256="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        aliases=("vgg.pth",),
    ),
    Weight(
        "alexnet", "perceptual", "alexnet-owt-7be5be79.pth", f"{_TORCH}/alexnet-owt-7be5be79.pth",
        "BSD-3-Clause", "https://pytorch.org/vision/stable/models.html",
        sha256="7be5be79", aliases=("alexnet-owt-4df8aa71.pth",),
    ),
    Weight(
        "vgg16", "perceptual", "vgg16-397923af.pth", f"{_TORCH}/vgg16-397923af.pth",
        "BSD-3-Clause", "https://pytorch.org/vision/stable/models.html", sha256="397923af",
    ),
    *filter(None, DETECTORS.values()),
)  # fmt: skip
CATALOGUE = {weight.name: weight for weight in _WEIGHTS}

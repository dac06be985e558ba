import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from cycle_core.errors import InputError
from cycle_core.measure.metrics import (
    frechet_distance,
    lec,
    ms_ssim,
    ms_ssim_scales,
    mse,
    psnr,
    ssim,
)


@pytest.fixture
def pair():
    torch.manual_seed(0)
    coarse = torch.nn.functional.interpolate(torch.rand(2, 3, 16, 16) * 2 - 1, size=64)
    return coarse, (coarse + 0.2 * torch.randn(2, 3, 64, 64)).clamp(-1, 1)


def test_mse_and_psnr_use_the_range_of_minus_one_to_one(pair):
    a, b = pair
    for i in range(2):
        x, y = a[i].numpy(), b[i].numpy()
        assert mse(a, b)[i].item() == pytest.approx(np.square(x - y).mean(), rel=1e-4)
        expected = peak_signal_noise_ratio(x, y, data_range=2)
        assert psnr(a, b)[i].item() == pytest.approx(expected, rel=1e-4)


def test_what_a_picture_file_cannot_hold_does_not_count():
    white = torch.ones(1, 3, 16, 16)
    assert mse(white, white + 3).item() == 0
    assert psnr(white, white).item() == pytest.approx(100, abs=1e-3)


def test_ssim_agrees_with_scikit_image(pair):
    a, b = pair
    for i in range(2):
        expected = structural_similarity(
            a[i].numpy(),
            b[i].numpy(),
            channel_axis=0,
            data_range=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert ssim(a, b)[i].item() == pytest.approx(expected, abs=1e-4)


def test_ms_ssim_has_as_many_scales_as_windows_fit():
    sizes = (10, 11, 32, 64, 128, 176, 1024)
    assert [ms_ssim_scales(size, size) for size in sizes] == [0, 1, 2, 3, 4, 5, 5]


def test_ms_ssim_with_one_scale_is_ssim_and_falls_with_noise(pair):
    a, b = pair
    small, noisy = a[..., :20, :20], b[..., :20, :20]
    assert torch.allclose(ms_ssim(small, noisy), ssim(small, noisy))
    assert torch.allclose(ms_ssim(a, a), torch.ones(2))
    noisier = (a + 0.5 * torch.randn_like(a)).clamp(-1, 1)
    assert (ms_ssim(a, noisier) < ms_ssim(a, b)).all()


def test_lec_is_zero_for_a_perfect_encoder_and_its_error_otherwise():
    codes = torch.randn(2, 4, 3)
    image = codes.view(2, 3, 2, 2).tanh()

    def encode(picture, error=0.0):
        return torch.atanh(picture).view(2, 4, 3) + error

    same = lec(codes, lambda w: w, lambda w: w, lambda w: image, encode)
    assert same.tolist() == pytest.approx([0, 0], abs=1e-4)
    off = lec(codes, lambda w: w, lambda w: w, lambda w: image, lambda x: encode(x, 0.5))
    assert off.tolist() == pytest.approx([0.5 * 3**0.5] * 2, rel=1e-3)
    undone = lec(codes, lambda w: w + 1, lambda w: w - 1, lambda w: image, lambda x: encode(x) + 1)
    assert undone.tolist() == pytest.approx([0, 0], abs=1e-4)


def test_the_frechet_distance_of_gaussians_is_known():
    torch.manual_seed(0)
    x = torch.randn(20000, 3)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(x, x + 2) == pytest.approx(12, rel=1e-6)  # |m|^2
    assert frechet_distance(x, 3 * x) == pytest.approx(12, rel=0.05)  # (3 - 1)^2 * 3
    rotation, _ = torch.linalg.qr(torch.randn(3, 3))
    stretched = x * torch.tensor([1.0, 2.0, 3.0])
    turned = frechet_distance(x @ rotation, stretched @ rotation)
    assert turned == pytest.approx(frechet_distance(x, stretched), rel=1e-6)


def test_pictures_that_cannot_be_compared_are_refused_in_words():
    with pytest.raises(InputError, match="same shape"):
        mse(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 16, 16))
    with pytest.raises(InputError, match="at least 11"):
        ssim(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
    with pytest.raises(InputError, match="at least two rows"):
        frechet_distance(torch.zeros(1, 3), torch.zeros(5, 3))

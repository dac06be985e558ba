"""The text of a StyleCLIP global direction, embedded by open_clip where that is installed."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from torch import Tensor

from ..errors import InputError, MissingFileError
from ..files.weights import offline

MODEL, WEIGHTS = "ViT-B-32-quickgelu", "openai"  # those of StyleCLIP's fs3.npy
_LONGEST = 1 << 16  # bytes of a file


@lru_cache(maxsize=64)
def text_difference(neutral: str, target: str) -> Tensor:
    """What separates two texts for CLIP ViT-B/32, as `global_direction` takes it: float32 [512],
    the difference of their unit embeddings. As in StyleCLIP, a text is embedded as the mean over
    the 80 sentences that CLIP was published with ("a photo of a ...").

    open_clip downloads its weights the first time. Raises MissingFileError without open_clip, and
    where its weights are not there and cannot be had."""
    try:
        import open_clip  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingFileError(
            "A text is embedded by CLIP, from open_clip, which is not installed: pip install "
            "open_clip_torch, or store the difference of two embeddings as a .npy file."
        ) from error
    except (OSError, RuntimeError) as error:  # a torchvision of another torch, for one
        raise MissingFileError(
            f"open_clip is installed and cannot be imported ({error}): mend its installation, or "
            "store the difference of two embeddings as a .npy file."
        ) from error
    if offline():
        raise MissingFileError(
            "CYCLE_CORE_OFFLINE forbids downloads, which open_clip makes for CLIP: store the "
            "difference of two embeddings as a .npy file, or allow it this once."
        )
    try:
        model = open_clip.create_model(MODEL, pretrained=WEIGHTS).eval()
    except (OSError, RuntimeError) as error:
        raise MissingFileError(
            f"CLIP ViT-B/32 could not be had from open_clip ({error}): check the connection, or "
            "store the difference of two embeddings as a .npy file."
        ) from error
    first, second = open_clip.build_zero_shot_classifier(
        model,
        open_clip.get_tokenizer(MODEL),
        [neutral, target],
        open_clip.OPENAI_IMAGENET_TEMPLATES,
    ).unbind(dim=1)
    return (second - first).float().cpu()


def read_texts(path: Path) -> tuple[str, str]:
    """The two lines of a text file: what pictures show, and what they are to show instead.

    Raises MissingFileError, and InputError for another number of lines."""
    if not path.is_file():
        raise MissingFileError(f"There is no file {path}: check the path.")
    with path.open("rb") as file:
        content = file.read(_LONGEST).decode("utf-8", errors="replace")
    lines = [line.strip() for line in content.splitlines() if line.strip()]
    if len(lines) != 2:
        raise InputError(
            f"{path} has {len(lines)} lines of text, and two are expected: what pictures show, "
            "such as `face`, and what they are to show, such as `smiling face`."
        )
    return lines[0], lines[1]

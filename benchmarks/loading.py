"""Seconds and memory to open a 1024 px generator in every layout, and its encoder, and both after
`cycle-core convert`.

    python benchmarks/loading.py [--page docs/checkpoints.md]

Prints two Markdown tables, or puts them between the page's marks. Weights are random. Each opening
happens in a process of its own, forked after the imports, with the file in the system's cache.
Seconds are medians, of the CPU, which what else the machine does changes little; memory is the most
that the process grew by, as a multiple of the weights.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tests")]

from cycle_core.bench.report import put  # noqa: E402

LAYOUTS = {  # file: what it is
    "nvidia.pkl": "NVIDIA, PyTorch",
    "pti.pt": "PTI, whole module",
    "tensorflow.pkl": "NVIDIA, TensorFlow (G, D, Gs)",
    "rosinality.pt": "rosinality, converted",
    "legacy.pt": "rosinality, PyTorch before 1.6",
    "trained.pt": "rosinality, without the mean",
    "decoder.pt": "decoder of pSp, e4e, Cycle Encoding",
    "ours.safetensors": "ours, after `convert`",
}
ENCODERS = {
    "e4e.pt": "e4e",
    "encoder.safetensors": "ours, after `convert`",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="openings of each file")
    parser.add_argument("--resolution", type=int, default=1024)
    parser.add_argument("--page", type=Path, help="put the tables between the page's marks")
    arguments = parser.parse_args()

    import torch

    from cycle_core.checkpoints.registry import load_encoder, load_generator

    torch.set_num_threads(1)
    load_generator("portraits")
    load_encoder("portraits")  # the imports, and what torch sets up at its first use
    gc.freeze()  # else the collector of a forked process touches, and so copies, all that was there
    context = multiprocessing.get_context("fork")
    with (
        tempfile.TemporaryDirectory() as folder,
        context.Pool(1, maxtasksperchild=1) as pool,  # each call in a process of its own
    ):
        size = pool.apply(write, (Path(folder), arguments.resolution))
        lines = [f"A generator of {arguments.resolution} px, {size / 1e6:.0f} MB of weights:\n"]
        lines += table(pool, Path(folder), LAYOUTS, "generator", size, arguments.runs)
        size = pool.apply(write_encoder, (Path(folder), arguments.resolution))
        lines += [f"\nIts encoder, {size / 1e6:.0f} MB of weights:\n"]
        lines += table(pool, Path(folder), ENCODERS, "encoder", size, arguments.runs)
    print("\n".join(lines))
    if arguments.page:
        put("\n".join(lines), arguments.page, "loading")


def table(
    pool: Any, folder: Path, layouts: dict[str, str], kind: str, size: int, runs: int
) -> list[str]:
    """Its lines: one for each file, opened in processes of their own."""
    lines = ["| layout | file | seconds | memory |", "| --- | --- | --- | --- |"]
    for name, what in layouts.items():
        path = folder / name
        opened = [pool.apply(measure, (path, kind)) for _ in range(runs)]
        cpu, memory = (median(column) for column in zip(*opened, strict=True))
        on_disk = path.stat().st_size / 1e6
        lines.append(f"| {what} | {on_disk:.0f} MB | {cpu:.4f} | {memory / size:.2f} x |")
    return lines


def write(folder: Path, resolution: int) -> int:
    """One file of every layout; gives the bytes of the weights."""
    import torch
    from layouts import (
        nvidia_names,
        rosinality_names,
        tensorflow_network,
        write_nvidia,
        write_pti,
        write_tensorflow,
    )

    from cycle_core.checkpoints.inspecting import convert
    from cycle_core.models.generator import Generator
    from cycle_core.models.stylegan2 import StyleGAN2Config

    torch.manual_seed(0)
    generator = Generator(StyleGAN2Config(resolution)).requires_grad_(False)
    average = generator.w_avg.clone()
    nvidia, rosinality = nvidia_names(generator), rosinality_names(generator)
    write_nvidia(folder / "nvidia.pkl", nvidia)
    write_pti(folder / "pti.pt", nvidia)
    write_tensorflow(folder / "tensorflow.pkl", tensorflow_network(generator))
    converted = {"g_ema": rosinality, "latent_avg": average}
    torch.save(converted, folder / "rosinality.pt")
    torch.save(converted, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save({"g": rosinality, "g_ema": rosinality, "d": {}}, folder / "trained.pt")
    decoder = {f"decoder.{name}": tensor for name, tensor in rosinality.items()}
    torch.save({"state_dict": decoder, "latent_avg": average}, folder / "decoder.pt")
    convert(folder / "nvidia.pkl", folder / "ours.safetensors")
    return sum(tensor.nbytes for tensor in generator.state_dict().values())


def write_encoder(folder: Path, resolution: int) -> int:
    """The published encoder of such a generator, as e4e saves it; gives its weights' bytes."""
    import torch

    from cycle_core.checkpoints.inspecting import convert
    from cycle_core.models.encoder import Encoder, EncoderConfig

    torch.manual_seed(0)
    state = Encoder(EncoderConfig(num_ws=2 * resolution.bit_length() - 4)).state_dict()
    average = state.pop("w_avg")
    options = {"encoder_type": "Encoder4Editing", "output_size": resolution}
    saved = {"state_dict": {f"encoder.{name}": tensor for name, tensor in state.items()}}
    torch.save({**saved, "latent_avg": average, "opts": options}, folder / "e4e.pt")
    convert(folder / "e4e.pt", folder / "encoder.safetensors", kind="encoder")
    return sum(tensor.nbytes for tensor in state.values())


def measure(path: Path, kind: str) -> tuple[float, int]:
    """(seconds of the CPU, bytes) to open a file of this kind."""
    import torch

    from cycle_core.checkpoints.registry import load_encoder, load_generator
    from cycle_core.runtime.devices import peak_memory

    load = load_encoder if kind == "encoder" else load_generator
    device = torch.device("cpu")
    before = peak_memory(device)  # a fork's own begins at what it was given
    cpu = time.process_time()
    load(path)
    cpu = time.process_time() - cpu
    after = peak_memory(device)
    if before is None or after is None:
        raise SystemExit("This system does not tell how much memory a process takes: take Linux.")
    return cpu, after - before


if __name__ == "__main__":
    main()

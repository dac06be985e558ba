"""Sound files for tests: a tone written, and what is heard measured."""

from __future__ import annotations

import av
import numpy as np


def write_sound(path, seconds: float) -> None:
    rate = 44_100
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate)
        wave = np.sin(np.arange(int(rate * seconds)) * 440 * 2 * np.pi / rate).astype(np.float32)
        for first in range(0, len(wave), 1024):
            frame = av.AudioFrame.from_ndarray(wave[None, first : first + 1024], "fltp", "mono")
            frame.sample_rate = rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def seconds_of_sound(path) -> float:
    with av.open(str(path)) as container:
        frames = [f for f in container.decode(audio=0) if f.samples]
    return sum(f.samples for f in frames) / frames[0].sample_rate

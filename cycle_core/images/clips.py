"""Video files, one picture at a time: memory does not grow with their length; and animations.

Videos are read and written by PyAV (`pip install av`), which ComfyUI has; animated pictures by
Pillow. A file appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError
from ..files.disk import replacing, writing
from .io import MAX_PIXELS, to_pil

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")  # that are read
WRITTEN = (".mp4", ".mov", ".mkv")
ANIMATIONS = (".webp", ".gif")
_QUALITY = {"crf": "17", "preset": "medium"}  # of H.264: hardly to be told from the source
_HD = 720  # lines from which colours are ITU 709 where a file does not say


@dataclass(frozen=True)
class VideoFrame:
    """One picture of a video: float32 [1,3,H,W] in [-1,1], and when it is shown, in seconds."""

    image: Tensor
    time: Fraction


@dataclass(frozen=True)
class Clip:
    """A video file. size: (width, height) as it is shown; rate: pictures a second, the mean;
    frames: how many its header claims, 0 if it does not say."""

    path: Path
    size: tuple[int, int]
    rate: Fraction
    sound: bool
    frames: int = 0

    def __iter__(self) -> Iterator[VideoFrame]:
        """Its pictures from the first on. Raises InputError for what cannot be decoded at all; a
        file that ends early gives what is there."""
        av = _av()
        count = 0
        with _opened(self.path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            try:
                for frame in container.decode(stream):
                    if frame.pts is None:
                        time = count / self.rate
                    else:
                        time = frame.pts * Fraction(frame.time_base)
                    yield VideoFrame(_as_image(frame), time)
                    count += 1
            except av.error.FFmpegError as error:
                if not count:
                    raise _unreadable(self.path, error) from error


def open_clip(path: str | Path) -> Clip:
    """Read a video's header. Raises InputError for what is no video or has no picture, and where
    PyAV is not installed."""
    path = Path(path)
    with _opened(path) as container:
        if not container.streams.video:
            raise InputError(f"{path} holds sound but no pictures: give a video.")
        stream = container.streams.video[0]
        rate = stream.average_rate or stream.base_rate or Fraction(25)
        frame = next(container.decode(stream), None)
        if frame is None:
            raise InputError(f"{path} holds no picture that can be decoded: it is damaged.")
        width, height = frame.width, frame.height
        if width * height > MAX_PIXELS:
            raise InputError(f"{path} is {width}x{height}: {MAX_PIXELS} pixels are the most.")
        size = (height, width) if _turns(frame) % 2 else (width, height)
        return Clip(path, size, Fraction(rate), bool(container.streams.audio), stream.frames)


class ClipWriter:
    """Writes a video, H.264, with the sound of another file:

        with ClipWriter(path, clip.rate, sound=clip.path) as writer:
            for frame in clip:
                writer.write(frame.image, frame.time)

    Raises InputError for another ending, and where it cannot be written; `path` then is as it was.
    """

    def __init__(self, path: str | Path, rate: Fraction | float, sound: Path | None = None):
        self.path, self.rate, self.sound = Path(path), Fraction(rate), sound
        if self.path.suffix.lower() not in WRITTEN:
            raise InputError(f"{self.path}: a video that is written ends in {', '.join(WRITTEN)}.")
        self.part = self.path.with_name(f".{uuid.uuid4().hex[:12]}{self.path.suffix.lower()}")
        self._container: Any = None
        self._stream: Any = None
        self._last = -1

    def __enter__(self) -> ClipWriter:
        av = _av()
        try:
            with self._reported():
                self.part.touch()  # FFmpeg would try only when the first picture is finished
                self._container = av.open(str(self.part), "w")
        except BaseException:
            self.part.unlink(missing_ok=True)
            raise
        return self

    def write(self, image: Tensor, time: Fraction | float) -> None:
        """Add a picture [1,3,H,W] in [-1,1], shown from `time` on, in seconds."""
        with self._reported():
            stream = self._stream or self._begin(image)
            pixels = _even(image)[0].clamp(-1, 1)
            array = ((pixels + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().contiguous()
            frame = _av().VideoFrame.from_ndarray(array.numpy(), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=self._colours)
            frame.time_base = Fraction(1, 90_000)
            at = max(round(Fraction(time) * 90_000), self._last + 1)  # times must grow
            frame.pts = self._last = at
            self._container.mux(stream.encode(frame))

    def __exit__(self, kind: Any, *_: Any) -> None:
        try:
            with self._reported():
                if kind is None:
                    if self._stream is not None:
                        self._container.mux(self._stream.encode(None))
                        self._add_sound()
                    self._container.close()
                    os.replace(self.part, self.path)
                else:
                    with contextlib.suppress(Exception):  # the first error is the one to report
                        self._container.close()
        finally:
            self.part.unlink(missing_ok=True)

    def _begin(self, image: Tensor) -> Any:
        height, width = _even(image).shape[-2:]
        stream = self._container.add_stream("libx264", rate=self.rate, options=_QUALITY)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 90_000)
        hd = height >= _HD
        self._colours = "ITU709" if hd else "ITU601"
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = 1 if hd else 6
        context.color_range = 1
        self._stream = stream
        self._tracks = []
        if self.sound is not None:
            self._source = _av().open(str(self.sound))
            for track in self._source.streams.audio[:1]:
                copied = track.codec_context.name in self._container.supported_codecs
                if copied:
                    target = self._container.add_stream_from_template(track)
                else:
                    target = self._container.add_stream("aac", rate=track.rate)
                self._tracks.append((track, target, copied))
        return stream

    def _add_sound(self) -> None:
        """Sound that cannot be read further ends there."""
        if self.sound is None:
            return
        av = _av()
        with self._source:
            for track, target, copied in self._tracks:
                packets = self._source.demux(track)
                while True:
                    try:
                        packet = next(packets, None)
                        frames = [] if packet is None or copied else packet.decode()
                    except av.error.InvalidDataError:
                        break
                    if packet is None:
                        break
                    if copied and packet.dts is not None:
                        packet.stream = target
                        self._container.mux(packet)
                    for frame in frames:
                        frame.pts = None
                        self._container.mux(target.encode(frame))
                if not copied:
                    self._container.mux(target.encode(None))

    def _reported(self) -> contextlib.AbstractContextManager[None]:
        return writing(self.path, ValueError)  # FFmpeg's errors are of both


def write_animation(path: str | Path, images: Iterable[Tensor], rate: float) -> None:
    """Pictures [1,3,H,W] in [-1,1] as an animated .webp or .gif that repeats, atomically.

    Raises InputError for another ending, no picture, and where it cannot be written."""
    path = Path(path)
    if path.suffix.lower() not in ANIMATIONS:
        raise InputError(f"{path}: an animation ends in {', '.join(ANIMATIONS)}.")
    pictures = (to_pil(image) for image in images)
    first = next(pictures, None)
    if first is None:
        raise InputError(f"{path}: an animation has at least one picture, and none was given.")
    options: dict[str, Any] = {"quality": 90} if path.suffix.lower() == ".webp" else {}
    with writing(path), replacing(path) as part, open(part, "wb") as file:
        first.save(
            file,
            format=path.suffix[1:].upper(),
            save_all=True,
            append_images=pictures,
            duration=round(1000 / rate),
            loop=0,
            **options,
        )


def is_clip(path: str | Path) -> bool:
    """Whether a file's name is that of a video."""
    return Path(path).suffix.lower() in VIDEOS


# ------------------------------------------------------------------ parts
def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise InputError("Videos are read and written by PyAV: pip install av.") from error
    return av


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    av = _av()
    if not path.is_file():
        raise InputError(f"There is no file {path}: check the path of the video.")
    try:
        with av.open(str(path)) as container:
            yield container
    except (av.error.FFmpegError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = getattr(error, "strerror", None) or error
    return InputError(
        f"{path} cannot be read as a video ({reason}): it is damaged, cut off, or of a format "
        "that FFmpeg does not know; export it again, as .mp4."
    )


def _as_image(frame: Any) -> Tensor:
    unknown = frame.colorspace == 2
    colours = ("ITU709" if frame.height >= _HD else "ITU601") if unknown else None
    array: np.ndarray = frame.to_ndarray(format="rgb24", src_colorspace=colours)
    image = torch.from_numpy(array).permute(2, 0, 1)[None].float().div_(127.5).sub_(1)
    turns = _turns(frame)
    return torch.rot90(image, turns, (2, 3)) if turns else image


def _turns(frame: Any) -> int:
    """Quarter turns, counter-clockwise, from the picture as it is stored to how it is shown."""
    return round(getattr(frame, "rotation", 0) / 90) % 4


def _even(image: Tensor) -> Tensor:
    """H.264 halves the colours: sides are even, by one more row or column of the edge."""
    height, width = image.shape[-2:]
    if not height % 2 and not width % 2:
        return image
    return F.pad(image, (0, width % 2, 0, height % 2), mode="replicate")

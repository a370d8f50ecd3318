"""Writes films, and the sound of another film with them, through PyAV (FFmpeg's libraries). No TensorFlow.

Of `fer_tf.films`, which has `Writer` under its own name too.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from fer_tf import files

FORMATS = {".mp4": ("mp4", "libx264"), ".mkv": ("matroska", "libx264"), ".avi": ("avi", "mpeg4")}
"""What `Writer` writes: ending -> (container, codec); MPEG-4 where there is no libx264."""
CLOCK = Fraction(1, 60000)
"""Seconds that a time stamp counts; MPEG-4 has at most 65535 a second."""
COPIED = ("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac")
"""Sound that goes over as it is, where the container takes it; any other is encoded anew, as AAC."""

AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
"""Samples a second that AAC has."""


def reason(error: BaseException) -> str:
    """What an error says, without the numbers around it."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


class Writer:
    """Writes a film, to a temporary name that is renamed when all went well.

        with Writer("out.mp4", rate=25) as film:
            film.add(frame)

    Args:
      path: ends with .mp4, .mkv (H.264) or .avi (MPEG-4).
      rate: frames a second, for frames that come without a time of their own.
      sound: (path, seconds) of a film whose sound goes over, and of the moment in it when the first frame is shown; or
        a function that gives this when the first frame comes.
    Raises:
      ValueError: another ending; while writing, OSError, which names the file.

    Attributes:
      silent: why there is no sound, or not all of it; empty where nothing failed.
    """

    def __init__(self, path: str | os.PathLike[str], rate: float | Fraction = 25, sound: Any = None):
        self.path = Path(path)
        if self.path.suffix.lower() not in FORMATS:
            raise ValueError(f"{self.path}: films are written as {', '.join(FORMATS)}")
        self.rate = Fraction(rate).limit_denominator(1001)
        self._replacing = files.replacing(self.path)
        self._part = self.path
        self._container: Any = None
        self._stream: Any = None
        self._stamp = -1
        self._from = sound
        self._sound: _Sound | None = None
        self.silent = ""
        self.shape: tuple[int, ...] = ()

    def __enter__(self) -> Writer:
        self._part = self._replacing.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if self._container is not None:
                self._finish(kind is None)
            elif kind is None:
                raise ValueError(f"{self.path}: a film needs at least one frame")
        except BaseException:
            self._replacing.__exit__(*sys.exc_info())
            raise
        self._replacing.__exit__(kind, error, at)

    def _finish(self, whole: bool) -> None:
        try:
            if whole:
                self._container.mux(self._stream.encode())
                self._mux_sound(math.inf)
            self._container.close()
        except av.FFmpegError as error:
            if whole:
                raise OSError(f"{self.path}: cannot be written ({reason(error)})") from error
        finally:
            if self._sound is not None:
                self._sound.close()

    def add(self, frame: np.ndarray, seconds: float | None = None) -> None:
        """Appends a frame, (H, W, 3) uint8; an odd side grows by one pixel, since codecs want even ones.

        Args:
          frame: of the first one's shape.
          seconds: when it is shown, since the first; by the rate when left out. An .avi keeps to the rate.
        Raises:
          ValueError: another kind of array, or another shape than the first one's.
        """
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
            raise ValueError(f"a frame is uint8 (H, W, 3), got {frame.dtype} {frame.shape}")
        if self._container is not None and frame.shape != self.shape:
            raise ValueError(f"{self.path}: a frame is {frame.shape} and the first one {self.shape}")
        even = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        try:
            if self._container is None:
                self._begin(frame.shape, seconds is not None)
            if seconds is not None and self.path.suffix.lower() != ".avi":
                self._stamp = max(self._stamp + 1, round(seconds / CLOCK))
                picture.pts, picture.time_base = self._stamp, CLOCK
            self._container.mux(self._stream.encode(picture))
            if seconds is not None:
                self._mux_sound(seconds)
        except av.FFmpegError as error:
            raise OSError(f"{self.path}: cannot be written ({reason(error)})") from error

    def _begin(self, shape: tuple[int, ...], timed: bool) -> None:
        ending = self.path.suffix.lower()
        kind, codec = FORMATS[ending]
        codec = codec if codec in av.codecs_available else "mpeg4"
        options = {"crf": "18", "preset": "veryfast"} if codec == "libx264" else {"qscale": "3"}
        self.shape = shape
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(os.path.abspath(self._part), "w", format=kind)
        self._stream = self._container.add_stream(codec, rate=self.rate, options=options)
        self._stream.height, self._stream.width = shape[0] + shape[0] % 2, shape[1] + shape[1] % 2
        self._stream.pix_fmt = "yuv420p"
        if timed and ending != ".avi":
            self._stream.codec_context.time_base = CLOCK
        if codec == "mpeg4":
            self._stream.codec_context.bit_rate = max(400_000, shape[0] * shape[1] * 8)
        if self._from is not None:
            path, start = self._from() if callable(self._from) else self._from
            self._sound = _Sound(path, start, self._container)

    def _mux_sound(self, seconds: float) -> None:
        if self._sound is not None:
            for packet in self._sound.until(seconds):
                try:
                    self._container.mux(packet)
                except (av.error.ArgumentError, av.InvalidDataError) as error:
                    self._sound.end(error)
            self.silent = self._sound.problem


class _Sound:
    """The sound of a film as packets for another one; what cannot be read ends it, and `problem` says why."""

    def __init__(self, path: str, start: float, container: Any):
        self.problem, self._start = "", start
        self._packets: Iterator[Any] = iter(())
        self._source: Any = None
        self._held: Any = None
        try:
            self._source = av.open(os.path.abspath(path), container_options={"protocol_whitelist": "file"})
            self._in = self._source.streams.best("audio")
            if self._in is None or self._in.codec_context is None:
                return
            name = self._in.codec_context.codec.canonical_name
            if name in COPIED and name in container.supported_codecs:
                self._out = container.add_stream_from_template(self._in)
                self._packets = self._copied()
            else:
                own = self._in.codec_context
                rate = own.sample_rate if own.sample_rate in AAC_RATES else 48000
                self._out = container.add_stream("aac", rate=rate, layout="mono" if own.channels == 1 else "stereo")
                self._out.codec_context.open()
                self._packets = self._encoded()
        except (av.FFmpegError, ValueError, OSError) as error:
            self.problem = f"its sound cannot be copied ({reason(error)})"

    def until(self, seconds: float) -> Iterator[Any]:
        """The packets that begin before this moment and have not been given."""
        while True:
            try:
                packet = next(self._packets, None) if self._held is None else self._held
            except (av.FFmpegError, ValueError, OSError) as error:
                self.end(error)
                return
            self._held = packet
            if packet is None or (packet.pts is not None and packet.pts * packet.time_base > seconds):
                return
            self._held = None
            yield packet

    def end(self, error: BaseException) -> None:
        """Gives no more, because of an error."""
        self.problem, self._packets = f"its sound ends early ({reason(error)})", iter(())

    def _shift(self, base: Fraction) -> int:
        return round(self._start / base)

    def _copied(self) -> Iterator[Any]:
        last = -1
        for packet in self._source.demux(self._in):
            if packet.size and packet.pts is not None and packet.dts is not None:
                shift = self._shift(packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                if packet.pts >= packet.dts > last:
                    last, packet.stream = packet.dts, self._out
                    yield packet

    def _encoded(self) -> Iterator[Any]:
        coder = self._out.codec_context
        resampler = av.AudioResampler(coder.format, coder.layout, coder.sample_rate, frame_size=coder.frame_size)
        for frame in self._decoded():
            frame.pts = None if frame.pts is None else frame.pts - self._shift(frame.time_base)
            if frame.pts is None or frame.pts >= 0:
                for part in resampler.resample(frame):
                    yield from self._out.encode(part)
        for part in resampler.resample(None):
            yield from self._out.encode(part)
        yield from self._out.encode(None)

    def _decoded(self) -> Iterator[Any]:
        """The frames of sound; a damaged piece is left out."""
        for packet in self._source.demux(self._in):
            try:
                yield from packet.decode()
            except av.EOFError:
                return
            except av.FFmpegError as error:
                self.problem = f"pieces of its sound are damaged ({reason(error)})"

    def close(self) -> None:
        self._packets = iter(())
        if self._source is not None:
            self._source.close()

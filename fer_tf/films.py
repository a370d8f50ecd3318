"""Reads films frame by frame and writes them, through PyAV (FFmpeg's libraries). No TensorFlow.

    for number, seconds, frame in frames("clip.mp4"):     # frame (H, W, 3) uint8
        ...
    frame = read("clip.mp4", 120)                         # exactly that one, from the key frame before it

Frames count from 0 in the order in which they are shown. They come upright (a phone's rotation mark is applied) and in
the pixels of the file: neither mirroring marks nor oblong pixels are undone. One frame at a time is in memory. Sound is
neither read nor written.
"""

from __future__ import annotations

import bisect
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from fer_tf import files

ENDINGS = (".avi", ".mp4", ".mov", ".mkv", ".mpg", ".mpeg", ".wmv", ".m4v", ".webm")
"""Endings of film files, in lower case."""
PIXELS = 2**26
"""Pixels of the largest frame that is decoded."""
KINDS = "avi,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpeg,mpegvideo,mpegts,asf,m4v,h264"
"""FFmpeg's names of the containers that are opened: no playlists, which lead to other files, no pictures or text."""
FORMATS = {".mp4": ("mp4", "libx264"), ".mkv": ("matroska", "libx264"), ".avi": ("avi", "mpeg4")}
"""What `Writer` writes: ending -> (container, codec); MPEG-4 where there is no libx264."""

Frame = tuple[int, float, np.ndarray]


class Film:
    """An open film. Close it, or use it in a `with`.

    Attributes:
      path: of the file.
      rate: frames a second, on average.

    Args:
      path: of the file.
    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no film, has no video, or its frames are too large; the message names it.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = os.fspath(path)
        if not os.path.exists(self.path):
            raise FileNotFoundError(f"{self.path}: there is no such file")
        if not os.path.isfile(self.path):
            raise ValueError(f"{self.path}: is no file, so no film")
        self._container, self._stream = _opened(self.path)
        rate = self._stream.average_rate or self._stream.guessed_rate or 0
        self.rate = Fraction(rate) if 0 < rate <= 1000 else Fraction(25)
        self._start: int | None = None  # the first frame's time stamp
        self._running: Iterator[av.VideoFrame] | None = None  # a decoder under way,
        self._next = 0  # and the number of the frame that comes next
        kind = self._container.format.name  # the others' stamps are guesses after a seek
        ordered = "avi" in kind and not self._stream.codec_context.has_b_frames
        self._even = "avi" in kind  # stores no times, so frames are evenly spaced
        self._seekable = "mov" in kind or "matroska" in kind or ordered

    def __enter__(self) -> Film:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._running = None
        self._container.close()

    def __len__(self) -> int:
        """Frames, as the container tells, else as its packets count; nothing is decoded."""
        return self._stream.frames or self._index()[2]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the stored frames, before a rotation mark is applied."""
        return self._stream.codec_context.height, self._stream.codec_context.width

    def __iter__(self) -> Iterator[Frame]:
        """All frames from the first: (number, seconds since the first, (H, W, 3) uint8).

        Raises:
          ValueError: the film is damaged, has no frames, or ends before nine tenths of those that its head promises.
        """
        self._rewind()
        while (frame := self._decode()) is not None:
            number, self._next = self._next, self._next + 1
            self._start = frame.pts if number == 0 else self._start
            yield number, self._seconds(frame, number), self._upright(frame)
        if not self._next:
            raise ValueError(f"{self.path}: has no frames")
        if self._next < 0.9 * self._stream.frames:
            raise ValueError(f"{self.path}: ends after {self._next} of {self._stream.frames} frames")

    def __getitem__(self, number: int) -> np.ndarray:
        """One frame: (H, W, 3) uint8.

        Raises:
          ValueError: there is no such frame, or it cannot be decoded.
        """
        return self.frame(number)[2]

    def frame(self, number: int) -> Frame:
        """One frame as iteration gives it: (number, seconds since the first, (H, W, 3) uint8)."""
        frame = self._find(number)
        return number, self._seconds(frame, number), self._upright(frame)

    def _find(self, number: int) -> av.VideoFrame:
        """Decodes on, or from the key frame before, what is nearer; counts from the first where stamps mislead."""
        times, keys, _ = self._index() if self._seekable else ((), (), 0)
        if number < 0 or (times and number >= len(times)):
            raise ValueError(f"{self.path}: there is no frame {number}")
        self._start = times[0] if times else self._start
        key = keys[bisect.bisect_right(keys, number) - 1] if keys and keys[0] <= number else 0
        if self._running is None or not key <= self._next <= number:
            if times and key:
                self._seek(times[key], times)
            else:
                self._rewind()
        while (frame := self._decode()) is not None:
            if times and (self._next >= len(times) or times[self._next] != frame.pts):
                break
            self._start = frame.pts if self._next == 0 else self._start
            self._next += 1
            if self._next > number:
                return frame
        if not times:
            raise ValueError(f"{self.path}: there is no frame {number}")
        self._seekable, self._running = False, None  # the packets' stamps are not the frames'
        return self._find(number)

    def _seek(self, stamp: int, times: Sequence[int]) -> None:
        """Goes to a key frame, or to one before it; `_next` becomes the number of the frame that comes first there."""
        try:
            self._container.seek(stamp, stream=self._stream)
        except av.FFmpegError:
            self._next = len(times)  # which makes the caller count
            return
        frames = self._container.decode(self._stream)
        self._running = frames
        first = self._decode()
        self._next = len(times) if first is None or first.pts is None else bisect.bisect_left(times, first.pts)
        self._running = frames if first is None else chain([first], frames)

    def _index(self) -> tuple[tuple[int, ...], tuple[int, ...], int]:
        status = os.stat(self.path)
        try:
            return _index(self.path, status.st_mtime_ns, status.st_size)
        except av.FFmpegError as error:
            raise ValueError(f"{self.path}: cannot be read as a film ({_reason(error)})") from error

    def _rewind(self) -> None:
        """Opens the file anew: a seek may miss the first frame."""
        self._container.close()
        self._container, self._stream = _opened(self.path)
        self._running, self._next = self._container.decode(self._stream), 0

    def _decode(self) -> av.VideoFrame | None:
        try:
            frame = None if self._running is None else next(self._running, None)
        except (av.FFmpegError, ValueError, OSError, MemoryError) as error:
            self._running = None
            raise ValueError(f"{self.path}: cannot be decoded ({_reason(error)})") from error
        if frame is not None:
            _check(self.path, frame)
        return frame

    def _seconds(self, frame: av.VideoFrame, number: int) -> float:
        if self._even or frame.pts is None or self._start is None or frame.time_base is None:
            return float(number / self.rate)
        return float((frame.pts - self._start) * frame.time_base)

    def _upright(self, frame: av.VideoFrame) -> np.ndarray:
        try:
            picture = frame.to_ndarray(format="rgb24")
        except (av.FFmpegError, ValueError) as error:
            raise ValueError(f"{self.path}: cannot be decoded ({_reason(error)})") from error
        return np.ascontiguousarray(np.rot90(picture, round(frame.rotation / 90)))  # both counter-clockwise


def _opened(path: str) -> tuple[Any, Any]:
    """(container, its video stream) of a film; its absolute path, since "a:b.avi" would be read as a protocol."""
    options = {"protocol_whitelist": "file", "format_whitelist": KINDS}
    try:
        container = av.open(os.path.abspath(path), options=options, metadata_errors="replace")
    except (av.FFmpegError, ValueError, OSError) as error:
        raise ValueError(f"{path}: cannot be read as a film ({_reason(error)})") from error
    try:
        stream = container.streams.best("video")
        if stream is None or stream.codec_context is None:
            raise ValueError(f"{path}: has no video that can be decoded")
        _check(path, stream.codec_context)
    except BaseException:
        container.close()
        raise
    stream.codec_context.options = {"max_pixels": str(PIXELS)}
    return container, stream


def _check(path: str, picture: Any) -> None:
    if not (picture.width > 0 and picture.height > 0 and picture.width * picture.height <= PIXELS):
        raise ValueError(f"{path}: frames of {picture.width} x {picture.height} pixels are not decoded")


@lru_cache(maxsize=256)
def _index(path: str, changed: int, size: int) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """(time stamps of the frames in the order shown, numbers of the key frames, frames), from the packets, undecoded.

    The first two are empty where the packets have no stamps of their own. `changed` and `size` tell a new version.
    """
    container, stream = _opened(path)
    with container:
        packets = [(p.pts, p.is_keyframe) for p in container.demux(stream) if p.size and not p.is_discard]
    count = len(packets)
    if None in (stamps := {pts for pts, _ in packets}) or len(stamps) < count:
        return (), (), count
    packets.sort()
    return tuple(pts for pts, _ in packets), tuple(i for i, (_, key) in enumerate(packets) if key), count


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def frames(path: str | os.PathLike[str], indices: Iterable[int] | None = None) -> Iterator[Frame]:
    """The frames of a film, one after the other: (number, seconds, (H, W, 3) uint8).

    Args:
      path: of the file.
      indices: numbers of the frames wanted, in ascending order; all when left out.
    Raises:
      FileNotFoundError: there is no such file.
      ValueError: no film, a damaged one, or one without that frame; the message names it.
    """
    with Film(path) as film:
        if indices is None:
            yield from film
        else:
            yield from map(film.frame, indices)


def count(path: str | os.PathLike[str]) -> int:
    """Number of frames, as the container tells; see `Film` for what is raised, and for a film without frames."""
    with Film(path) as film:
        number = len(film)
    if not number:
        raise ValueError(f"{path}: has no frames")
    return number


def read(path: str | os.PathLike[str], number: int) -> np.ndarray:
    """One frame of a film: (H, W, 3) uint8; see `Film` for what is raised."""
    with Film(path) as film:
        return film[number]


class Writer:
    """Writes a film, to a temporary name that is renamed when all went well.

        with Writer("out.mp4", rate=25) as film:
            film.add(frame)

    Args:
      path: ends with .mp4, .mkv (H.264) or .avi (MPEG-4).
      rate: frames a second.
    Raises:
      ValueError: another ending; while writing, OSError, which names the file.
    """

    def __init__(self, path: str | os.PathLike[str], rate: float | Fraction = 25):
        self.path = Path(path)
        if self.path.suffix.lower() not in FORMATS:
            raise ValueError(f"{self.path}: films are written as {', '.join(FORMATS)}")
        self.rate = Fraction(rate).limit_denominator(1001)
        self._replacing = files.replacing(self.path)
        self._part = self.path
        self._container: Any = None
        self._stream: Any = None
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
            self._container.close()
        except av.FFmpegError as error:
            if whole:
                raise OSError(f"{self.path}: cannot be written ({_reason(error)})") from error

    def add(self, frame: np.ndarray) -> None:
        """Appends a frame, (H, W, 3) uint8; an odd side grows by one pixel, since codecs want even ones.

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
                self._begin(frame.shape)
            self._container.mux(self._stream.encode(picture))
        except av.FFmpegError as error:
            raise OSError(f"{self.path}: cannot be written ({_reason(error)})") from error

    def _begin(self, shape: tuple[int, ...]) -> None:
        kind, codec = FORMATS[self.path.suffix.lower()]
        codec = codec if codec in av.codecs_available else "mpeg4"
        options = {"crf": "18", "preset": "veryfast"} if codec == "libx264" else {"qscale": "3"}
        self.shape = shape
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(os.path.abspath(self._part), "w", format=kind)
        self._stream = self._container.add_stream(codec, rate=self.rate, options=options)
        self._stream.height, self._stream.width = shape[0] + shape[0] % 2, shape[1] + shape[1] % 2
        self._stream.pix_fmt = "yuv420p"
        if codec == "mpeg4":
            self._stream.codec_context.bit_rate = max(400_000, shape[0] * shape[1] * 8)

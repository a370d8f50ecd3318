"""Reads films frame by frame and writes them, through PyAV (FFmpeg's libraries). No TensorFlow.

    for number, seconds, frame in frames("clip.mp4"):     # frame (H, W, 3) uint8
        ...
    frame = read("clip.mp4", 120)                         # exactly that one, from the key frame before it
    for number, seconds, frame in Film("0"):              # the first camera, until it is unplugged

Frames count from 0 in the order in which they are shown. They come upright (a phone's mark, which turns or mirrors, is
applied), all in the size of the first one, and in the pixels of the file: oblong ones stay oblong. One frame at a time
is in memory. Sound is copied by `Writer` alone.
"""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import chain
from typing import Any

import av
import av.sidedata.sidedata
import numpy as np
from PIL import Image

from fer_tf import film_sources
from fer_tf.film_sources import is_live as is_live
from fer_tf.film_sources import shown as shown
from fer_tf.film_writing import FORMATS as FORMATS
from fer_tf.film_writing import Writer as Writer
from fer_tf.film_writing import reason

ENDINGS = (
    ".avi", ".mp4", ".mov", ".mkv", ".mpg", ".mpeg", ".wmv", ".m4v", ".webm", ".flv", ".f4v", ".3gp", ".3g2", ".ts",
    ".mts", ".m2ts", ".vob", ".asf", ".ogv", ".divx", ".qt",
)  # fmt: skip
"""Endings of film files, in lower case."""
ANIMATIONS = (".gif", ".apng")
"""Endings of pictures that move, which are films where films are asked for."""
PIXELS = 2**26
"""Pixels of the largest frame that is decoded."""
RATES = 250
"""Frames a second above which a rate is none: a browser's film counts milliseconds."""
BETWEEN = 512
"""Most bytes between two packets of a Matroska or Flash film: heads of clusters have some twenty."""
Frame = tuple[int, float, np.ndarray]


class Film:
    """An open film. Close it, or use it in a `with`.

    Attributes:
      path: of the file; of a film that comes over the net the address, without a password.
      rate: frames a second, on average.
      live: whether it is a camera, or comes over the net: read once, from where it is.
      start: the first frame's time in the file, in seconds, once it was read.
      skipped: pieces that the last iteration could not decode and left out.
      damage: what that iteration missed, in a sentence; empty where nothing is missing.

    Args:
      path: of the file; the number of a camera ("0"); an address such as "rtsp://camera/stream".
    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no film, has no video, or its frames are too large; the message names it.
    """

    def __init__(self, path: str | os.PathLike[str] | int):
        self._source = str(path) if isinstance(path, int) else os.fspath(path)
        self.path = shown(self._source)
        self.live = is_live(self._source)
        if not self.live and not os.path.exists(self.path):
            raise FileNotFoundError(f"{self.path}: there is no such file")
        if not self.live and not os.path.isfile(self.path):
            raise ValueError(f"{self.path}: is no file, so no film")
        self._start: int | None = None  # the first frame's time stamp
        self._running: Iterator[av.VideoFrame] | None = None  # a decoder under way,
        self._next = 0  # and the number of the frame that comes next
        self._fresh, self._skips, self.skipped, self.damage = True, False, 0, ""
        self._why = ""  # the first piece could not be decoded
        self._container, self._stream = _opened(self._source, self.path)
        self._header = self._stream.codec_context.height, self._stream.codec_context.width
        self._first: tuple[int, int] | None = None  # (height, width) of the first frame, as it is stored
        kind = self._container.format.name  # the others' stamps are guesses after a seek
        ordered = "avi" in kind and not self._stream.codec_context.has_b_frames
        self._alone = len(self._container.streams) == 1
        self._even = "avi" in kind  # stores no times, so frames are evenly spaced
        self._seekable = "mov" in kind or "matroska" in kind or ordered
        self.rate = self._rate()

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
        """(height, width) of the frames as they are stored, before a mark turns them."""
        return self._first or self._header

    @property
    def start(self) -> float:
        """Seconds in the file at which the first frame is shown."""
        return float((self._start or 0) * (self._stream.time_base or 0))

    def _rate(self) -> Fraction:
        """The file's, where it is a rate; else the mean of the frames' times."""
        if 0 < (rate := self._stream.average_rate or 0) <= RATES:
            return Fraction(rate)
        times = () if self.live else self._index()[0]
        if len(times) > 1 and times[-1] > times[0]:
            return Fraction(len(times) - 1, times[-1] - times[0]) / self._stream.time_base
        rate = self._stream.guessed_rate or 0
        return Fraction(rate) if 0 < rate <= RATES else Fraction(25)

    def __iter__(self) -> Iterator[Frame]:
        """All frames from the first: (number, seconds since the first, (H, W, 3) uint8).

        What is damaged is left out and counted (`skipped`), and the others go on; afterwards `damage` says what is
        missing, too, where the film ends before its head promises.

        Raises:
          ValueError: there are no frames, or too large ones.
        """
        self._rewind()
        self._skips, self.skipped, self.damage, self._why = True, 0, "", ""
        end = 0.0
        while (frame := self._decode()) is not None:
            number, self._next = self._next, self._next + 1
            self._start = frame.pts if number == 0 else self._start
            seconds = self._seconds(frame, number)
            end = seconds + float((getattr(frame, "duration", 0) or 0) * (frame.time_base or 0) or 1 / self.rate)
            yield number, seconds, self._upright(frame)
            self._skips = True
        if not self._next:
            raise ValueError(f"{self.path}: {self._why or 'has no frames'}")
        self._judge(end)

    def _judge(self, end: float) -> None:
        """Says in `damage` what an iteration missed, whose last frame ended so many seconds after the first began."""
        promised, stream = self._stream.frames, self._stream
        length = float((stream.duration or 0) * (stream.time_base or 0))
        if not length and not self.live:  # that of the longest of picture and sound
            length = float(self._container.duration or 0) / av.time_base * (1.0 if self._alone else 0.9)
        whole = promised or round(length * self.rate)
        if self.skipped:
            read = f"{self._next}{f' of {whole}' if whole > self._next else ''} frames were read"
            self.damage = f"{self.path}: {self.skipped} pieces are damaged and left out ({self._why}); {read}"
        elif self._next < 0.9 * promised or (self._next < whole and end < min(0.98 * length, length - 3 / self.rate)):
            self.damage = f"{self.path}: ends after {self._next} of {whole} frames"

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
        if self.live:
            raise ValueError(f"{self.path}: frames of a camera or of the net come one after the other")
        times, keys, _ = self._index() if self._seekable else ((), (), 0)
        if number < 0 or (times and number >= len(times)):
            raise ValueError(f"{self.path}: there is no frame {number}")
        self._start = times[0] if times else self._start
        key = keys[bisect.bisect_right(keys, number) - 1] if keys and keys[0] <= number else 0
        if self._running is None or self.skipped or not key <= self._next <= number:
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
        self._fresh, self._next = False, len(times)
        try:
            self._container.seek(stamp, stream=self._stream)
        except av.FFmpegError:
            return  # `_next` makes the caller count
        self._skips, self.skipped, frames = False, 0, self._frames()
        self._running = frames
        first = self._decode()
        self._next = len(times) if first is None or first.pts is None else bisect.bisect_left(times, first.pts)
        self._running = frames if first is None else chain([first], frames)

    def _index(self) -> tuple[tuple[int, ...], tuple[int, ...], int]:
        status = os.stat(self.path)
        try:
            return _index(self.path, status.st_mtime_ns, status.st_size)
        except av.FFmpegError as error:
            raise ValueError(f"{self.path}: cannot be read as a film ({reason(error)})") from error

    def _rewind(self) -> None:
        """Opens the file anew, unless nothing was read: a seek may miss the first frame."""
        if not self._fresh:
            self._container.close()
            self._container, self._stream = _opened(self._source, self.path)
        self._fresh, self._skips, self.skipped = False, False, 0
        self._running, self._next = self._frames(), 0

    def _frames(self) -> Iterator[av.VideoFrame]:
        """What the packets hold, from where the file stands; errors are counted and left out where `_skips`."""
        packets, failed = self._packets(), 0
        while failed < 10:  # reading fails at the same place ever again
            try:
                packet = next(packets, None)
            except (av.FFmpegError, ValueError, OSError, MemoryError) as error:
                self._skip(error)
                packets, failed = self._packets(), failed + 1
                if isinstance(error, av.InvalidDataError):
                    continue
                packet = None
            try:
                yield from self._stream.codec_context.decode(None) if packet is None else packet.decode()
                if packet is not None and packet.is_corrupt and self._skips:
                    self._skip(ValueError("a piece is incomplete"))
            except av.EOFError:  # was emptied before
                pass
            except (av.FFmpegError, ValueError, OSError, MemoryError) as error:
                self._skip(error)
            if packet is None:
                return

    def _packets(self) -> Iterator[Any]:
        """The picture's packets. In a file where all packets follow each other, bytes between them are damage."""
        if self.live or not any(kind in self._container.format.name for kind in ("matroska", "flv")):
            yield from self._container.demux(self._stream)
            return
        begin = end = None
        for packet in self._container.demux():
            if packet.size and packet.pos is not None and packet.pos >= 0:
                if end is not None and packet.pos - end > BETWEEN and self._skips:
                    self._skip(ValueError(f"{packet.pos - end} bytes cannot be read"))
                laced = packet.pos == begin  # several in one block
                end = max(end or 0, (end or 0) + packet.size if laced else packet.pos + packet.size)
                begin = packet.pos
            if packet.stream.index == self._stream.index:
                yield packet

    def _skip(self, error: BaseException) -> None:
        if not self._skips:
            raise error
        self.skipped, self._why = self.skipped + 1, self._why or f"cannot be decoded: {reason(error)}"

    def _decode(self) -> av.VideoFrame | None:
        try:
            frame = None if self._running is None else next(self._running, None)
        except (av.FFmpegError, ValueError, OSError, MemoryError) as error:
            self._running = None
            raise ValueError(f"{self.path}: cannot be decoded ({reason(error)})") from error
        if frame is not None:
            _check(self.path, frame)
            if self._next == 0 and self._first is None:
                self._first = frame.height, frame.width
        return frame

    def _seconds(self, frame: av.VideoFrame, number: int) -> float:
        if self._even or frame.pts is None or self._start is None or frame.time_base is None:
            return float(number / self.rate)
        return float((frame.pts - self._start) * frame.time_base)

    def _upright(self, frame: av.VideoFrame) -> np.ndarray:
        try:
            picture = _rgb(frame)
        except (av.FFmpegError, ValueError) as error:
            raise ValueError(f"{self.path}: cannot be decoded ({reason(error)})") from error
        if self._first is None and picture.shape[:2] != self._header:
            with Film(self._source) as film:
                film.frame(0)
                self._first = film.size
        return np.ascontiguousarray(_turned(_fitted(picture, self.size), frame))


def _opened(source: str, path: str) -> tuple[Any, Any]:
    """(container, its video stream) of a film.

    Args:
      source: the file, camera or address.
      path: as the messages name it.
    """
    try:
        name, options = film_sources.place(source)
        container = av.open(name, metadata_errors="replace", **options)
    except (av.FFmpegError, ValueError, OSError) as error:
        what = "cannot be opened" if is_live(source) else "cannot be read as a film"
        raise ValueError(f"{path}: {what} ({reason(error)})") from error
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


def _rgb(frame: av.VideoFrame) -> np.ndarray:
    """(H, W, 3) uint8 of a frame as it is stored, transparency on white."""
    if not any(component.is_alpha for component in frame.format.components):
        return frame.to_ndarray(format="rgb24")
    picture = Image.fromarray(frame.to_ndarray(format="rgba"))
    return np.asarray(Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB"))


def _fitted(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture, (h, w, 3), in the middle of one of `size` (H, W), as large as it fits, with black beside it."""
    if picture.shape[:2] == size:
        return picture
    scale = min(size[0] / picture.shape[0], size[1] / picture.shape[1])
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    place = (size[1] - width) // 2, (size[0] - height) // 2
    whole = Image.new("RGB", size[::-1])
    whole.paste(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC), place)
    return np.asarray(whole)


def _turned(picture: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """A picture as its frame's mark wants it: the nearest of four quarter turns, and of those the mirrored ones.

    The mark's matrix takes (x, y) to (a x + c y, b x + d y), with y downwards.
    """
    marks: Any = frame.side_data
    mark = marks.get(av.sidedata.sidedata.Type.DISPLAYMATRIX)
    if mark is None:
        return picture
    a, b, _, c, d = np.frombuffer(bytes(mark), np.int32)[:5].astype(float)
    if abs(a) + abs(d) < abs(b) + abs(c):
        picture, a, d = picture.swapaxes(0, 1), c, b
    return picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


@lru_cache(maxsize=256)
def _index(path: str, changed: int, size: int) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """(time stamps of the frames in the order shown, numbers of the key frames, frames), from the packets, undecoded.

    The first two are empty where the packets have no stamps of their own. `changed` and `size` tell a new version.
    """
    container, stream = _opened(path, path)
    with container:
        packets = [(p.pts, p.is_keyframe) for p in container.demux(stream) if p.size and not p.is_discard]
    count = len(packets)
    if None in (stamps := {pts for pts, _ in packets}) or len(stamps) < count:
        return (), (), count
    packets.sort()
    return tuple(pts for pts, _ in packets), tuple(i for i, (_, key) in enumerate(packets) if key), count


def frames(path: str | os.PathLike[str], indices: Iterable[int] | None = None) -> Iterator[Frame]:
    """The frames of a film, one after the other: (number, seconds, (H, W, 3) uint8).

    Args:
      path: of the file.
      indices: numbers of the frames wanted, in ascending order; all when left out.
    Raises:
      FileNotFoundError: there is no such file.
      ValueError: no film, a damaged one, or one without that frame; the message names it. Of a damaged film, all
        frames that can be decoded come first.
    """
    with Film(path) as film:
        if indices is None:
            yield from film
            if film.damage:
                raise ValueError(film.damage)
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

"""Pictures as arrays: any kind read as upright RGB, and boxes with captions drawn on one. NumPy and Pillow only."""

import functools
import importlib
import io
import math
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

PLATES = ("#ffb000", "#56b4e9", "#7ddf64", "#ff8fa3", "#c9a0ff", "#f0e442")
"""Colours of boxes and captions' plates, so light that black text stands on each."""
Box = tuple[float, float, float, float]
LARGEST = 2**28
"""Pixels of the largest picture that is read: phones take 200 million, which need 600 MB; a bomb claims more."""
_LOCK = threading.Lock()
_LIMITS: list[int | None] = []  # Pillow's own, then one for each thread that does without


Encoded = bytes | bytearray | memoryview
"""A picture file's bytes."""


HEIF = (".heic", ".heif", ".hif")
"""Endings of an iPhone's photographs, which Pillow reads with pillow-heif alone."""
HEIF_HINT = 'pip install "fer-tf[heic]" reads them'


RANGES = (255, 1023, 4095, 16383, 65535)
"""Largest values of grey that has 8, 10, 12, 14 or 16 bits."""


@functools.cache
def _formats() -> None:
    """Makes Pillow know its formats, and those of pillow-heif where it is installed."""
    Image.init()
    try:
        pillow_heif = importlib.import_module("pillow_heif")
    except ImportError:
        return
    pillow_heif.register_heif_opener()


@functools.cache
def endings() -> tuple[str, ...]:
    """The endings of the picture files that this Pillow reads without another program, in lower case."""
    _formats()
    others = ("BUFR", "GRIB", "HDF5", "MPEG", "WMF", "EPS")  # known to it, and read by other programs alone
    known = Image.registered_extensions().items()
    return tuple(sorted(ending for ending, kind in known if kind in Image.OPEN and kind not in others))


def load_image(source: str | os.PathLike | Encoded | Image.Image | np.ndarray) -> np.ndarray:
    """Reads a picture of any common kind as 8-bit RGB, upright.

    EXIF rotation is applied; grey, palette and CMYK pictures become RGB; transparency is composited on white; the first
    frame of an animation is taken. Grey of 16 bits is scaled by the least range (RANGES) that holds its values, since
    many files keep 10, 12 or 14 bits in 16; so are files of whole numbers or fractions in such a range, or in [0, 1],
    and those in another one by their own least and largest value.

    Args:
      source: a file's path, the bytes of a file, a Pillow image, which stays open, or an array (H, W), (H, W, 1|3|4):
        uint8, uint16, bool, or float in [0, 1].
    Returns:
      (H, W, 3) uint8.
    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the picture cannot be decoded or holds other values; one sentence that names the file.
    """
    if isinstance(source, np.ndarray):
        return _to_rgb(_from_array(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decoded(io.BytesIO(source), f"the {len(source)} bytes given")
    if isinstance(source, Image.Image):
        return _decoded(source, "the Pillow image given")
    path = os.fspath(source)
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: there is no such file")
    if os.path.isdir(path):
        raise ValueError(f"{path}: is a folder, not a picture")
    return _decoded(path, path)


def _decoded(source: io.BytesIO | str | Image.Image, name: str) -> np.ndarray:
    """The picture in a stream, a file or an image that is open; the messages show its name."""
    _formats()
    try:
        with (
            _without_limit(),
            nullcontext(source) if isinstance(source, Image.Image) else Image.open(source) as picture,
        ):
            if (pixels := picture.width * picture.height) > LARGEST:
                raise ValueError(f"it has {pixels} pixels, more than {LARGEST}")
            halved = picture.mode != "L" and ";16" in str(getattr(picture, "tile", ""))  # Pillow keeps the high bytes
            rgb = _to_rgb(ImageOps.exif_transpose(picture))
            if halved and 0 < rgb.max() < 16 and picture.mode[0] not in "IF":
                raise ValueError("its colours have 12 bits in 16, which Pillow reads as black: save it with 8 bits")
            return rgb
    except UnidentifiedImageError as error:
        more = f": {HEIF_HINT}" if name.lower().endswith(HEIF) and HEIF[0] not in endings() else ""
        raise ValueError(f"{name}: cannot be read as a picture, since its format is unknown{more}") from error
    except Exception as error:  # decoders raise nearly everything on damaged files
        raise ValueError(f"{name}: cannot be read as a picture ({type(error).__name__}: {error})") from error


@contextmanager
def _without_limit() -> Iterator[None]:
    """Within it Pillow reads pictures of any size; its limit is one for all threads, and comes back with the last."""
    with _LOCK:
        if not _LIMITS:
            _LIMITS.append(Image.MAX_IMAGE_PIXELS)
            Image.MAX_IMAGE_PIXELS = None
        _LIMITS.append(None)
    try:
        yield
    finally:
        with _LOCK:
            _LIMITS.pop()
            if len(_LIMITS) == 1:
                Image.MAX_IMAGE_PIXELS = _LIMITS.pop()


def _from_array(array: np.ndarray) -> Image.Image:
    """(H, W[, 1|3|4]) uint8, uint16, bool or float in [0, 1] as an 8-bit picture."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or 0 in array.shape:
        raise ValueError(f"a picture is an array (H, W) or (H, W, 1|3|4), not of shape {array.shape}")
    if array.dtype == np.uint16:
        array = np.round(array * (255 / next(top for top in RANGES if top >= array.max())))
    elif array.dtype == bool:
        array = array * np.uint8(255)
    elif np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ValueError(f"a float picture lies in [0, 1], not in [{array.min():.3g}, {array.max():.3g}]")
        array = np.round(array * 255)
    elif array.dtype != np.uint8:
        raise ValueError(f"a picture is uint8, uint16, bool or float, not {array.dtype}")
    return Image.fromarray(np.ascontiguousarray(array, np.uint8))


def _to_rgb(picture: Image.Image) -> np.ndarray:
    """Any Pillow picture as (H, W, 3) uint8, transparency on white."""
    if picture.mode.startswith("I") or picture.mode == "F":  # 16-bit grey; older decoders call it I
        picture = _from_array(_in_range(np.asarray(picture)))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return np.array(picture.convert("RGB"))


def _in_range(values: np.ndarray) -> np.ndarray:
    """(H, W) numbers of a file as grey that `_from_array` takes."""
    if not np.isfinite(values).all():
        raise ValueError("some of its values are no finite numbers")
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        return values
    if low < 0 or high > RANGES[-1]:
        return (values - low) / (high - low) if high > low else np.full(values.shape, 0.5)
    if values.dtype.kind != "f":
        return values.astype(np.uint16)
    return values / next(top for top in RANGES if top >= high)


def draw(
    image: np.ndarray, boxes: Sequence[Any], captions: Sequence[str], colours: Sequence[int] | None = None
) -> np.ndarray:
    """Draws boxes with captions on a copy of a picture.

    A picture whose longest side is below 384 pixels is enlarged by a whole factor first, so that captions can be read.
    A caption stands above its box, else below it, else inside; always inside the picture, smaller where it must be.

    Args:
      image: (H, W) or (H, W, 1|3) uint8.
      boxes: faces of `faces.detect`, or (left, top, right, bottom) in pixels of `image`.
      captions: one per box; may have several lines, may be empty.
      colours: one per box, its place in PLATES, counted round and round; 0, 1, 2 ... when left out.
    Returns:
      (H', W', 3) uint8.
    Raises:
      ValueError: if the picture is no uint8 picture, or the numbers of boxes and captions differ.
    """
    if len(boxes) != len(captions):
        raise ValueError(f"{len(boxes)} boxes need as many captions, got {len(captions)}")
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (*image.shape, 1)[2] not in (1, 3) or not image.size:
        raise ValueError(f"draw: a picture is uint8 (H, W) or (H, W, 1|3), got {image.dtype} {image.shape}")
    picture = Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image).convert("RGB")
    factor = max(1, math.ceil(384 / max(picture.size)))
    picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    taken: list[Box] = []
    line = max(2, round(min(picture.size) / 200))
    boxes = [tuple(factor * float(v) for v in getattr(box, "box", box)) for box in boxes]
    plates = [PLATES[n % len(PLATES)] for n in (range(len(boxes)) if colours is None else colours)]
    for box, colour in zip(boxes, plates, strict=True):
        pen.rectangle(box, outline=colour, width=line)
    for box, caption, colour in zip(boxes, captions, plates, strict=True):
        if caption:
            _draw_caption(pen, picture.size, box, caption, line, colour, taken)
    return np.array(picture)


def _draw_caption(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], box: Box, caption: str, line: int, colour: str, taken: list[Box]
) -> None:
    """Writes black on a coloured plate that touches the box and avoids the plates taken so far; adds its own."""
    points = max(14, round(min(size) / 32))
    while True:
        font = ImageFont.load_default(points)
        left, top, right, bottom = pen.multiline_textbbox((0, 0), caption, font=font)
        width, height = right - left + 4 * line, bottom - top + 4 * line
        if points <= 6 or (width <= size[0] and height <= size[1]):
            break
        points -= 1
    x = min(max(box[0], 0), max(0, size[0] - width))
    places = [box[1] - height, box[3], box[1] + line, box[3] - height - line]
    places = [y for y in places if 0 <= y <= size[1] - height] or [min(max(box[1], 0), max(0, size[1] - height))]
    # a plate is free of another one where it ends before that begins, or the reverse
    free = [y for y in places if all(x >= c or a >= x + width or y >= d or b >= y + height for a, b, c, d in taken)]
    y = (free or places)[0]
    taken.append((x, y, x + width, y + height))
    pen.rectangle(taken[-1], fill=colour)
    pen.multiline_text((x + 2 * line - left, y + 2 * line - top), caption, font=font, fill="black")

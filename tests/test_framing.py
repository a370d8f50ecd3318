"""fer_tf.framing: PNG files of every depth as Pillow, and so `pictures.load_image`, decodes them."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fer_tf import framing, pictures

GREY, PALETTE = 0, 3


def png(depth: int, colour: int, values: np.ndarray, *more: tuple[bytes, bytes]) -> bytes:
    """A PNG file of whole numbers (H, W) below 2**depth; `more` are chunks before the pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    bits = (values[..., None] >> np.arange(depth)[::-1]) & 1
    rows = np.packbits(bits.reshape(len(values), -1).astype(np.uint8), axis=1)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", head), *more, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


def check(data: bytes) -> np.ndarray:
    found = framing.decoded(tf.constant(data)).numpy()
    np.testing.assert_array_equal(found, pictures.load_image(data))
    return found


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("transparent", [False, True])
def test_grey_of_few_bits(depth, transparent):
    """Each value is spread over 0 to 255; the transparent one is white."""
    values = np.random.default_rng(depth).integers(0, 2**depth, (5, 11))
    values[0, :2] = 0, 2**depth - 1
    found = check(png(depth, GREY, values, *([(b"tRNS", struct.pack(">H", 0))] if transparent else [])))
    expected = values * (255 // (2**depth - 1))
    np.testing.assert_array_equal(found[..., 0], np.where(values == 0, 255, expected) if transparent else expected)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("transparent", [False, True])
def test_palettes_of_few_colours(depth, transparent):
    rng = np.random.default_rng(depth)
    values, colours = rng.integers(0, 2**depth, (5, 11)), rng.integers(0, 256, (2**depth, 3), np.uint8)
    more = [(b"PLTE", colours.tobytes()), *([(b"tRNS", b"\0\x80")] if transparent else [])]
    found = check(png(depth, PALETTE, values, *more))
    assert transparent or (found == colours[values]).all()


@pytest.mark.parametrize(("most", "factor"), [(65535, 257), (16383, 64.2471), (4095, 16.0588), (1023, 4.01176)])
def test_grey_of_sixteen_bits_by_the_range_it_uses(most, factor):
    values = np.random.default_rng(most).integers(0, most + 1, (9, 13))
    values[0, 0] = most
    found = check(png(16, GREY, values))
    assert np.abs(found[..., 0] - values / factor).max() < 0.51 and found.max() == 255


def test_jpeg_and_colours_and_transparency():
    rng = np.random.default_rng(0)
    for mode, kind in (("RGB", "jpeg"), ("L", "jpeg"), ("RGB", "png"), ("RGBA", "png"), ("LA", "png"), ("L", "png")):
        shape = (16, 24, len(mode)) if len(mode) > 1 else (16, 24)
        stream = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, shape, np.uint8), mode).save(stream, kind)
        check(stream.getvalue())

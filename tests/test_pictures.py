"""fer_tf.pictures: every kind of picture is read as it looks, damage is named, captions stay whole and inside."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from fer_tf import pictures

ROOT = Path(__file__).resolve().parents[1]


def encoded(picture, kind="PNG", **options):
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def random_picture(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.swapaxes(0, 1)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: np.rot90(a, 2).swapaxes(0, 1)),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
def test_exif_rotation(orientation, upright, tmp_path):
    array = random_picture((5, 8, 3))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    path.write_bytes(encoded(Image.fromarray(array), exif=exif))
    np.testing.assert_array_equal(pictures.load_image(path), upright(array))


def test_every_kind_of_picture_becomes_rgb():
    rgb, grey = random_picture((6, 7, 3)), random_picture((6, 7))
    alpha = random_picture((6, 7, 1), seed=1)
    on_white = rgb * (alpha / 255) + 255 * (1 - alpha / 255)
    np.testing.assert_array_equal(pictures.load_image(encoded(Image.fromarray(rgb))), rgb)
    three_grey = np.repeat(grey[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(pictures.load_image(encoded(Image.fromarray(grey))), three_grey)
    rgba = np.concatenate([rgb, alpha], axis=2)
    for source in (rgba, encoded(Image.fromarray(rgba))):
        assert np.abs(pictures.load_image(source) - on_white).max() <= 1
    sixteen = grey.astype(np.uint16) * 257 + 100  # 100 of 65535 is less than half a grey level
    for source in (sixteen, encoded(Image.fromarray(sixteen))):
        np.testing.assert_array_equal(pictures.load_image(source), three_grey)
    palette = Image.fromarray(np.uint8([[0, 1], [2, 1]])).convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    expected = np.uint8([[[10, 20, 30], [255, 255, 255]], [[70, 80, 90], [255, 255, 255]]])
    np.testing.assert_array_equal(pictures.load_image(encoded(palette, transparency=1)), expected)
    bits = Image.fromarray(grey > 127)
    np.testing.assert_array_equal(pictures.load_image(encoded(bits))[:, :, 0], np.where(grey > 127, 255, 0))
    cmyk = pictures.load_image(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert cmyk.shape == (8, 8, 3) and cmyk[4, 4, 0] > 200 and cmyk[4, 4, 1:].max() < 60  # red
    np.testing.assert_array_equal(pictures.load_image(rgb / np.float32(255)), rgb)


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4, 2)), np.zeros((0, 4)), np.full((4, 4), 2.0), np.full((4, 4), np.nan), np.zeros((4, 4), int)],
)
def test_arrays_that_are_no_pictures(array):
    with pytest.raises(ValueError, match="picture"):
        pictures.load_image(array)


def tiff(values):
    return encoded(Image.fromarray(values), "TIFF")


@pytest.mark.parametrize("top", [1023, 4095, 16383, 65535])
@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_grey_of_more_bits_is_scaled_by_the_range_it_uses(top, kind):
    """As TIFF and PNG files, Pillow images and arrays; black stays black."""
    values = np.random.default_rng(top).integers(0, top + 1, (6, 7)).astype(kind)
    values[0, :2] = top, 0
    expected = np.round(values.astype(float) * 255 / top)
    sources = [tiff(values), Image.fromarray(values)]
    sources += [values, values[..., None], encoded(Image.fromarray(values), "PNG")] if kind == np.uint16 else []
    for source in sources:
        found = pictures.load_image(source).astype(float)
        assert np.abs(found - expected[..., None]).max() <= 1 and found.max() == 255 and found.min() == 0
    assert pictures.load_image(tiff(np.zeros((6, 7), kind))).max() == 0


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_numbers_in_no_common_range_are_spread_over_their_own(kind):
    """Computed tomography's -1000 to 3000, and a million."""
    for low, high in ((-1000, 3000), (0, 10**6), (-500, -100)):
        values = np.linspace(low, high, 42).reshape(6, 7).astype(kind)
        expected = (values.astype(float) - low) / (high - low) * 255
        assert np.abs(pictures.load_image(tiff(values))[..., 1] - expected).max() <= 0.6
    with pytest.raises(ValueError, match="some of its values are no finite numbers"):
        pictures.load_image(tiff(np.float32([[0, np.nan], [1, 2]])))
    fractions = np.linspace(0, 0.5, 42, dtype=np.float32).reshape(6, 7)
    assert abs(int(pictures.load_image(tiff(fractions)).max()) - 127.5) <= 0.5


def deep_colours(values):
    """A PNG file of 16-bit RGB, (H, W, 3)."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2, 0, 0, 0)
    parts = (b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def test_colours_of_twelve_bits_in_sixteen_are_refused(tmp_path):
    """Pillow gives their high bytes alone, which are black."""
    values = np.random.default_rng(0).integers(0, 4096, (6, 7, 3))
    (tmp_path / "a.png").write_bytes(deep_colours(values))
    with pytest.raises(ValueError, match=r"a\.png: .*12 bits in 16, which Pillow reads as black: save it with 8 bits"):
        pictures.load_image(tmp_path / "a.png")
    np.testing.assert_array_equal(pictures.load_image(deep_colours(values * 16)), values * 16 // 256)
    assert pictures.load_image(deep_colours(values * 0)).max() == 0


def test_damaged_files_are_named(tmp_path, monkeypatch):
    whole = encoded(Image.fromarray(random_picture((64, 64, 3))), "JPEG")
    for name, content in {"empty.jpg": b"", "text.png": b"not a picture", "half.jpg": whole[: len(whole) // 2]}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}: cannot be read") as caught:
            pictures.load_image(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="13 bytes given: cannot be read"):
        pictures.load_image(b"not a picture")
    with pytest.raises(ValueError, match="is a folder"):
        pictures.load_image(str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"absent\.jpg"):
        pictures.load_image(tmp_path / "absent.jpg")
    monkeypatch.setattr(pictures, "LARGEST", 4095)
    (tmp_path / "bomb.jpg").write_bytes(whole)
    with pytest.raises(ValueError, match=r"bomb\.jpg.*it has 4096 pixels, more than 4095"):
        pictures.load_image(tmp_path / "bomb.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "GIF"])
def test_a_phone_s_largest_photographs_are_read(tmp_path, monkeypatch, kind):
    """Pillow's own limit, which 200 million pixels exceed, holds for others as before."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    whole = encoded(Image.fromarray(random_picture((64, 64, 3))), kind)
    assert pictures.load_image(whole).shape == (64, 64, 3) and Image.MAX_IMAGE_PIXELS == 1000
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(whole))


def test_draw_keeps_captions_whole_and_inside():
    image = np.full((400, 600, 3), 40, np.uint8)
    boxes = [(250, 150, 350, 250), (-20, -10, 60, 70), (560, 300, 640, 420), (0, 0, 600, 400)]
    caption = "happiness 0.97\nneutral 0.02"
    written = []
    for box in boxes:
        picture = pictures.draw(image, [box], [caption])
        assert picture.shape == image.shape and picture.dtype == np.uint8
        plain = pictures.draw(image, [box], [""])
        assert (plain != image).any()
        written.append(((picture != plain).any(axis=2).sum(), (picture.sum(axis=2) < 60).sum()))
    assert min(ink for _, ink in written) > 0.95 * written[0][1] > 200  # all the letters, whichever the place
    assert (image == 40).all()


def test_draw_small_large_and_several():
    tiny = pictures.draw(np.zeros((48, 48), np.uint8), [(5, 5, 40, 40)], ["surprise 0.51"])
    assert tiny.shape == (384, 384, 3)
    large = pictures.draw(np.zeros((2000, 3000, 3), np.uint8), [(900, 900, 1500, 1500)], ["surprise 0.51"])
    yellow = (large == (255, 176, 0)).all(axis=2)
    rows = np.flatnonzero(yellow[:900].any(axis=1))
    assert len(rows) >= 40  # a plate that still reads when the picture is shrunk to a screen
    image = np.zeros((400, 600, 3), np.uint8)
    near = [(100, 100, 200, 200), (150, 105, 250, 205)]
    one_by_one = [
        pictures.draw(image, [near[0]], ["sadness 0.60"]),
        pictures.draw(image, near, ["sadness 0.60", "fear 0.50"]),
    ]
    plate = (one_by_one[0][:98] == (255, 176, 0)).all(axis=2)
    assert plate.sum() > 200 and (one_by_one[1][:98][plate] == (255, 176, 0)).all()  # the second avoids the first
    with pytest.raises(ValueError, match="as many captions"):
        pictures.draw(image, near, ["one"])


def test_a_person_has_a_colour_of_their_own():
    """The second and the eighth of six colours are one; boxes keep theirs whatever their order."""
    image, boxes = np.zeros((400, 600, 3), np.uint8), [(20, 100, 120, 200), (300, 100, 400, 200)]
    drawn = pictures.draw(image, boxes, ["", ""], [7, 2])
    colours = [tuple(int(v) for v in drawn[199, x]) for x in (60, 340)]
    assert colours == [ImageColor.getrgb(pictures.PLATES[1]), ImageColor.getrgb(pictures.PLATES[2])]
    np.testing.assert_array_equal(pictures.draw(image, boxes[::-1], ["", ""], [2, 7]), drawn)
    assert (pictures.draw(image, boxes, ["", ""]) == pictures.draw(image, boxes, ["", ""], [0, 1])).all()


@pytest.mark.parametrize("image", [np.zeros((4, 4)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4), np.uint8)])
def test_draw_refuses_what_is_no_picture(image):
    with pytest.raises(ValueError, match="uint8"):
        pictures.draw(image, [], [])


HEIF = """
import sys, types
from PIL import Image, ImageFile
class Heif(ImageFile.ImageFile):
    format = "HEIF"
    def _open(self):
        self._size, self._mode = (3, 2), "RGB"
        self.tile = [ImageFile._Tile("raw", (0, 0, 3, 2), 12, "RGB")]
def register_heif_opener():
    Image.register_open("HEIF", Heif, lambda start: start[4:8] == b"ftyp")
    Image.register_extension("HEIF", ".heic")
if sys.argv[2:]:
    sys.modules["pillow_heif"] = types.SimpleNamespace(register_heif_opener=register_heif_opener)
else:
    sys.modules["pillow_heif"] = None
from fer_tf import pictures
print(".heic" in pictures.endings())
try:
    print(pictures.load_image(sys.argv[1]).tolist())
except ValueError as error:
    print(error)
"""


def test_an_iphones_photograph_is_read_where_pillow_heif_is(tmp_path):
    """A stand-in for the package, of raw pixels after twelve bytes."""
    path = tmp_path / "a.HEIC"
    path.write_bytes(b"\0\0\0\x0cftypheic" + bytes(range(18)))
    said = []
    for more in ([], ["with"]):
        command = [sys.executable, "-c", HEIF, str(path), *more]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        said.append(done.stdout.splitlines())
    reason = "cannot be read as a picture, since its format is unknown"
    assert said[0] == ["False", f'{path}: {reason}: pip install "fer-tf[heic]" reads them']
    assert said[1] == ["True", str(np.arange(18).reshape(2, 3, 3).tolist())]

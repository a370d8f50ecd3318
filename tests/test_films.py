"""Films: exactly the frame asked for, upright, and one sentence for everything that is no film."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from fer_tf import films

KINDS = {  # ending: (container, codec, B-frames)
    "mp4": ("mp4", "libx264", 2),
    "mov": ("mov", "mpeg4", 2),
    "mkv": ("matroska", "libx264", 2),
    "webm": ("webm", "libvpx-vp9", 0),
    "avi": ("avi", "mpeg4", 0),
    "h264.avi": ("avi", "libx264", 2),  # its time stamps are in the wrong order
    "mjpeg.avi": ("avi", "mjpeg", 0),
    "mpg": ("mpeg", "mpeg1video", 2),  # none after a seek can be trusted
    "wmv": ("asf", "wmv2", 0),
}


def picture(number, size=(48, 64)):
    """A frame that shows its number: eight black or white squares along the top."""
    frame = np.full((*size, 3), number % 200, np.uint8)
    frame[:8] = np.repeat((number >> np.arange(8)) & 1, 8)[None, :, None] * 255 if size[1] == 64 else 0
    return frame


def shown(frame):
    return sum(int(frame[2:6, 8 * bit + 2 : 8 * bit + 6].mean() > 128) << bit for bit in range(8))


def film(path, count=90, rate=25):
    with films.Writer(path, rate) as writer:
        for number in range(count):
            writer.add(picture(number))
    return path


def other(path, container, codec, b_frames, count=90):
    """A film that `Writer` does not write."""
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = 10, b_frames
        for number in range(count):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        file.mux(stream.encode())
    return path


@pytest.mark.parametrize("ending", KINDS)
def test_each_frame_is_the_one_asked_for(tmp_path, ending):
    """Forwards, backwards, across key frames, in every container."""
    path = other(tmp_path / f"a film.{ending}", *KINDS[ending])
    found = list(films.frames(path))
    assert [n for n, _, _ in found] == list(range(90)) == [shown(frame) for _, _, frame in found]
    np.testing.assert_allclose([s for _, s, _ in found], np.arange(90) / 25, atol=1e-3)
    assert films.count(path) == 90
    wanted = [5, 6, 7, 60, 3, 89, 0, 50, 51, 10, 30, *np.random.default_rng(0).permutation(90)[:20].tolist()]
    with films.Film(path) as opened:
        for number in wanted:
            np.testing.assert_array_equal(opened[number], found[number][2])
        for number, _, frame in opened:
            assert shown(frame) == number
            if number == 12:
                break
        assert [shown(opened[n]) for n in (13, 40, 12)] == [13, 40, 12]
    assert [shown(films.read(path, n)) for n in (20, 89)] == [20, 89]
    assert [(n, round(s, 2), shown(f)) for n, s, f in films.frames(path, (30, 31, 45))] == [
        (30, 1.2, 30), (31, 1.24, 31), (45, 1.8, 45),
    ]  # fmt: skip
    for number in (-1, 90, 5000):
        with pytest.raises(ValueError, match=f"a film.{ending}: there is no frame {number}"):
            films.read(path, number)


def test_later_frames_are_reached_from_their_key_frame(tmp_path, monkeypatch):
    path, decoded, decode = other(tmp_path / "a.mp4", *KINDS["mp4"]), [], films.Film._decode
    monkeypatch.setattr(films.Film, "_decode", lambda self: decoded.append(1) or decode(self))
    with films.Film(path) as opened:
        assert shown(opened[85]) == 85 and len(decoded) <= 10
        assert shown(opened[86]) == 86 and len(decoded) <= 11


@pytest.mark.parametrize("ending", films.FORMATS)
@pytest.mark.parametrize("size", [(48, 64), (31, 45), (1, 1)])
def test_writing(tmp_path, ending, size):
    """The rate stays; odd sides grow by one; colours survive; no other file remains."""
    path = tmp_path / "new" / f"a{ending}"
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (3, 3))
    with films.Writer(path, 30000 / 1001) as writer:
        for colour in colours:
            writer.add(np.full((*size, 3), colour, np.uint8))
    even = tuple(side + side % 2 for side in size)
    with films.Film(path) as opened:
        assert opened.rate == Fraction(30000, 1001) and opened.size == even and len(opened) == 3
        for (_, _, frame), colour in zip(opened, colours, strict=True):
            assert frame.shape == (*even, 3)
            np.testing.assert_allclose(frame.mean(axis=(0, 1)), colour, atol=12)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_film_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="the first one"), films.Writer(tmp_path / "a.mp4") as writer:
        writer.add(picture(0))
        writer.add(picture(0, (50, 64)))
    with pytest.raises(ValueError, match="needs at least one frame"), films.Writer(tmp_path / "a.mp4"):
        pass
    with pytest.raises(ValueError, match="a frame is uint8"), films.Writer(tmp_path / "a.mp4") as writer:
        writer.add(np.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match="written as .mp4"):
        films.Writer(tmp_path / "a.gif")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_rotation_marks_are_applied(tmp_path, turns):
    """The matrix of a phone's film: `turns` quarters clockwise set it upright."""
    path = film(tmp_path / "a.mp4", 3)
    plain = films.read(path, 1)
    data, one = bytearray(path.read_bytes()), 1 << 16
    a, b = {1: (0, one), 2: (-one, 0), 3: (0, -one)}[turns]
    at = data.index(b"tkhd") + 4 + 40
    assert struct.unpack(">9i", data[at : at + 36]) == (one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, -b, a, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    np.testing.assert_array_equal(films.read(path, 1), np.rot90(plain, -turns))


def test_what_is_no_film_says_so(tmp_path):
    good = film(tmp_path / "good.avi").read_bytes()
    sound = tmp_path / "sound.mp4"
    with av.open(str(sound), "w") as file:
        stream = file.add_stream("aac", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8000
        file.mux(stream.encode(silence))
        file.mux(stream.encode())
    bad = {
        "empty.avi": b"",
        "text.mp4": b"no film at all\n" * 400,
        "list.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{tmp_path}/good.avi\n#EXT-X-ENDLIST\n".encode(),
        "concat.mp4": f"ffconcat version 1.0\nfile {tmp_path}/good.avi\n".encode(),
        "picture.avi": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "cut.mp4": film(tmp_path / "good.mp4").read_bytes()[:-800],  # the index stands at the end
        "head.avi": good[:300],
        "half.avi": good[: len(good) // 2],
        "none.avi": good[: good.index(b"movi") + 4],
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    for name in (*bad, "sound.mp4"):
        with pytest.raises(ValueError, match=name) as error:
            list(films.frames(tmp_path / name))
        assert "\n" not in str(error.value)
    assert [shown(frame) for _, _, frame in films.frames(tmp_path / "half.avi", range(3))] == [0, 1, 2]
    with pytest.raises(ValueError, match="half.avi"):
        films.read(tmp_path / "half.avi", 80)
    with pytest.raises(FileNotFoundError, match=r"nowhere.avi: there is no such file"):
        films.count(tmp_path / "nowhere.avi")
    with pytest.raises(ValueError, match="is no file"):
        films.count(tmp_path)


def test_absurd_sizes_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    path = film(tmp_path / "a.mp4", 2)
    monkeypatch.setattr(films, "PIXELS", 1000)
    with pytest.raises(ValueError, match="a.mp4: frames of 64 x 48 pixels are not decoded"):
        films.read(path, 0)


def test_a_changed_film_is_read_anew(tmp_path):
    path = film(tmp_path / "a.mp4", 50)
    assert shown(films.read(path, 49)) == 49
    film(path, 20)
    with pytest.raises(ValueError, match="no frame 49"):
        films.read(path, 49)
    assert films.count(path) == 20


def test_damage_never_crashes(tmp_path):
    """Flipped bytes: frames, or one sentence that names the file."""
    rng, refused = np.random.default_rng(0), 0
    for ending in (".mp4", ".avi", ".mkv"):
        good = np.frombuffer(film(tmp_path / f"good{ending}", 12).read_bytes(), np.uint8)
        for trial in range(25):
            data = good.copy()
            at = rng.integers(0, len(data), 1 + trial)
            data[at] = rng.integers(0, 256, len(at))
            path = tmp_path / f"bad{ending}"
            path.write_bytes(data[: rng.integers(1, len(data) + 1)].tobytes() if trial % 2 else data.tobytes())
            try:
                assert all(frame.dtype == np.uint8 for _, _, frame in films.frames(path))
                films.read(path, 5)
            except ValueError as error:
                refused += 1
                assert str(path) in str(error) and "\n" not in str(error)
    assert refused > 5

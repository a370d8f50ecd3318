"""Films as browsers, phones, cameras and broken downloads leave them."""

import functools
import http.server
import struct
import sys
import threading
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image

from fer_tf import film_sources, films

GREY = {number: 40 + 4 * number for number in range(40)}
"""Number of a frame -> its grey value."""


def flat(number, size=(48, 64)):
    return np.full((*size, 3), GREY[number], np.uint8)


def number_of(frame):
    return round((float(np.median(frame)) - 40) / 4)


def write(path, numbers=range(40), codec="libx264", size=(48, 64), stamps=None, noise=0, **options):
    """A film of flat frames, with time stamps in milliseconds where they are given."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", **options) as file:
        stream = file.add_stream(codec, rate=1000 if stamps else 25)
        stream.width, stream.height, stream.pix_fmt = size[1], size[0], "yuv420p"
        stream.codec_context.gop_size = 10
        for at, number in enumerate(numbers):
            picture = np.clip(flat(number, size) + rng.integers(-noise, noise + 1, (*size, 3)), 0, 255)
            frame = av.VideoFrame.from_ndarray(picture.astype(np.uint8), format="rgb24")
            if stamps:
                frame.pts, frame.time_base = stamps[at], Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def two_sizes(path):
    """Ten frames of 48 x 64 pixels, then ten of 96 x 64, in one stream, as WebRTC does it."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libvpx", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        second = av.CodecContext.create("libvpx", "w")
        second.width, second.height, second.pix_fmt, second.time_base = 64, 96, "yuv420p", Fraction(1, 25)
        packets = []
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(flat(number, (48 if number < 10 else 96, 64)), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            if number == 10:
                packets += stream.encode()
            packets += (stream if number < 10 else second).encode(frame)
        packets += second.encode()
        for packet in packets:
            packet.stream = stream
            file.mux(packet)
    return path


def test_a_browsers_film_has_the_mean_rate_of_its_times(tmp_path):
    stamps = [round(n * 1000 / 30) + (0, 4, -3, 2, -4)[n % 5] for n in range(40)]
    path = write(tmp_path / "a.webm", codec="libvpx", stamps=stamps)
    with films.Film(path) as film:
        assert film.rate == Fraction(39, stamps[-1]) * 1000 and 29 < film.rate < 31
        found = [seconds for _, seconds, _ in film]
    np.testing.assert_allclose(found, np.array(stamps) / 1000, atol=1e-6)


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".avi"])
def test_frames_are_written_at_their_times(tmp_path, ending):
    """To a millisecond; an .avi, which has none, at the rate."""
    times = [0, 0.031, 0.069, 0.1, 0.5, 0.533, 0.533, 0.6]
    with films.Writer(tmp_path / f"a{ending}", 30) as writer:
        for number, seconds in enumerate(times):
            writer.add(flat(number), seconds)
    found = list(films.frames(tmp_path / f"a{ending}"))
    assert [number_of(frame) for _, _, frame in found] == list(range(8))
    expected = np.arange(8) / 30 if ending == ".avi" else times
    np.testing.assert_allclose([seconds for _, seconds, _ in found], expected, atol=1.1e-3)


def test_all_frames_have_the_size_of_the_first(tmp_path):
    """Of the second size, 96 x 64, is in 48 x 64 a half: 48 x 32 in the middle, with black beside it."""
    path = two_sizes(tmp_path / "a.webm")
    with films.Film(path) as film:
        found = [frame for _, _, frame in film]
        assert [frame.shape for frame in found] == [(48, 64, 3)] * 20 and film.size == (48, 64) and not film.damage
        np.testing.assert_array_equal(film[15], found[15])
    np.testing.assert_array_equal(films.read(path, 15), found[15])
    for number, frame in enumerate(found):
        inner = frame if number < 10 else frame[:, 17:47]
        assert np.abs(inner.astype(int) - GREY[number]).max() <= 3
        assert number < 10 or frame[:, :16].max() == frame[:, 48:].max() == 0


@pytest.mark.parametrize("damage", ["cut", "middle"])
def test_what_is_damaged_is_left_out_and_said(tmp_path, damage):
    path = write(tmp_path / "a.mp4", noise=30, options={"movflags": "faststart"})
    whole = path.read_bytes()
    half = len(whole) // 2
    bad = {"cut": whole[: len(whole) * 95 // 100], "middle": whole[:half] + bytes(3000) + whole[half + 3000 :]}
    path.write_bytes(bad[damage])
    with films.Film(path) as film:
        read = [number_of(frame) for _, _, frame in film]
        first = film.damage
        assert read == sorted(read) and 25 <= len(read) < 40 and film.skipped > 0
        assert first.startswith(f"{path}: {film.skipped} pieces are damaged and left out")
        assert first.endswith(f"; {len(read)} of 40 frames were read")
        assert read[-1] == 39 or damage == "cut"
        assert len(list(film)) == len(read) and film.damage == first
    read.clear()
    with pytest.raises(ValueError, match="pieces are damaged"):
        for number, _, _ in films.frames(path):
            read.append(number)
    assert len(read) == int(first.split("; ")[1].split()[0])
    with pytest.raises(ValueError, match="a.mp4"):  # one frame alone is that frame or none
        films.read(path, 38 if damage == "cut" else 20)
    if damage == "middle":  # numbers that were counted past the damage are not those of the frames
        with films.Film(path) as film:
            number = next(number for number, _, frame in film if number_of(frame) == 34)
            assert number < 34 and [number_of(film[wanted]) for wanted in (35, 39, 31, 5)] == [35, 39, 31, 5]
    path.write_bytes(whole)
    with films.Film(path) as film:
        assert len(list(film)) == 40 and (film.damage, film.skipped) == ("", 0)


@pytest.mark.parametrize(("ending", "codec"), [(".mkv", "libx264"), (".webm", "libvpx"), (".flv", "flv")])
def test_what_a_container_jumps_over_is_said(tmp_path, ending, codec):
    path = write(tmp_path / f"a{ending}", codec=codec, noise=30)
    whole = path.read_bytes()
    with films.Film(path) as film:
        assert len(list(film)) == 40 and (film.damage, film.skipped) == ("", 0)
    with av.open(str(path)) as file:
        at = [packet.pos for packet in file.demux(video=0) if packet.size][20]
    path.write_bytes(whole[:at] + bytes(3000) + whole[at + 3000 :])
    with films.Film(path) as film:
        read = len(list(film))
        assert 15 < read < 40 and f"{read} of 40 frames" in film.damage
        assert ending == ".flv" or (film.skipped and " bytes cannot be read)" in film.damage)


def test_a_film_that_was_cut_between_two_packets_ends_early(tmp_path):
    path = write(tmp_path / "a.mp4", codec="mpeg4", noise=30, options={"movflags": "faststart"})
    with av.open(str(path)) as file:
        at = [packet.pos for packet in file.demux(video=0) if packet.size]
    path.write_bytes(path.read_bytes()[: at[36]])
    with films.Film(path) as film:
        assert len(list(film)) == 36 and film.damage == f"{path}: ends after 36 of 40 frames"


MARKS = {  # (a, b, c, d) of the matrix -> what it does
    (1, 0, 0, 1): lambda p: p,
    (0, 1, -1, 0): lambda p: np.rot90(p, -1),
    (-1, 0, 0, -1): lambda p: np.rot90(p, 2),
    (0, -1, 1, 0): lambda p: np.rot90(p, 1),
    (-1, 0, 0, 1): lambda p: p[:, ::-1],
    (1, 0, 0, -1): lambda p: p[::-1],
    (0, 1, 1, 0): lambda p: p.swapaxes(0, 1),
    (0, -1, -1, 0): lambda p: np.rot90(p, 2).swapaxes(0, 1),
}


@pytest.mark.parametrize("mark", MARKS)
def test_all_eight_marks_turn_and_mirror(tmp_path, mark):
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :16], picture[24:, :32], picture[:24, 40:] = 250, 120, 60
    path = tmp_path / "a.mp4"
    with films.Writer(path) as writer:
        writer.add(picture)
    plain, data = films.read(path, 0), bytearray(path.read_bytes())
    at, (a, b, c, d) = data.index(b"tkhd") + 4 + 40, (v << 16 for v in mark)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    np.testing.assert_array_equal(films.read(path, 0), MARKS[mark](plain))


@pytest.mark.parametrize(("ending", "codec"), [(".flv", "flv"), (".3gp", "libx264"), (".ts", "mpeg2video")])
def test_more_kinds_of_films(tmp_path, ending, codec):
    path = write(tmp_path / f"a{ending}", codec=codec)
    assert ending in films.ENDINGS
    with films.Film(path) as film:
        assert [number_of(frame) for _, _, frame in film] == list(range(40)) and not film.damage and film.rate == 25


def test_a_gif_is_a_film_with_its_times_and_transparency_on_white(tmp_path):
    path, lasting = tmp_path / "a.gif", [40, 100, 40, 2000, 40]
    shown = [Image.new("RGBA", (64, 48)) for _ in lasting]
    for number, picture in enumerate(shown):
        picture.paste((GREY[number],) * 3 + (255,), (0, 0, 32, 48))
    shown[0].save(path, save_all=True, append_images=shown[1:], duration=lasting, disposal=2)
    assert ".gif" in films.ANIMATIONS and ".gif" not in films.ENDINGS
    with films.Film(path) as film:
        found = list(film)
        assert not film.damage and len(film) == 5
    np.testing.assert_allclose([seconds for _, seconds, _ in found], [0, 0.04, 0.14, 0.18, 2.18])
    assert [number_of(frame[:, :32]) for _, _, frame in found] == list(range(5))
    assert all((frame[:, 32:] == 255).all() for _, _, frame in found)
    shown[0].save(tmp_path / "a.apng", save_all=True, append_images=shown[1:], duration=lasting)
    (_, _, moving), *_ = films.frames(tmp_path / "a.apng")
    assert (moving[:, 32:] == 255).all() and (moving[:, :32] == GREY[0]).all() and shown[0].getpixel((40, 9))[0] == 0


def test_a_camera_is_opened_by_its_number(tmp_path, monkeypatch):
    """FFmpeg's test picture stands for the first camera."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(film_sources, "CAMERAS", {"linux": ("lavfi", "testsrc=size=64x4{}:rate=12")})
    for path in ("0", 0):
        with films.Film(path) as film:
            assert film.live and film.rate == 12 and film.size == (40, 64)
            for number, seconds, frame in film:
                assert frame.shape == (40, 64, 3) and abs(seconds - number / 12) < 1e-6
                if number == 30:
                    break
            with pytest.raises(ValueError, match="0: frames of a camera or of the net come one after the other"):
                film[3]
    write(tmp_path / "0", numbers=range(3), format="mp4")
    with films.Film("0") as film:
        assert not film.live and len(film) == 3


def test_cameras_have_names_on_windows_and_a_rate_on_a_mac(monkeypatch):
    devices = [SimpleNamespace(name="mic", media_types=["audio"])]
    devices += [SimpleNamespace(name=name, media_types=["video"]) for name in ("front", "back")]
    stand_in = SimpleNamespace(enumerate_input_devices=lambda kind: devices if kind == "dshow" else None)
    monkeypatch.setitem(sys.modules, "av.device", stand_in)
    monkeypatch.setattr(film_sources.sys, "platform", "win32")
    name, options = film_sources.place("1")
    assert name == "video=back" and options["format"] == "dshow"
    with pytest.raises(ValueError, match=r"^2: cannot be opened \(there are 2 cameras, from 0\)$"):
        films.Film("2")
    monkeypatch.setattr(film_sources.sys, "platform", "darwin")
    name, options = film_sources.place("1")
    assert name == "1" and options["format"] == "avfoundation" and options["container_options"] == {"framerate": "30"}


def test_what_is_no_camera_and_no_address_says_so(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(film_sources, "CAMERAS", {"linux": ("video4linux2", "/dev/no_video{}")})
    with pytest.raises(ValueError, match=r"^7: cannot be opened \(No such file or directory\)$"):
        films.Film("7")
    with pytest.raises(ValueError, match=r"^rtsp://127.0.0.1:9/x: cannot be opened") as error:
        films.Film("rtsp://anna:secret@127.0.0.1:9/x")
    assert "secret" not in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match="ftp://a/b.mp4: there is no such file"):
        films.Film("ftp://a/b.mp4")


class Served(http.server.SimpleHTTPRequestHandler):
    """Files, without a word."""

    def log_message(self, *_):
        pass


def test_a_film_over_the_net(tmp_path):
    write(tmp_path / "a.mp4", options={"movflags": "faststart"})
    handler = functools.partial(Served, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with films.Film(f"http://127.0.0.1:{server.server_port}/a.mp4") as film:
            assert film.live and [number_of(frame) for _, _, frame in film] == list(range(40)) and not film.damage
        server.shutdown()


def test_rtsp_is_asked_for_over_tcp_and_given_up_when_nothing_comes(tmp_path, monkeypatch):
    """A file stands for the camera, since FFmpeg is no RTSP server."""
    path, asked, opened = write(tmp_path / "a.mp4"), [], av.open
    monkeypatch.setattr(av, "open", lambda name, **options: asked.append((name, options)) or opened(str(path)))
    with films.Film("rtsp://anna:secret@camera/x") as film:
        assert film.live and film.path == "rtsp://camera/x" and len(list(film)) == 40
    (name, options), *again = asked
    assert name == "rtsp://anna:secret@camera/x" and not again
    assert options["timeout"] == film_sources.PATIENCE and options["container_options"] == {"rtsp_transport": "tcp"}

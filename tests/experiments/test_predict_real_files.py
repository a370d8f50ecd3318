"""experiments.predict on what people have: long names, full disks, odd films; a stand-in for model and detector."""

import csv
import errno
import json
import os
import signal
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from experiments import predict, regenerate
from experiments.parts.regenerate import kinds
from fer_tf import faces, film_sources, films, pictures, recognise


class Model:
    """The brightness of a face is its happiness."""

    classes, template = ("anger", "happiness"), faces.TEMPLATES["ia_gen"]

    def __call__(self, cuts):
        happy = np.array([cut.mean() / 255 for cut in cuts])
        return np.stack([1 - happy, happy], axis=1)


def detect(picture, **_):
    """A bright square is a face."""
    bright = picture[..., 0] > 100
    if not bright.any():
        return []
    x, y = np.flatnonzero(bright.any(axis=0)), np.flatnonzero(bright.any(axis=1))
    return [faces.Face((float(x[0]), float(y[0]), float(x[-1] + 1), float(y[-1] + 1)), 1.0)]


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """run(**settings) -> (exit code, lines, stderr), in a folder of its own."""
    monkeypatch.setattr(recognise, "predictor", lambda model: Model())
    monkeypatch.setattr(recognise, "detect", detect)
    monkeypatch.setattr(recognise, "align", lambda picture, template, box: picture)
    monkeypatch.chdir(tmp_path)

    def called(**settings):
        code = predict.run(predict.Settings(**settings))
        printed = capsys.readouterr()
        return code, [json.loads(line) for line in printed.out.splitlines()], printed.err

    return called


def shown(left=20, size=(64, 96)):
    picture = np.zeros((*size, 3), np.uint8)
    picture[size[0] // 4 : size[0] * 3 // 4, left : left + size[1] // 3] = 200
    return picture


def save(*names):
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(shown()).save(name)


def test_a_long_name_is_cut_and_the_line_names_the_file(run):
    names = [f"{'ä' * 123}.png", f"{'ä' * 122}b.png", "a.png"]
    save(*(f"photos/{name}" for name in names))
    code, lines, _ = run(image=("photos",), out="out")
    assert code == 0 and [line["path"] for line in lines] == [f"photos/{name}" for name in sorted(names)]
    written = [f"out/{'ä' * 100}_faces.jpg", f"out/{'ä' * 100}_faces_2.jpg"]
    assert [line["annotated"] for line in lines] == ["out/a_faces.jpg", *written]
    assert sorted(f"out/{name}" for name in os.listdir("out")) == sorted(line["annotated"] for line in lines)
    code, (line,), _ = run(image=("photos/a.png",), out="")
    assert code == 0 and "annotated" not in line


@pytest.mark.parametrize(
    ("number", "reason"), [(errno.ENOSPC, "the disk is full"), (errno.ENAMETOOLONG, "File name too long")]
)
def test_what_cannot_be_written_is_one_line_and_the_others_go_on(run, monkeypatch, number, reason):
    save("photos/a.png", "photos/b.png", "photos/c.png")
    plain = Image.Image.save

    def fail(picture, path, *args, **options):
        plain(picture, path, *args, **options)
        if ".b_" in str(path):
            raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Image.Image, "save", fail)
    code, lines, errors = run(image=("photos",), out="out")
    sentence = f"photos/b.png: its result cannot be written ({reason})."
    assert code == 1 and [line.get("error") for line in lines] == [None, sentence, None]
    assert errors.splitlines() == [sentence] and len(lines[1]["faces"]) == 1 and "annotated" not in lines[1]
    assert sorted(os.listdir("out")) == ["a_faces.jpg", "c_faces.jpg"]


@pytest.mark.parametrize("out", ["file.txt/out", "file.txt", "/proc/nowhere/out"])
def test_out_is_checked_before_work_begins(run, monkeypatch, out):
    save("photos/a.png")
    Path("file.txt").write_text("a file")
    monkeypatch.setattr(recognise, "predictor", None)
    with pytest.raises(ValueError, match=f"^--out={out} cannot be written to .*: give another folder.$"):
        run(image=("photos",), out=out)
    monkeypatch.setattr(recognise, "predictor", lambda model: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(image=("photos",), out="new/er/out")
    assert not Path("new").exists() and Path("file.txt").read_text() == "a file"


def test_what_is_left_alone_and_what_means_nothing(run):
    save("holiday [2020]/a.png", "holiday [2020]/day/b.png")
    for name in ("notes.txt", "clip.mov", "._a.png"):
        Path("holiday [2020]", name).write_bytes(b"")
    Path("holiday [2020]", "gone.png").symlink_to("nowhere.png")
    code, lines, errors = run(image=("holiday [2020]",), out="")
    assert code == 0 and [line["path"] for line in lines] == ["holiday [2020]/a.png"]
    left = "1 .mov, 1 .txt, 1 broken link, 1 folder"
    assert errors == f"holiday [2020]: 1 pictures; left alone: {left}.\n"
    code, lines, _ = run(image=("holiday [[]2020]/**/*.png",), out="")
    assert code == 0 and [Path(line["path"]).name for line in lines] == ["a.png", "b.png"]
    code, lines, errors = run(image=("", "holiday [2020]/a.png", "holiday [2020]/gone.png"), video=("",), out="")
    assert code == 1 and len(lines) == 1
    assert errors.splitlines() == [
        "An empty name means no pictures: give a file, a folder or a pattern.",
        "holiday [2020]/gone.png: there is no such file or folder, only 1 broken link.",
        "An empty name means no films: give a file, a folder or a pattern.",
    ]


def write(path, frames, codec="libx264", stamps=None, **options):
    """A film, with time stamps in milliseconds where they are given, and a second of sound."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", **options) as file:
        stream, sound = file.add_stream(codec, rate=1000 if stamps else 25), None
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        stream.codec_context.gop_size = 8
        if str(path).endswith((".mp4", ".webm")):
            sound = file.add_stream("aac" if str(path).endswith(".mp4") else "libopus", rate=48000)
            file.mux(sound.encode(tone(sound)))
        for at, picture in enumerate(frames):
            noisy = np.clip(picture + rng.integers(0, 30, picture.shape), 0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(noisy, format="rgb24")
            if stamps:
                frame.pts, frame.time_base = stamps[at], Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        if sound is not None:
            file.mux(sound.encode(None))
    return str(path)


def tone(stream):
    stream.codec_context.open()
    size, kind = stream.codec_context.frame_size, stream.codec_context.format
    frame = av.AudioFrame(kind, stream.codec_context.layout, size)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.sample_rate, frame.pts = 48000, 0
    return frame


def table(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_browsers_film_keeps_its_times_its_sound_and_its_people(run):
    stamps = [round(n * 1000 / 30) + (0, 4, -3, 2, -4)[n % 5] for n in range(30)]
    path = write("a.webm", [shown(n) for n in range(30)], "libvpx", stamps)
    code, (line,), errors = run(video=(path,), out="out")
    assert code == 0 and errors == "a.webm: all 30 frames\n"
    assert line["annotated"] == "out/a_faces.mp4" and line["table"] == "out/a_faces.csv" and line["people"] == 1
    assert sorted(os.listdir("out")) == ["a_faces.csv", "a_faces.mp4"]
    with films.Film(line["annotated"]) as film:
        np.testing.assert_allclose([seconds for _, seconds, _ in film], np.array(stamps) / 1000, atol=1e-3)
        assert 29 < film.rate < 31
    with av.open(line["annotated"]) as file:
        assert [stream.codec_context.codec.canonical_name for stream in file.streams.audio] == ["opus"]
    rows = table(line["table"])
    assert len(rows) == 30 and {row["face"] for row in rows} == {"1"}
    np.testing.assert_allclose([float(row["seconds"]) for row in rows], np.array(stamps) / 1000, atol=1e-4)


def test_a_film_that_changes_its_size_loses_nothing(run):
    """Boxes of the second half are in the first half's pixels."""
    with av.open("a.webm", "w") as file:
        stream = file.add_stream("libvpx", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        second = av.CodecContext.create("libvpx", "w")
        second.width, second.height, second.pix_fmt, second.time_base = 192, 128, "yuv420p", Fraction(1, 25)
        for number in range(20):
            picture = shown() if number < 10 else shown(40, (128, 192))
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            coder = stream if number < 10 else second
            packets = [*(stream.encode() if number == 10 else ()), *coder.encode(frame)]
            for packet in [*packets, *(second.encode() if number == 19 else ())]:
                packet.stream = stream
                file.mux(packet)
    code, (line,), _ = run(video=("a.webm",), out="out")
    assert code == 0 and line["frames"] == line["with_faces"] == 20 and films.count(line["annotated"]) == 20
    boxes = [[float(row[side]) for side in ("left", "top", "right", "bottom")] for row in table(line["table"])]
    np.testing.assert_allclose(boxes, [[20, 16, 52, 48]] * 20, atol=2)


def test_a_damaged_film_keeps_what_can_be_read(run):
    whole = Path(write("a.mp4", [shown(n) for n in range(40)], options={"movflags": "faststart"})).read_bytes()
    Path("a.mp4").write_bytes(whole[: len(whole) * 95 // 100])
    write("b.mp4", [shown()] * 5)
    code, lines, errors = run(video=("a.mp4", "b.mp4"), out="out")
    assert code == 1 and "error" not in lines[1] and lines[1]["frames"] == 5
    assert lines[0]["error"].startswith("a.mp4: 1 pieces are damaged and left out")
    assert lines[0]["error"] in errors.splitlines() and 30 < lines[0]["frames"] < 40
    assert len(table(lines[0]["table"])) == films.count(lines[0]["annotated"]) == lines[0]["frames"]


def test_a_film_that_fills_the_disk_leaves_nothing_and_the_others_go_on(run, monkeypatch):
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        write(name, [shown()] * 5)
    add, added = films.Writer.add, []

    def fail(writer, *args):
        added.append(writer.path.name)
        if added[-3:] == ["b_faces.mp4"] * 3:
            raise OSError(errno.ENOSPC, "No space left on device", str(writer.path))
        add(writer, *args)

    monkeypatch.setattr(films.Writer, "add", fail)
    code, lines, errors = run(video=("*.mp4",), out="out")
    assert code == 1 and [line.get("error") is None for line in lines] == [True, False, True]
    assert lines[1]["error"] == "b.mp4: its result cannot be written (the disk is full)." in errors.splitlines()
    assert sorted(os.listdir("out")) == ["a_faces.csv", "a_faces.mp4", "c_faces.csv", "c_faces.mp4"]


def test_a_redrawn_face_that_cannot_be_written_is_one_line(run, monkeypatch, capsys):
    save("photos/a.png", "photos/b.png", "photos/c.png")
    made = kinds.nearest_of(np.zeros((2, 8, 8, 1)), {"anger": 1.0, "fear": 2.0})
    redrawn = regenerate.Redrawn((1, 2, 3, 4), np.zeros((8, 8, 1)), made)
    monkeypatch.setattr(regenerate, "load", lambda name: None)
    monkeypatch.setattr(regenerate, "redraw", lambda *_: [redrawn])
    monkeypatch.setattr(regenerate, "draw", lambda face: None)

    def fail(figure, path):
        if "b_" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(regenerate.figures, "save", fail)
    assert regenerate.run(regenerate.Settings(image=("photos",), out="out")) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("redrawn") for line in lines] == ["out/a_regenerated.png", None, "out/c_regenerated.png"]
    assert lines[1]["error"] == "photos/b.png: its result cannot be written (the disk is full)."


def test_gifs_and_flv_are_films(run):
    write("a.flv", [shown()] * 5, "flv")
    frames = [Image.fromarray(shown(n)) for n in range(4)]
    frames[0].save("a.gif", save_all=True, append_images=frames[1:], duration=100)
    code, lines, _ = run(video=(".",), image=("a.gif",), out="out")
    assert code == 0 and [line["path"] for line in lines] == ["a.gif", "a.flv", "a.gif"]
    assert [line.get("frames") for line in lines] == [None, 5, 4] and len(lines[0]["faces"]) == 1
    assert sorted(os.listdir("out")) == ["a_faces.csv", "a_faces.jpg", "a_faces.mp4", "a_faces_2.csv", "a_faces_2.mp4"]


def test_a_camera_is_filmed_until_ctrl_c(run, monkeypatch):
    source = "color=white:size=32x32:rate=25,pad=96:64:20:16:black[out{}]"
    monkeypatch.setattr(film_sources, "CAMERAS", {"linux": ("lavfi", source)})
    drawn, draw = [], pictures.draw

    def stop(*args):
        drawn.append(1)
        if len(drawn) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return draw(*args)

    monkeypatch.setattr(pictures, "draw", stop)
    before = signal.getsignal(signal.SIGINT)
    code, (line,), errors = run(video=("0",), out="out")
    assert code == 0 and line["path"] == "0" and line["frames"] == line["with_faces"] == 5
    assert errors == "0: all 5 frames\n" and films.count("out/0_faces.mp4") == len(table("out/0_faces.csv")) == 5
    assert signal.getsignal(signal.SIGINT) is before


def test_a_camera_that_is_not_there(run):
    write("b.mp4", [shown()] * 3)
    code, lines, errors = run(video=("rtsp://anna:secret@127.0.0.1:9/live", "b.mp4"), out="out")
    by_path = {line["path"]: line for line in lines}
    assert code == 1 and [*by_path] == ["b.mp4", "rtsp://127.0.0.1:9/live"] and "secret" not in errors
    assert by_path["rtsp://127.0.0.1:9/live"]["error"].startswith("rtsp://127.0.0.1:9/live: cannot be opened")
    assert sorted(os.listdir("out")) == ["b_faces.csv", "b_faces.mp4"]

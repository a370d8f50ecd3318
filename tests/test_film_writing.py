"""Sound goes over from film to film, in step with the picture."""

from fractions import Fraction

import av
import numpy as np
import pytest

from fer_tf import films

RATE = 32000


def heard(path):
    """(seconds,) float: when the sound is loud, to a hundredth; and the codec's name."""
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        name, loud = stream.codec_context.codec.canonical_name, []
        for frame in file.decode(stream):
            values = frame.to_ndarray().astype(float)
            values = np.abs(values / 32768 if frame.format.name.startswith("s16") else values).max(axis=0)
            values = values[:: frame.layout.nb_channels] if values.size > frame.samples else values
            loud += (float(frame.pts * frame.time_base) + np.flatnonzero(values > 0.2) / frame.sample_rate).tolist()
    return np.array(loud), name


def spoken(path, codec, later=0.0, container=None, seconds=3):
    """A film of three seconds at 25 frames a second, silent but for a tone from 1.5 to 2; its picture begins later."""
    times = np.arange(seconds * RATE) / RATE
    tone = np.where((times >= 1.5) & (times < 2), 0.8 * np.sin(2 * np.pi * 400 * times), 0).astype(np.float32)
    with av.open(str(path), "w", format=container) as file:
        video, sound = file.add_stream("libx264", rate=25), file.add_stream(codec, rate=RATE, layout="mono")
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound.codec_context.open()
        kind, size = sound.codec_context.format, sound.codec_context.frame_size
        resampler = av.AudioResampler(kind, "mono", RATE, frame_size=size or 1024)
        frame = av.AudioFrame.from_ndarray(tone[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        packets = [p for part in [*resampler.resample(frame), *resampler.resample(None)] for p in sound.encode(part)]
        packets += sound.encode(None)
        for number in range(round(25 * (seconds - later))):
            shown = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number, np.uint8), format="rgb24")
            shown.pts, shown.time_base = number + round(25 * later), Fraction(1, 25)
            packets += video.encode(shown)
        packets += video.encode()
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            file.mux(packet)
    return path


def copied(path, out):
    """Its frames into another film, with the sound; the Writer."""
    with films.Film(path) as film, films.Writer(out, film.rate, lambda: (film.path, film.start)) as writer:
        for _, seconds, picture in film:
            writer.add(picture, seconds)
    return writer


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".avi"])
@pytest.mark.parametrize(("source", "codec"), [("a.mp4", "aac"), ("a.mkv", "pcm_s16le"), ("a.ts", "mp2")])
def test_sound_goes_over_in_step(tmp_path, source, codec, ending):
    """AAC as it is, others as AAC."""
    path = spoken(tmp_path / source, codec)
    with films.Film(path) as film:
        assert len(list(film)) == 75 and not film.damage
    writer = copied(path, tmp_path / f"b{ending}")
    loud, name = heard(tmp_path / f"b{ending}")
    expected, _ = heard(path)
    with films.Film(path) as film:
        _ = next(iter(film))
        expected = expected - film.start
    assert name == "aac" and writer.silent == ""
    assert abs(loud.min() - expected.min()) < 0.08 and abs(loud.max() - expected.max()) < 0.08
    assert 1.4 < loud.min() < 1.6 and 1.9 < loud.max() < 2.1
    with films.Film(tmp_path / f"b{ending}") as film:
        assert len(list(film)) == 75 and not film.damage


def packets(path):
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(file.streams.audio[0]) if packet.size]


def test_what_is_copied_keeps_its_bits(tmp_path):
    copied(spoken(tmp_path / "a.mp4", "aac"), tmp_path / "b.mp4")
    original, copy = packets(tmp_path / "a.mp4"), packets(tmp_path / "b.mp4")
    assert len(copy) >= len(original) - 2 and original[-len(copy) :] == copy


@pytest.mark.parametrize("codec", ["pcm_s16le", "aac"])
def test_sound_before_the_first_frame_is_left_out(tmp_path, codec):
    copied(spoken(tmp_path / "a.mkv", codec, later=1.0), tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as file:
        assert -0.05 < next(p.pts * p.time_base for p in file.demux(audio=0)) < 0.05
    loud, _ = heard(tmp_path / "b.mp4")
    assert 0.4 < loud.min() < 0.6 and 0.9 < loud.max() < 1.1


def test_a_film_without_sound_and_one_with_broken_sound(tmp_path):
    with films.Writer(tmp_path / "mute.mp4") as writer:
        for number in range(10):
            writer.add(np.full((48, 64, 3), number, np.uint8))
    assert copied(tmp_path / "mute.mp4", tmp_path / "b.mp4").silent == ""
    path = spoken(tmp_path / "a.mkv", "mp2")
    data = bytearray(path.read_bytes())
    for packet in sorted(packets(path), key=len)[-9:]:
        at = data.index(packet)
        data[at : at + 9] = bytes(9)
    path.write_bytes(data)
    writer = copied(path, tmp_path / "c.mp4")
    assert writer.silent.startswith("pieces of its sound are damaged (") and len(packets(tmp_path / "c.mp4")) > 50
    with films.Film(tmp_path / "c.mp4") as film:
        assert len(list(film)) == 75 and not film.damage
    absent = films.Writer(tmp_path / "d.mp4", 25, (str(tmp_path / "nowhere.mp4"), 0.0))
    with absent as writer:
        writer.add(np.zeros((48, 64, 3), np.uint8), 0.0)
    assert writer.silent == "its sound cannot be copied (No such file or directory)"
    assert films.count(tmp_path / "d.mp4") == 1

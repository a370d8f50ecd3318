"""A thousand damaged files through every adapter: each is read, or named in one sentence; nothing else happens."""

import contextlib
import functools
import importlib
import io
import os
import pkgutil
import struct
import tempfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from fer_tf import datasets, films, pictures, pipeline, renderings
from fer_tf.datasets import prepared, rendered

NAMES = sorted(m.name for m in pkgutil.iter_modules(datasets.__path__))
EACH = -(-1000 // len(NAMES))
LIST = "path,expression,subject\n"


def picture(size=12, kind="png"):
    """A small picture's bytes."""
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(size).integers(0, 256, (size, size, 3), np.uint8)).save(stream, kind)
    return stream.getvalue()


def bomb(side=60_000):
    """A PNG of some kilobytes that says it is 60,000 pixels wide and high."""
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(10_000))), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


@functools.cache
def reel():
    """A film of four small frames."""
    with tempfile.TemporaryDirectory() as folder:
        with films.Writer(f"{folder}/film.avi") as film:
            for i in range(4):
                film.add(np.full((16, 16, 3), 60 * i, np.uint8))
        return (Path(folder) / "film.avi").read_bytes()


@functools.cache
def stored(name):
    """A file of two faces, of `prepare` or of `render_faces`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "faces.h5"
        if name == "prepared":
            texts = {column: np.array(["", ""], object) for column in prepared.TEXTS}
            made = {"dataset": "folder", "template": "gcnet", "options": {}, "frames": "all", "records": 2}
            part = {"image": np.zeros((2, 8, 8, 1), np.uint8), "frame": np.zeros(2, np.int32), **texts}
            prepared.write(path, [part], made)
        else:
            with h5py.File(rendered.__file__.replace("rendered.py", "rendered.h5")) as a, h5py.File(path, "w") as b:
                b.attrs.update(a.attrs)
                for column in ("image", *renderings.COLUMNS):
                    data = a[column][:2]
                    b.create_dataset(column, data=data, dtype=a[column].dtype)
                if name == "rendered2":
                    b["number"], b["setting"] = np.zeros(2, np.int32), np.zeros(2, np.uint8)
        return path.read_bytes()


def tree(name, count=6):
    """{relative path: bytes} of a small data set."""
    png, pixels = picture(), " ".join(["7"] * 48 * 48)
    if name == "ck_plus":
        found = {f"cohn-kanade-images/S{i:03d}/001/S{i:03d}_001_{f:08d}.png": png for i in range(count) for f in (1, 2)}
        return found | {f"Emotion/S{i:03d}/001/S{i:03d}_001_2_emotion.txt": b"  3.0e+00\n" for i in range(count)}
    if name == "mmi":
        told = b'<?xml version="1.0"?><ActionUnitCoding><Metatag Name="Emotion" Value="3"/></ActionUnitCoding>'
        found = {f"Sessions/{i}/S{i:03d}-001.avi": reel() for i in range(count)}
        return found | {f"Sessions/{i}/S{i:03d}-001.xml": told for i in range(count)}
    if name in ("prepared", "rendered", "rendered2"):
        return {f"{'faces' if name == 'prepared' else name}.h5": stored(name)}
    listed = {f"img/{i}.png": png for i in range(count)}
    rows = "".join(f"img/{i}.png,happy,p{i}\n" for i in range(count))
    return {
        "affectnet": {f"train/00{i}/a.jpg": png for i in range(count)},
        "caer_s": {f"{p}/Anger/{i}.png": png for p in ("train", "test") for i in range(count)},
        "expw": {f"origin/{i}.jpg": png for i in range(count)}
        | {"label.lst": "".join(f"{i}.jpg 0 1 1 9 9 5.5 {i}\n" for i in range(count)).encode()},
        "kdef": {f"AF0{i}/AF0{i}ANS.JPG": png for i in range(1, count)},
        "rafd": {f"Rafd090_0{i}_Caucasian_male_sad_left.jpg": png for i in range(count)},
        "afew": {f"{p}_AFEW/Angry/{i}/{i}_0.png": png for p in ("Train", "Val") for i in range(count)},
        "bu3dfe": {f"F{i:04d}/F{i:04d}_AN03WH_F2D.bmp": picture(kind="bmp") for i in range(count)},
        "bu4dfe": {f"F{i:03d}/Angry/{f:03d}.jpg": picture(kind="jpeg") for i in range(1, count) for f in (0, 1)},
        "casia_webface": {f"{i:07d}/001.jpg": png for i in range(count)},
        "celeba": {f"img_celeba/{i:06d}.jpg": png for i in range(count)} | {"identity_CelebA.txt": b"000001.jpg 2\n"},
        "emotionet": {**listed, "labels.csv": (LIST + rows).encode()},
        "fer2013": {"fer2013.csv": f"emotion,pixels,Usage\n3,{pixels},Training\n".encode()},
        "folder": {**listed, "labels.csv": (LIST + rows).encode()},
        "jaffe": {f"KA.AN{i}.{i}.tiff": picture(kind="tiff") for i in range(count)},
        "lfw": {f"Ann_B/Ann_B_{i:04d}.jpg": png for i in range(count)},
        "oulu_casia": {f"VL/Strong/P{i:03d}/Anger/{f:03d}.jpeg": png for i in range(count) for f in (0, 1)},
        "raf_db": {f"Image/aligned/train_{i}_aligned.jpg": png for i in range(count)}
        | {"EmoLabel/list_patition_label.txt": "".join(f"train_{i}.jpg 5\n" for i in range(count)).encode()},
        "sfew": {f"{s}/Angry/Film_{i}.png": png for s in ("Set1", "Set2") for i in range(count)},
    }.get(name)  # fmt: skip


def damaged(path, data, rng, others):
    """Writes the file with one kind of damage, or beside it something that does not belong there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = int(rng.integers(10))
    if kind == 6:  # a link in a circle, in the place of the file
        os.symlink(path.name, path)
    elif kind == 0:
        data = data[: int(rng.integers(len(data)))]
    elif kind == 1:
        data = b""
    elif kind == 2:
        data = rng.bytes(int(rng.integers(1, 2000)))
    elif kind == 3:
        data = bomb()
    elif kind == 4:
        data = b"<html>not a picture</html>"
    elif kind == 5:
        place = int(rng.integers(len(data)))
        data = data[:place] + rng.bytes(8) + data[place + 8 :]
    elif kind == 7:  # folders in a circle, beside it
        with contextlib.suppress(FileExistsError):
            os.symlink("..", path.parent / "again")
    elif kind == 8:  # other names
        (path.parent / f"Süß é 名前 {int(rng.integers(100))} {path.name}").write_bytes(data)
        with open(os.fsencode(path.parent) + b"/\xff\xfe " + os.fsencode(path.name), "wb") as odd:  # no UTF-8 at all
            odd.write(data)
    else:  # another picture's bytes
        data = others[int(rng.integers(len(others)))]
    if kind != 6:
        path.write_bytes(data)


@pytest.mark.parametrize("name", NAMES)
def test_damage(tmp_path, name):
    """Small trees, each with some files damaged, until an adapter has met its share of the thousand."""
    rng, module = np.random.default_rng(len(name)), importlib.import_module(f"fer_tf.datasets.{name}")
    met = read = refused = turn = 0
    if tree(name) is None:
        pytest.skip(f"there is no tree of {name} here: its own tests damage it")
    while met < EACH:
        root = tmp_path / str(turn)
        files = tree(name)
        hurt = rng.choice(len(files), min(len(files), int(rng.integers(1, 5))), replace=False)
        for i, (relative, data) in enumerate(files.items()):
            path = root / relative
            if i in hurt:
                damaged(path, data, rng, list(files.values()))
                met += 1
            elif not path.is_symlink():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        before = sorted(p for p in root.rglob("*"))
        try:
            found = module.records(root)
        except (ValueError, FileNotFoundError) as error:
            assert str(root) in str(error), error  # it says where
            refused += 1
            found = []
        for record in found:
            try:
                image = pipeline.read_image(record)
                assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
                read += 1
            except ValueError as error:
                assert record.name in str(error) and "\n" not in str(error), error
                refused += 1
        assert sorted(p for p in root.rglob("*")) == before  # nothing is written
        turn += 1
    assert refused and read


def test_a_decompression_bomb_is_refused(tmp_path):
    """In one sentence, before its pixels are there."""
    for side in (60_000, 17_000):
        (tmp_path / "bomb.png").write_bytes(bomb(side))
        with pytest.raises(ValueError, match=r"bomb.png: .*(bomb|pixels)"):
            pictures.load_image(tmp_path / "bomb.png")

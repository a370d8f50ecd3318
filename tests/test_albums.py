"""fer_tf.albums: what a name means, and what is said of the rest."""

from collections import Counter

import pytest
from PIL import Image

from fer_tf import albums, films, pictures

NAMES = (
    "a.JPG", "b.jfif", "c.jpe", "d.jp2", "e.avif", "f.heic", "g.mov", "h.mov", "notes.txt", "README", "._a.JPG",
    ".hidden.png", "Thumbs.db",
)  # fmt: skip


@pytest.fixture
def holiday(tmp_path, monkeypatch):
    """A folder of many kinds, with broken links and folders inside; no pillow-heif."""
    monkeypatch.setattr(pictures, "endings", lambda: (".jpg", ".jfif", ".jpe", ".jp2", ".avif", ".png"))
    folder = tmp_path / "holiday [2020]"
    for inner in (folder, folder / "day 1", folder / "day 1" / "night"):
        inner.mkdir()
        for name in NAMES:
            (inner / name).write_bytes(b"")
    (folder / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (folder / "self.jpg").symlink_to("self.jpg")
    (folder / "link.png").symlink_to("a.JPG")
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_folder_says_what_it_left_alone(holiday):
    album = albums.folder(holiday)
    assert [path.name for path in album.files] == ["a.JPG", "b.jfif", "c.jpe", "d.jp2", "e.avif", "link.png"]
    assert album.left == Counter(
        {".mov": 2, "broken link": 2, ".heic": 1, ".txt": 1, ".db": 1, "file without an ending": 1, "folder": 1}
    )
    assert album.left_alone() == (
        '2 .mov, 2 broken links, 1 .db, 1 .heic (pip install "fer-tf[heic]" reads them), 1 .txt, '
        "1 file without an ending, 1 folder"
    )
    assert [path.name for path in albums.folder(holiday, films.ENDINGS).files] == ["g.mov", "h.mov"]
    assert albums.folder(holiday / "day 1" / "night", (".png",)).left[".jpg"] == 1


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("holiday [2020]", 6),
        ("holiday [2020]/*.jfif", 1),
        ("holiday [2020]/**/*.jfif", 3),
        ("holiday [2020]/**/*.JPG", 3),
        ("holiday*/day*/*.txt", 1),
        ("holiday [2020]/**", 16),
        ("**", 16),
        ("**/*", 16),
        ("**/n*/*", 5),
        ("holiday [2020]/notes.txt", 1),
        ("holiday [2020]/._a.JPG", 1),
        ("holiday [2020]/[ab].*", 2),
        ("holiday [2019]/*.jfif", 0),
        ("holiday [2020]/nothing.jpg", 0),
        ("holiday [2020]/gone.jpg", 0),
    ],
)
def test_what_a_name_means(holiday, name, count):
    """A pattern that names an ending means such files; one that names none means pictures. From elsewhere as well."""
    files = albums.meant(name, pictures.endings()).files
    assert len(files) == count and all(path.is_file() for path in files)
    assert len(albums.meant(str(holiday.parent / name), pictures.endings()).files) == count


def test_home_and_broken_links_of_patterns(holiday, monkeypatch):
    monkeypatch.setenv("HOME", str(holiday))
    monkeypatch.chdir("/")
    assert len(albums.meant("~", pictures.endings()).files) == 6
    assert albums.meant("~/*.jfif", ()).files == [holiday / "b.jfif"]
    album = albums.meant("~/*.jpg", ())
    assert album.files == [] and album.left_alone() == "2 broken links"


def test_pictures_of_many_endings_are_read(tmp_path):
    """What this Pillow writes and reads; .heic by a stand-in for pillow-heif."""
    for ending, kind in ((".jfif", "JPEG"), (".jpe", "JPEG"), (".jp2", "JPEG2000"), (".avif", "AVIF")):
        if ending in pictures.endings() and kind in Image.SAVE:
            Image.new("RGB", (16, 8), (200, 40, 30)).save(tmp_path / f"a{ending}", kind)
            picture = pictures.load_image(tmp_path / f"a{ending}")
            assert picture.shape == (8, 16, 3) and abs(int(picture[4, 8, 0]) - 200) < 6
    assert {".jfif", ".jpe", ".jp2"} <= {*pictures.endings()}
    files = [path.suffix for path in albums.folder(tmp_path).files]
    assert files == sorted(path.suffix for path in tmp_path.iterdir()) and len(files) >= 3

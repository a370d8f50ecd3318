"""fer_tf.archives: what is unpacked, what is refused, and that nothing is left outside or half-written."""

import io
import stat
import tarfile
import zipfile

import pytest

from fer_tf import archives


def packed(path, members):
    """Writes an archive of {name: bytes, or a link's target}."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in members.items():
                member = zipfile.ZipInfo(name)
                if isinstance(data, str):
                    member.external_attr, data = (stat.S_IFLNK | 0o777) << 16, data.encode()
                file.writestr(member, data, zipfile.ZIP_DEFLATED)
        return path
    with tarfile.open(path, "w:gz") as file:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(data, str):
                member.type, member.linkname, data = tarfile.SYMTYPE, data, b""
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return path


def there(folder):
    """Everything below a folder but the marks, as relative names."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name[0] != ".")


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_names_of_every_kind_come_out(tmp_path, ending):
    members = {"a/b.txt": b"one", "Anna Süß/лицо 1.png": b"two"}
    into = tmp_path / "out"
    assert archives.unpack_all(packed(tmp_path / f"x{ending}", members), into) == into
    assert there(into) == sorted(members) and (into / "a/b.txt").read_bytes() == b"one"
    (into / "a/b.txt").write_bytes(b"changed")
    archives.unpack_all(tmp_path, into)  # once only
    assert (into / "a/b.txt").read_bytes() == b"changed"


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt", "C:/evil.txt"])
def test_a_name_never_leads_out(tmp_path, ending, name):
    outer = tmp_path / "outer"
    outer.mkdir()
    archive = packed(tmp_path / f"x{ending}", {"good.txt": b"1", name: b"2"})
    with pytest.raises(ValueError, match="leads out of its folder"):
        archives.unpack(archive, outer / "in")
    assert there(tmp_path) == [archive.name] and not list((outer / "in").iterdir())


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_links_are_refused(tmp_path, ending):
    archive = packed(tmp_path / f"x{ending}", {"good.txt": b"1", "link": "/etc"})
    with pytest.raises(ValueError, match="is a link or no file"):
        archives.unpack(archive, tmp_path / "in")
    assert not list((tmp_path / "in").iterdir())


def test_devices_are_refused(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as file:
        member = tarfile.TarInfo("null")
        member.type, member.devmajor, member.devminor = tarfile.CHRTYPE, 1, 3
        file.addfile(member)
    with pytest.raises(ValueError, match="is a link or no file"):
        archives.unpack(tmp_path / "x.tar", tmp_path / "in")


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_bombs_are_refused(tmp_path, ending):
    """120 MB of zeros in some 120 kB; the number that the archive gives is not trusted."""
    archive = packed(tmp_path / f"x{ending}", {"zeros": bytes(120 * 2**20)})
    assert archive.stat().st_size < 2**18
    with pytest.raises(ValueError, match="far more than its size"):
        archives.unpack(archive, tmp_path / "in")
    assert not list((tmp_path / "in").iterdir())


def test_a_header_that_fills_the_memory_is_refused(tmp_path):
    """A name of 200 MB, packed in some 200 kB."""
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as file:
        file.addfile(tarfile.TarInfo("a" * (200 * 2**20)))
    assert (tmp_path / "x.tar.gz").stat().st_size < 2**20
    with pytest.raises(ValueError, match=r"x.tar.gz: a header of 2\d+ bytes: the archive is refused") as error:
        archives.unpack(tmp_path / "x.tar.gz", tmp_path / "in")
    assert len(str(error.value)) < 500


def test_another_archive_of_the_same_name_is_unpacked(tmp_path):
    for text in (b"one", b"other"):
        packed(tmp_path / "x.zip", {"a.txt": text})
        archives.unpack_all(tmp_path, tmp_path / "out")
        assert (tmp_path / "out/a.txt").read_bytes() == text


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_damage_is_one_sentence(tmp_path, ending):
    whole = packed(tmp_path / f"x{ending}", {f"{i}.bin": bytes(range(256)) * 64 for i in range(8)}).read_bytes()
    for number, cut in enumerate(
        (b"", b"no archive", whole[: len(whole) // 2], whole[:20] + b"\xff" * 40 + whole[60:])
    ):
        bad = tmp_path / f"bad{number}{ending}"
        bad.write_bytes(cut)
        with pytest.raises(ValueError, match=f"bad{number}{ending} cannot be unpacked"):
            archives.unpack(bad, tmp_path / "in")
        assert not list((tmp_path / "in").iterdir())


def test_nothing_to_unpack(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no archives"):
        archives.unpack_all(tmp_path, tmp_path / "in")
    assert archives.inside(tmp_path / "nowhere") == []


def test_archives_of_other_programs_are_named_with_their_command(tmp_path, capsys):
    """Those in pieces once, by the first piece; beside others they are told and left."""
    for name in ("img_celeba.7z.002", "img_celeba.7z.001", "SFEW.part2.rar", "SFEW.part1.rar", "my faces.7z", "a.rar",
                 "origin.z01", "readme.txt"):  # fmt: skip
        (tmp_path / name).write_bytes(b"")
    assert archives.foreign(tmp_path, "out") == [
        f"unrar x {tmp_path}/SFEW.part1.rar out/", f"unrar x {tmp_path}/a.rar out/",
        f"7z x -oout {tmp_path}/img_celeba.7z.001", f"7z x -oout '{tmp_path}/my faces.7z'",
        f"7z x -oout {tmp_path}/origin.z01",
    ]  # fmt: skip
    assert archives.foreign(tmp_path / "a.rar") == [f"unrar x {tmp_path}/a.rar <folder>/"]
    with pytest.raises(ValueError, match="has archives that are not unpacked here: unrar x .*SFEW.part1.rar"):
        archives.unpack_all(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    packed(tmp_path / "x.zip", {"a.txt": b"one"})
    archives.unpack_all(tmp_path, tmp_path / "out")
    assert there(tmp_path / "out") == ["a.txt"] and "left packed" in capsys.readouterr().err

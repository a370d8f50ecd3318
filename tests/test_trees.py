"""fer_tf.trees: order, loops, odd names, words for expressions."""

import os

import pytest

from fer_tf import trees


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


def test_natural_order_and_what_is_left_out(tmp_path):
    for name in ("S10", "S9", "s1 x", "Пример", ".hidden"):
        touch(tmp_path / name / "b.JPG")
    for name in ("a10.png", "a9.png", "a.txt", ".b.png"):
        touch(tmp_path / "S9" / name)
    assert [p.name for p in trees.folders(tmp_path)] == ["S9", "S10", "s1 x", "Пример"]
    assert [p.name for p in trees.files(tmp_path / "S9")] == ["a9.png", "a10.png", "b.JPG"]
    assert [p.name for p in trees.files(tmp_path / "S9", (".txt",))] == ["a.txt"]
    assert [p.name for p in trees.walk(tmp_path)] == ["a9.png", "a10.png", "b.JPG", "b.JPG", "b.JPG", "b.JPG"]
    assert trees.folders(tmp_path / "nowhere") == trees.files(tmp_path / "nowhere") == []


def test_links_that_lead_back_end(tmp_path):
    touch(tmp_path / "a" / "b" / "x.png")
    os.symlink(tmp_path, tmp_path / "a" / "b" / "back")
    os.symlink(tmp_path / "a" / "b", tmp_path / "again")
    os.symlink(tmp_path / "gone.png", tmp_path / "a" / "dead.png")
    assert len(list(trees.walk(tmp_path))) == 1


def test_root_is_found_one_level_down_or_named(tmp_path):
    (tmp_path / "CK+" / "images").mkdir(parents=True)
    assert trees.root_of(tmp_path, "TREE", "images") == trees.root_of(tmp_path / "CK+", "TREE", "images")
    for root in (None, tmp_path / "none", tmp_path / "CK+" / "images"):
        with pytest.raises(FileNotFoundError, match="(?s)is not this data set.*TREE"):
            trees.root_of(root, "TREE", "images")


def test_words():
    for word, name in (("Angry", "anger"), ("HA", "happiness"), (" sad-ness ", "sadness"), ("Surprised", "surprise")):
        assert trees.label(word, trees.WORDS, "x") == name
    with pytest.raises(ValueError, match="here.png: 'bored' is no expression"):
        trees.label("bored", trees.WORDS, "here.png")


def test_a_link_to_itself_hides_nothing(tmp_path):
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "a").mkdir()
    (tmp_path / "b.png").write_bytes(b"")
    assert trees.files(tmp_path) == [tmp_path / "b.png"] and trees.folders(tmp_path) == [tmp_path / "a"]

"""fer_tf.datasets.fer2013 on fake files: counts, labels, every refusal, and copies of training pictures."""

import numpy as np
import pytest
from PIL import Image

from fer_tf.datasets import fer2013
from fer_tf.records import EXPRESSIONS

COUNTS = {"train": 16, "public_test": 5, "private_test": 3}


def write(root, split: str, **arrays) -> None:
    """One of the three files; image and label unless given."""
    rng = np.random.default_rng(len(split))
    count = COUNTS[split]
    image = rng.integers(0, 256, (count, 48, 48), dtype=np.uint8)
    np.savez(
        root / f"fer2013_{split}.npz", **({"image": image, "label": np.arange(count, dtype=np.uint8) % 8} | arrays)
    )


@pytest.fixture
def tree(tmp_path):
    """A folder of three small files."""
    for split in COUNTS:
        write(tmp_path, split)
    return tmp_path


def test_counts_labels_and_pictures(tree):
    found = fer2013.records(tree)
    assert [r.split for r in found] == [split for split, count in COUNTS.items() for _ in range(count)]
    assert [r.expression for r in found[:16]] == [*EXPRESSIONS, *EXPRESSIONS]
    with np.load(tree / "fer2013_public_test.npz") as pack:
        np.testing.assert_array_equal([r.image for r in found[16:21]], pack["image"])
    assert all(r.subject is None and r.info["framed"] and r.domain == "web" for r in found)
    assert [(r.sequence, r.frame) for r in found[21:]] == [("private_test", i) for i in range(3)]
    assert len({r.key() for r in found}) == 24


def test_only_the_splits_asked_for(tree):
    (tree / "fer2013_train.npz").unlink()
    found = fer2013.records(str(tree), splits=("private_test", "public_test"))
    assert [r.split for r in found] == ["private_test"] * 3 + ["public_test"] * 5
    with pytest.raises(ValueError, match="no split 'test': use train, public_test, private_test"):
        fer2013.records(tree, splits=("test",))


def test_a_missing_file_shows_the_tree(tree):
    (tree / "fer2013_public_test.npz").unlink()
    for root, name in ((tree, f"{tree}/fer2013_public_test.npz"), (None, "fer2013_train.npz"), ("no", "no/fer2013_tr")):
        with pytest.raises(FileNotFoundError) as error:
            fer2013.records(root)
        text = str(error.value)
        assert text.startswith(name) and "--data_dir" in text
        assert all(f"fer2013_{split}.npz" in text.split("\n", 1)[1] for split in COUNTS)


@pytest.mark.parametrize(
    "arrays, says",
    [
        ({"label": np.full(16, 8, np.uint8)}, "16 labels uint8 from 0 to 8"),
        ({"label": np.zeros(15, np.uint8)}, "15 labels uint8 from 0 to 0"),
        ({"image": np.zeros((16, 64, 64), np.uint8)}, r"image uint8 \(16, 64, 64\)"),
        ({"image": np.zeros((16, 2304), np.uint8)}, r"image uint8 \(16, 2304\)"),
        ({"image": np.zeros((16, 48, 48), np.float32)}, r"image float32 \(16, 48, 48\)"),
        ({"label": np.full(16, -1, np.int64)}, "16 labels int64 from -1 to 0"),
    ],
)
def test_other_arrays_are_refused_by_file(tree, arrays, says):
    write(tree, "train", **arrays)
    with pytest.raises(ValueError, match=f"fer2013_train.npz: .*{says} .* labels 0 to 7 in the order anger, "):
        fer2013.records(tree)


def test_a_file_without_the_two_arrays_says_what_it_holds(tree):
    np.savez(tree / "fer2013_train.npz", X=np.zeros(3), y=np.zeros(3))
    with pytest.raises(ValueError, match="fer2013_train.npz holds X, y: expected the arrays image and label"):
        fer2013.records(tree)


def faces(count: int, seed: int) -> np.ndarray:
    """(N, 48, 48) uint8: smooth blobs with grain, as different as photographs are."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 6, 6), dtype=np.uint8)
    smooth = [np.asarray(Image.fromarray(c).resize((48, 48), Image.Resampling.BICUBIC), np.int64) for c in coarse]
    return np.clip(smooth + rng.integers(-12, 13, (count, 48, 48)), 0, 255).astype(np.uint8)


def resized_copy(image: np.ndarray) -> np.ndarray:
    """The picture after a 224-pixel copy and back."""
    large = Image.fromarray(image).resize((224, 224), Image.Resampling.BILINEAR)
    return np.asarray(large.resize((48, 48), Image.Resampling.BOX))


def test_resized_copies_are_found_and_nothing_else():
    training, strangers = faces(700, seed=0), faces(600, seed=1)  # more than one part of 256
    places = np.array([0, 3, 255, 256, 300, 599])
    test = strangers.copy()
    for place, source in zip(places, (699, 0, 5, 6, 411, 412), strict=True):
        test[place] = resized_copy(training[source])
        assert 1 < np.abs(test[place].astype(int) - training[source]).mean() < 6  # no hash would find it
    np.testing.assert_array_equal(np.flatnonzero(fer2013.duplicates_of(test, training)), places)


def test_the_tolerance_is_in_grey_levels_of_the_mean_of_nine_pixels():
    training = faces(50, seed=0) // 2 + 40
    brighter = training[:4] + np.array([1, 2, 3, 4], np.uint8)[:, None, None]
    assert fer2013.duplicates_of(brighter, training).tolist() == [True, True, False, False]
    assert fer2013.duplicates_of(brighter, training, tolerance=3.5).tolist() == [True, True, True, False]
    grain = np.tile(np.array([[8, -8, 0], [-8, 8, 0], [0, 0, 0]]), (16, 16))  # every mean stays
    assert fer2013.duplicates_of((training[:1] + grain).astype(np.uint8), training, tolerance=0.0).all()


def test_mirrored_and_shifted_pictures_are_no_copies_and_flat_ones_are():
    training = np.concatenate([faces(20, seed=0), np.zeros((1, 48, 48), np.uint8)])
    test = np.stack([training[0, :, ::-1], np.roll(training[1], 6, 1), training[20], training[2]])
    assert fer2013.duplicates_of(test, training).tolist() == [False, False, True, True]
    assert fer2013.duplicates_of(test[:0], training).shape == (0,)


@pytest.mark.parametrize("shapes", [((2, 48, 48), (3, 48, 45)), ((2, 48, 48), (0, 48, 48)), ((2, 47, 48), (3, 47, 48)),
                                    ((48, 48), (3, 48, 48)), ((2, 48, 48, 1), (3, 48, 48, 1))])  # fmt: skip
def test_pictures_that_cannot_be_compared(shapes):
    test, training = (np.zeros(shape, np.uint8) for shape in shapes)
    with pytest.raises(ValueError, match="cannot be compared"):
        fer2013.duplicates_of(test, training)


def rows(count, usage="Training"):
    pixels = " ".join(str(i % 256) for i in range(48 * 48))
    return "".join(f'{i % 7},{usage},"{pixels}"\n' for i in range(count))


@pytest.mark.parametrize(
    "name, head", [("fer2013.csv", "emotion,Usage,pixels"), ("icml_face_data.csv", "emotion, Usage, pixels")]
)
def test_the_owners_csv(tmp_path, name, head):
    (tmp_path / name).write_text(f"{head}\n{rows(8)}{rows(1, 'PrivateTest')}{rows(2, 'PublicTest')}")
    found = fer2013.records(tmp_path)
    assert [r.split for r in found] == ["train"] * 8 + ["public_test"] * 2 + ["private_test"]
    assert [r.expression for r in found[:7]] == [*fer2013.NUMBERS]
    assert found[0].image.shape == (48, 48) and found[0].image[0, 5] == 5 and found[0].image.dtype == np.uint8
    assert [r.split for r in fer2013.records(tmp_path, splits=("private_test",))] == ["private_test"]
    assert len({r.key() for r in found}) == 11


@pytest.mark.parametrize(
    "line, sentence",
    [("7,Training,1 2", "line 2: emotion '7'"), ("1,Nothing,1 2", "Usage 'Nothing'"), ("1,Training,1 2", "not 48x48"),
     ("1,Training," + "300 " * 2304, "not 48x48")],
)  # fmt: skip
def test_damaged_csv(tmp_path, line, sentence):
    (tmp_path / "fer2013.csv").write_text(f"emotion,Usage,pixels\n{line}\n")
    with pytest.raises(ValueError, match=sentence):
        fer2013.records(tmp_path)


def test_other_columns(tmp_path):
    (tmp_path / "fer2013.csv").write_text("label,pixels\n1,2\n")
    with pytest.raises(ValueError, match="expected emotion, pixels, Usage"):
        fer2013.records(tmp_path)


def saved(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((48, 48), len(name), np.uint8)).save(root / name)
    return root


def described(found):
    return [(r.split, r.expression) for r in found]


def test_class_folders(tmp_path):
    """One test has no part to choose an epoch on: its pictures are given once, and never as the public test."""
    saved(tmp_path, "train/angry/im1.jpg", "train/happy/im2.jpg", "test/sad/im3.jpg")
    found = fer2013.records(tmp_path)
    assert described(found) == [("train", "anger"), ("train", "happiness"), ("test", "sadness")]
    assert all(r.info["framed"] and r.subject is None for r in found)
    assert [r.split for r in fer2013.records(tmp_path, splits=("private_test",))] == ["test"]
    with pytest.raises(ValueError, match="has no part that could be public_test: it has test, train"):
        fer2013.records(tmp_path, splits=("public_test",))


def test_class_folders_whose_names_say_which_test(tmp_path):
    saved(tmp_path, "train/angry/Training_1.jpg", "test/angry/PrivateTest_3.jpg", "test/sad/PublicTest_2.jpg")
    assert described(fer2013.records(tmp_path)) == [
        ("train", "anger"), ("public_test", "sadness"), ("private_test", "anger"),
    ]  # fmt: skip
    assert described(fer2013.records(tmp_path, splits=("private_test",))) == [("private_test", "anger")]


def test_folders_called_as_the_lists_usages(tmp_path):
    saved(tmp_path, "data/Training/happy/1.jpg", "data/PublicTest/fear/2.jpg", "data/PrivateTest/sad/3.jpg")
    assert described(fer2013.records(tmp_path)) == [
        ("train", "happiness"), ("public_test", "fear"), ("private_test", "sadness"),
    ]  # fmt: skip


def test_folders_of_numbers_and_a_validation(tmp_path):
    saved(tmp_path, "images/train/0/1.png", "images/Validation/3/2.png", "images/test/6/3.png")
    assert described(fer2013.records(tmp_path)) == [
        ("train", "anger"), ("validation", "happiness"), ("test", "neutral"),
    ]  # fmt: skip
    assert described(fer2013.records(tmp_path, splits=("public_test", "train"))) == [
        ("validation", "happiness"), ("train", "anger"),
    ]  # fmt: skip
    saved(tmp_path, "images/train/7/1.png")
    with pytest.raises(ValueError, match="train/7: '7' is no expression") as error:
        fer2013.records(tmp_path)
    assert "--labels" not in str(error.value)


def test_the_challenges_training_file_alone(tmp_path):
    pixels = " ".join(["9"] * 2304)
    (tmp_path / "train.csv").write_text(f"emotion,pixels\n3,{pixels}\n0,{pixels}\n")
    assert described(fer2013.records(tmp_path)) == [("train", "happiness"), ("train", "anger")]
    assert described(fer2013.records(tmp_path / "train.csv", splits=("train",)))[0] == ("train", "happiness")
    with pytest.raises(ValueError, match="train.csv has the training pictures alone: there is no private_test"):
        fer2013.records(tmp_path, splits=("private_test",))
    (tmp_path / "icml_face_data.csv").write_text(f"emotion, Usage, pixels\n6,PublicTest,{pixels}\n")
    assert described(fer2013.records(tmp_path)) == [("public_test", "neutral")]  # the whole file goes before


def test_a_folder_that_is_called_like_a_part(tmp_path):
    """Its own name says nothing of what is in it."""
    saved(tmp_path, "train/angry/im1.jpg", "train/sad/im2.jpg")
    with pytest.raises(FileNotFoundError, match="fer2013_train.npz is missing"):
        fer2013.records(tmp_path / "train")
    (tmp_path / "other" / "train").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="no pictures below train, test .*expected"):
        fer2013.records(tmp_path / "other")

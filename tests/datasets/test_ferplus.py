"""FER+'s votes beside FER-2013, in both forms: whose votes, every refusal, and what a majority is."""

import numpy as np
import pytest

from fer_tf.datasets import fer2013
from fer_tf.records import CLASSES, EXPRESSIONS, Record

COUNTS = {"train": 6, "public_test": 3, "private_test": 2}
USAGES = {split: usage for usage, split in fer2013.USAGES.items()}
SHUFFLED = ("fear", "unknown", "contempt", "neutral", "anger", "not_a_face", "happiness", "disgust", "sadness",
            "surprise")  # fmt: skip
"""An order of columns in which no name has the place that it has in `VOTES`."""


def drawn(split):
    """Votes of a part in the order of `VOTES`: (N, 10), no two rows alike."""
    return np.random.default_rng(len(split)).integers(0, 11, (COUNTS[split], 10))


def packed(root, counts=COUNTS, **arrays):
    """The four .npz files; `arrays` replace those of ferplus.npz, None takes one out."""
    for split, count in counts.items():
        image, label = np.zeros((count, 48, 48), np.uint8), np.arange(count, dtype=np.uint8)
        np.savez(root / f"fer2013_{split}.npz", image=image, label=label)
    order = [fer2013.VOTES.index(name) for name in SHUFFLED]
    made = {split: drawn(split)[:, order].astype(np.uint8) for split in COUNTS}
    made = {**made, "columns": np.array(SHUFFLED), **arrays}
    np.savez(root / "ferplus.npz", **{name: array for name, array in made.items() if array is not None})
    return root


HEAD = ["Usage", "Image name", *fer2013.VOTES[:-1], "NF"]


def rows_of(split):
    """A part's rows of fer2013new.csv."""
    return [[USAGES[split], f"fer{i}.png", *map(str, votes)] for i, votes in enumerate(drawn(split))]


def listed(root, rows=None, head=HEAD, name="fer2013.csv"):
    """fer2013.csv and fer2013new.csv; the parts take turns, as they do not in the owner's."""
    turns = [(split, i) for i in range(6) for split in COUNTS if i < COUNTS[split]]
    pixels = " ".join(["7"] * 2304)
    pictures = [f"{i},{pixels},{USAGES[split]}" for split, i in turns]
    (root / name).write_text("\n".join(["emotion,pixels,Usage", *pictures]) + "\n")
    votes = [rows_of(split)[i] for split, i in turns] if rows is None else rows
    (root / "fer2013new.csv").write_text("\n".join(map(",".join, [head, *votes])) + "\n")
    return root


def expected(splits=COUNTS):
    return [row for split in splits for row in drawn(split).tolist()]


@pytest.mark.parametrize("form", [packed, listed])
def test_each_picture_has_its_votes_in_the_owners_order(tmp_path, form):
    found = fer2013.records(form(tmp_path))
    assert [r.info["votes"] for r in found] == expected() and len({*map(tuple, expected())}) == 11
    assert all(type(v) is int for r in found for v in r.info["votes"]) and all(r.info["framed"] for r in found)
    names = EXPRESSIONS if form is packed else fer2013.NUMBERS
    assert [r.expression for r in found[:6]] == [*names[:6]]  # FER-2013's label stays
    some = fer2013.records(tmp_path, splits=("private_test", "train"))
    assert [r.info["votes"] for r in some] == expected(("private_test", "train"))


def test_the_owners_list_is_found_beside_the_pictures_list(tmp_path):
    (tmp_path / "fer2013").mkdir()
    listed(tmp_path / "fer2013")
    assert [r.info["votes"] for r in fer2013.records(tmp_path)] == expected()
    (tmp_path / "fer2013" / "fer2013new.csv").rename(tmp_path / "fer2013new.csv")
    assert all("votes" not in r.info for r in fer2013.records(tmp_path))  # of another folder's pictures it says nothing


@pytest.mark.parametrize("form, file", [(packed, "ferplus.npz"), (listed, "fer2013new.csv")])
def test_without_votes_the_pictures_are_as_before(tmp_path, form, file):
    (form(tmp_path) / file).unlink()
    assert [r.info for r in fer2013.records(tmp_path)] == [{"framed": True}] * 11


def test_the_tree_says_where_votes_go(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"(?s)ferplus\.npz .*\nor\n.*fer2013\.csv .*\n +fer2013new\.csv .*\nor\n"
    ):
        fer2013.records(tmp_path)


def test_spaces_and_a_mark_of_byte_order(tmp_path):
    listed(tmp_path, head=[f" {name}" for name in HEAD])
    file = tmp_path / "fer2013new.csv"
    file.write_text(file.read_text().replace(",", ", ").replace(" Usage", "Usage", 1), encoding="utf-8-sig")
    assert [r.info["votes"] for r in fer2013.records(tmp_path)] == expected()


@pytest.mark.parametrize(
    "arrays, sentence",
    [
        ({"columns": None}, "ferplus.npz is damaged, or lacks columns, train, public_test, private_test: "),
        ({"public_test": None}, "ferplus.npz is damaged, or lacks columns, train, public_test"),
        ({"columns": np.array(["happy", *SHUFFLED[1:]])}, "has the columns happy, unknown, .*: expected neutral, happ"),
        ({"columns": np.array(SHUFFLED[:9])}, "has the columns fear, .*, sadness: expected neutral, happiness"),
        ({"train": np.zeros((5, 10), np.uint8)}, r"train is uint8 \(5, 10\), and there are 6 pictures: .* \(6, 10\)"),
        ({"private_test": np.zeros((2, 8), np.uint8)}, r"private_test is uint8 \(2, 8\), and there are 2 pictures"),
        ({"train": np.zeros((6, 10), np.float32)}, r"train is float32 \(6, 10\), .*: expected whole numbers"),
    ],
)
def test_arrays_that_are_not_votes(tmp_path, arrays, sentence):
    with pytest.raises(ValueError, match=sentence):
        fer2013.records(packed(tmp_path, **arrays))


def test_a_damaged_file(tmp_path):
    (packed(tmp_path) / "ferplus.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ValueError, match="ferplus.npz is damaged, or lacks columns"):
        fer2013.records(tmp_path)


def everyone():
    return [row for split in COUNTS for row in rows_of(split)]


@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda rows: rows[:-1], "fer2013new.csv has 1 rows of private_test, and there are 2 pictures"),
        (lambda rows: [*rows, rows[0]], "fer2013new.csv has 7 rows of train, and there are 6 pictures"),
        (lambda rows: [["Testing", *rows[0][1:]], *rows[1:]], "line 2: Usage 'Testing', votes"),
        (lambda rows: [rows[0], [*rows[1][:5], "-1", *rows[1][6:]], *rows[2:]], "line 3: Usage 'Training', .* '-1'"),
        (lambda rows: [rows[0], [*rows[1][:4], "x", *rows[1][5:]], *rows[2:]], r"votes \['\d+', '\d+', 'x'"),
        (lambda rows: [rows[0][:-1], *rows[1:]], r"line 2: Usage 'Training', votes .*''\] are not FER\+'s"),
    ],
)
def test_rows_that_are_not_votes(tmp_path, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        fer2013.records(listed(tmp_path, change(everyone())))


def test_columns_that_are_missing(tmp_path):
    head = ["Usage", "Image name", *fer2013.VOTES[:-2], "NF", "extra"]
    with pytest.raises(ValueError, match=r"fer2013new.csv has the columns \['Usage', .*\]: it lacks unknown\."):
        fer2013.records(listed(tmp_path, head=head))


def test_the_challenges_training_pictures_do_not_fit_the_votes_of_all(tmp_path):
    listed(tmp_path, name="train.csv")
    pixels = " ".join(["7"] * 2304)
    (tmp_path / "train.csv").write_text("emotion,pixels\n" + f"0,{pixels}\n" * 6)
    with pytest.raises(ValueError, match="has 3 rows of public_test, and there are 0 pictures"):
        fer2013.records(tmp_path)
    found = fer2013.records(tmp_path, splits=("train",))
    assert [r.info["votes"] for r in found] == expected(("train",))


def votes(**counts):
    return [counts.get(name, 0) for name in fer2013.VOTES]


@pytest.mark.parametrize(
    "counts, plain, strict",
    [
        ({"fear": 10}, "fear", "fear"),
        ({"contempt": 6, "anger": 4}, "contempt", "contempt"),
        ({"sadness": 5, "neutral": 5}, "neutral", None),  # neutral before all; and no more than half
        ({"surprise": 4, "happiness": 4, "fear": 2}, "happiness", None),
        ({"fear": 5, "contempt": 5}, "fear", None),
        ({"fear": 5, "unknown": 5}, "fear", None),
        ({"unknown": 6, "fear": 4}, None, None),
        ({"not_a_face": 10}, None, None),
        ({"unknown": 5, "not_a_face": 5}, None, None),
        ({}, None, None),
        ({"anger": 4, "disgust": 3, "fear": 3}, "anger", None),
        ({"anger": 5, "disgust": 3, "fear": 1, "sadness": 1}, "anger", "anger"),  # 5 of 8
        ({"anger": 4, "disgust": 3, "fear": 1, "sadness": 1, "neutral": 1}, "anger", "anger"),  # 4 of 7
        ({"anger": 3, "disgust": 3, "fear": 2, "sadness": 2}, "anger", None),
        ({"anger": 2, **dict.fromkeys(("fear", "neutral", "sadness", "unknown"), 1)}, "anger", "anger"),
        ({"fear": 1}, "fear", None),
        ({name: 1 for name in fer2013.VOTES}, "neutral", None),
    ],
)  # fmt: skip
def test_the_majority(counts, plain, strict):
    assert fer2013.majority(votes(**counts)) == plain
    assert fer2013.majority(votes(**counts), strict=True) == strict
    assert fer2013.majority(tuple(np.array(votes(**counts), np.uint8))) == plain


def test_no_votes_at_all_have_no_majority():
    assert fer2013.majority(()) is None and fer2013.majority([], strict=True) is None


def test_who_is_left_out_and_why():
    rows = [votes(fear=9), votes(unknown=7), votes(unknown=5, not_a_face=5), votes(not_a_face=6, unknown=4), votes()]
    found = [Record("a.png", info={"votes": row}) for row in rows] + [Record("b.png")]
    assert fer2013.left_out(found) == {"unknown": 2, "not_a_face": 1, "no_votes": 2}
    assert fer2013.left_out(found[:1]) == {"unknown": 0, "not_a_face": 0, "no_votes": 0}


def test_votes_are_counted_in_the_order_of_the_classes():
    row = votes(anger=1, contempt=2, disgust=3, fear=4, happiness=5, sadness=6, surprise=7, neutral=8, unknown=9)
    found = fer2013.vote_counts([Record("a.png", info={"votes": row}), Record("b.png")])
    np.testing.assert_array_equal(found, [[1, 2, 3, 4, 5, 6, 7, 8], [0] * 8])
    assert found.dtype == np.float32 and CLASSES["eight"] == EXPRESSIONS
    np.testing.assert_array_equal(
        fer2013.vote_counts([Record("a.png", info={"votes": row})], ("neutral", "fear")), [[8, 4]]
    )
    assert fer2013.vote_counts([], ("neutral", "fear")).shape == (0, 2)

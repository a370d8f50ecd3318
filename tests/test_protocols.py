"""fer_tf.protocols: the papers' folds on made-up records, and that each protocol names what exists."""

import importlib

import pytest

from fer_tf import protocols
from fer_tf.protocols import PROTOCOLS
from fer_tf.records import EXPRESSIONS, Record


def people(count, classes, split=None):
    """One record of each class for each of `count` people."""
    return [
        Record(f"{person}_{label}.png", label, subject=f"S{person:03d}", split=split)
        for person in range(count)
        for label in classes
    ]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_a_protocol_names_exists(name):
    """Data set, its options, classes, source; a data set whose papers count images says the same count."""
    protocol = PROTOCOLS[name]
    module = importlib.import_module(f"fer_tf.datasets.{protocol.dataset}")
    assert {*protocol.options} <= {*(module.records.__kwdefaults__ or {})} and {*protocol.labels} <= {*EXPRESSIONS}
    assert any(paper in protocol.source for paper in ("IA-gen", "DE-GAN", "ED2L", "GCNet", "CycleAT"))
    counts = getattr(module, "COUNTS", {})
    known = {
        "sfew": sum(counts.get(part, 0) for part in protocol.parts),
        **{n: module.COUNT for n in ("bu3dfe", "emotionet") if n == protocol.dataset},
    }.get(protocol.dataset, counts.get(getattr(module, "FRAMES", "")))
    if protocol.images and name != "bu3dfe_80_20":  # whose pictures a user renders
        assert protocol.images == known
    if protocol.tests:
        assert importlib.import_module(f"fer_tf.datasets.{protocol.tests.partition('/')[0]}")


def test_numbers_of_the_papers():
    """Runs, folds and classes as printed."""
    assert {n: p.runs for n, p in PROTOCOLS.items() if p.runs} == {
        "ck_plus_7_10fold": {"ia_gen": 8}, "bu3dfe_10fold": {"ia_gen": 10}, "bu4dfe_10fold": {"ia_gen": 10},
    }  # fmt: skip
    assert {n: (p.folds, len(p.labels)) for n, p in PROTOCOLS.items() if p.by != "cross"} == {
        "ck_plus_7_10fold": (10, 7), "ck_plus_8_10fold": (10, 8), "oulu_strong_10fold": (10, 6), "mmi_10fold": (10, 6),
        "bu3dfe_10fold": (10, 6), "bu4dfe_10fold": (10, 6), "sfew_2fold": (2, 7), "emotionet_5fold": (5, 6),
        "bu3dfe_80_20": (1, 7),
    }  # fmt: skip
    assert protocols.of_dataset("bu3dfe").keys() == {"bu3dfe_10fold", "bu3dfe_80_20"}
    assert not protocols.of_dataset("rendered")
    assert protocols.of_dataset("ck_plus").keys() == {"ck_plus_7_10fold", "ck_plus_8_10fold"}


def test_folds_by_subject_in_both_orders():
    found = people(20, PROTOCOLS["ck_plus_7_10fold"].labels)
    for order, first in (("contiguous", {"S000", "S001"}), ("strided", {"S000", "S010"})):
        folds = PROTOCOLS["ck_plus_7_10fold"].fold(found, order)
        assert len(folds) == 10 and {found[i].subject for i in folds[0].test} == first


def test_parts_are_held_out_in_turn():
    found = [Record("a", "fear", split="set2"), Record("b", "fear", split="set1"), Record("c", "fear", split="set2")]
    assert PROTOCOLS["sfew_2fold"].fold(found) == [((0, 2), (1,)), ((1,), (0, 2))]
    for wrong in ([*found, Record("d", "fear")], found[:1]):
        with pytest.raises(ValueError, match=r"2 parts \(set1, set2\) are needed"):
            PROTOCOLS["sfew_2fold"].fold(wrong)
    with pytest.raises(ValueError, match="and the data has train, validation"):  # SFEW 2.0 has two parts, too
        PROTOCOLS["sfew_2fold"].fold([Record("a", "fear", split="train"), Record("b", "fear", split="validation")])
    five = [Record(str(i), "fear", split=f"fold{i % 5}") for i in range(10)]
    assert [f.test for f in PROTOCOLS["emotionet_5fold"].fold(five)] == [(i, i + 5) for i in range(5)]


def test_a_share_of_the_people_is_drawn_by_the_seed():
    found = people(10, ("fear", "neutral"))
    (fold,) = PROTOCOLS["bu3dfe_80_20"].fold(found, seed=1)
    out = {found[i].subject for i in fold.test}
    assert len(out) == 2 and len(fold.test) == 4 and {found[i].subject for i in fold.train}.isdisjoint(out)
    assert PROTOCOLS["bu3dfe_80_20"].fold(found, seed=1) == [fold]
    assert any(PROTOCOLS["bu3dfe_80_20"].fold(found, seed=s) != [fold] for s in range(2, 6))
    with pytest.raises(ValueError, match="x has no subject"):
        PROTOCOLS["bu3dfe_80_20"].fold([*found, Record("x", "fear")])
    with pytest.raises(ValueError, match="1 people cannot be split"):
        PROTOCOLS["bu3dfe_80_20"].fold(people(1, ("fear",)))


def test_cross_database_has_no_folds():
    with pytest.raises(ValueError, match="tested on fer2013"):
        PROTOCOLS["cross_fer2013"].fold(people(4, ("fear",)))


def test_counts_warn(capsys):
    found = people(118, PROTOCOLS["ck_plus_7_10fold"].labels)
    assert PROTOCOLS["ck_plus_7_10fold"].check(found) is found
    assert capsys.readouterr().err == "ck_plus: this copy has 826 images of seven; the papers have 981.\n"
    PROTOCOLS["ck_plus_8_10fold"].check(found)
    PROTOCOLS["ck_plus_7_10fold"].check(found, images=False)
    assert not capsys.readouterr().err

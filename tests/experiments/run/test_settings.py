"""A command's settings: how they are resolved, what each may be, and that they can be passed, kept and changed."""

import copy
import dataclasses
import importlib
import inspect
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from experiments.parts.cycle_at import domains
from experiments.run import cross, settings
from experiments.run.settings import setting
from fer_tf import records

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = sorted(p.stem for p in (ROOT / "experiments").glob("*.py") if not p.stem.startswith("__"))
PRESETS = {
    "paper": {"folds": 10, "rate": 0.25, "names": ("a", "b")},
    "quick": {"rate": 0.5, "epochs": 3, "names": ["b"]},
    "few": {"folds": 2, "classes": "six", "runs": 3, "dataset": "jaffe"},
}


@settings.command(PRESETS, paper="ia_gen")
class Toy(settings.Views, settings.Init, settings.Folds):
    """A field of each type, and another default than the class above has."""

    batch_size: int = 7
    init: str = "none"
    rate: float = setting(1.0, "How fast.", low=0, high=2)
    names: tuple[str, ...] = setting((), "Which.", choices=("a", "b", "c"))
    some: tuple[str, ...] = setting(("x",), "One or two.", low=1, high=2)
    lambda_: float = setting(0.5, "A weight.")
    share: float | None = setting(None, "A share.", high=1)
    speed: str | None = setting(None, "A word.", choices=("slow", "fast"))
    scene: tuple[str, ...] = setting((), "Given again and again.", repeated=True, place="named")
    temperature: float = setting(1.0, "Does not bind.", free=True)


@settings.command({"quick": {"epochs": 3}}, paper="gcnet")
class Crossing(cross.Cross):
    """One that may be tested on another data set."""


@settings.command({"quick": {"epochs": 3}}, paper="cycle_at")
class Wild(domains.Wild):
    """One whose target may be dealt by a protocol, too."""


CK = "ck_plus_7_10fold"
RESOLVED = [
    # defaults, those of this class before those of the one above; the preset that is one itself
    ({}, {"preset": "quick", "epochs": 3, "rate": 0.5, "names": ("b",), "folds": 5, "batch_size": 7, "views": 0}),
    # <- preset
    ({"preset": "paper"}, {"folds": 10, "rate": 0.25, "names": ("a", "b"), "epochs": 20, "classes": "seven"}),
    ({"preset": "few"}, {"folds": 2, "classes": "six", "runs": 3, "dataset": "jaffe"}),
    # <- protocol
    ({"protocol": CK}, {"dataset": "ck_plus", "classes": "seven", "folds": 10, "runs": 8, "epochs": 3}),
    ({"protocol": CK, "preset": "few"}, {"dataset": "ck_plus", "classes": "seven", "folds": 10, "runs": 8}),
    ({"protocol": "mmi_10fold", "preset": "few"}, {"dataset": "mmi", "classes": "six", "folds": 10, "runs": 1}),
    ({"protocol": "bu3dfe_80_20", "preset": "few"}, {"dataset": "bu3dfe", "classes": "six_neutral", "folds": 2}),
    # <- given
    ({"preset": "paper", "rate": 1.5, "folds": 3, "names": ()}, {"rate": 1.5, "folds": 3, "names": ()}),
    ({"protocol": CK, "runs": 2}, {"runs": 2, "folds": 10}),
    ({"protocol": CK, "folds": 10, "classes": "seven", "dataset": "ck_plus"}, {"folds": 10, "dataset": "ck_plus"}),
    ({"protocol": CK, "classes": ",".join(reversed(records.CLASSES["seven"]))}, {"classes": "seven"}),
    ({"protocol": CK, "dataset": "prepared"}, {"dataset": "prepared", "folds": 10}),
    ({"protocol": "bu3dfe_80_20", "dataset": "folder"}, {"dataset": "folder", "folds": 5}),
    # how people are dealt is another matter
    ({"protocol": CK, "fold_order": "strided"}, {"fold_order": "strided", "folds": 10}),
    ({"protocol": CK}, {"fold_order": "contiguous"}),
]


@pytest.mark.parametrize("given, expected", RESOLVED, ids=lambda part: json.dumps(part)[:60])
def test_defaults_then_preset_then_protocol_then_what_is_given(given, expected):
    made = Toy(**given)
    assert {name: getattr(made, name) for name in expected} == expected
    assert made.given == given


ELSEWHERE = [
    (
        Crossing,
        {"protocol": "cross_fer2013", "test_on": "fer2013/private_test=/data/f"},
        {"dataset": "ck_plus", "classes": "six_neutral", "folds": 5, "tested_name": "fer2013/private_test"},
    ),
    (Crossing, {"protocol": "cross_sfew", "test_on": "sfew/validation=/s"}, {"tested_name": "sfew/validation"}),
    (Crossing, {"protocol": CK}, {"dataset": "ck_plus", "folds": 10, "runs": 1, "tested_name": "ck_plus"}),
    # CycleAT's: the target's own parts, or a share of the source's people
    (Wild, {}, {"dataset": "rendered", "folds": 2, "tested_name": "rendered/wild", "source_test": 0.2}),
    (
        Wild,
        {"protocol": "emotionet_5fold", "target": "emotionet=/e"},
        {"dataset": "rendered", "classes": "six", "folds": 5, "tested_name": "emotionet", "data_protocol": None},
    ),
    (
        Wild,
        {"protocol": "bu3dfe_80_20", "folds": 3, "target": "sfew=/s"},
        {"dataset": "bu3dfe", "classes": "six_neutral", "folds": 3, "tested_name": "sfew", "source_test": 0.2},
    ),
]


@pytest.mark.parametrize("kind, given, expected", ELSEWHERE, ids=lambda part: str(part)[:50])
def test_a_protocol_that_is_tested_elsewhere(kind, given, expected):
    made = kind(**given)
    assert {name: getattr(made, name) for name in expected} == expected


REFUSED = [
    # what contradicts the protocol
    (Toy, {"protocol": CK, "classes": "six"}, "ck_plus_7_10fold has seven: leave --classes=six out"),
    (Toy, {"protocol": CK, "folds": 5}, "ck_plus_7_10fold has folds 10: leave --folds=5 out"),
    (Toy, {"protocol": CK, "dataset": "mmi"}, "ck_plus_7_10fold is of ck_plus: leave --dataset=mmi out"),
    (Toy, {"protocol": "cross_fer2013"}, "is tested on another data set, which this script cannot"),
    (Crossing, {"protocol": "cross_fer2013"}, "another data set: give --test_on=fer2013/private_test=<folder>"),
    (Crossing, {"protocol": "cross_fer2013", "test_on": "raf_db=/r"}, "give --test_on=fer2013/private_test=<folder>"),
    (Crossing, {"protocol": "cross_sfew", "test_on": "sfew=/s"}, "give --test_on=sfew/validation=<folder>"),
    (Crossing, {"protocol": "cross_raf", "test_on": "raf_db=/r", "dataset": "mmi"}, "leave --dataset=mmi out"),
    (Wild, {"protocol": "sfew_2fold"}, "sfew_2fold is the target's: give --target=sfew=<folder>"),
    (Wild, {"protocol": "sfew_2fold", "target": "sfew=/s", "folds": 5}, "has folds 2: leave --folds=5 out"),
    (Wild, {"protocol": "sfew_2fold", "target": "sfew=/s", "classes": "six"}, "has six_neutral: leave --classes=six"),
    (Wild, {"protocol": "bu3dfe_80_20", "source_test": 0.5}, "has source_test 0.2: leave --source_test=0.5 out"),
    # choices
    (Toy, {"preset": "papers"}, "--preset=papers is none of paper, quick, few"),
    (Toy, {"protocol": "contiguous"}, "--protocol=contiguous is none of ck_plus_7_10fold,"),
    (Toy, {"fold_order": "random"}, "--fold_order=random is none of contiguous, strided"),
    (Toy, {"dataset": "imagenet"}, "--dataset=imagenet is none of afew,"),
    (Toy, {"speed": "slower"}, "--speed=slower is none of slow, fast"),
    (Toy, {"names": ("a", "d")}, "--names=a,d: d is none of a, b, c"),
    # bounds
    (Toy, {"folds": 1}, "--folds=1: 2 or more is wanted"),
    (Toy, {"seed": -1}, "--seed=-1: 0 to 2147483647 is wanted"),
    (Toy, {"seed": 2**31}, "--seed=2147483648: 0 to 2147483647 is wanted"),
    (Toy, {"rate": 2.5}, "--rate=2.5: 0 to 2 is wanted"),
    (Toy, {"share": 1.5}, "--share=1.5: 1 or less is wanted"),
    (Toy, {"some": ()}, "--some=: 1 to 2 are wanted"),
    (Toy, {"some": ("x", "y", "z")}, "--some=x,y,z: 1 to 2 are wanted"),
    # types
    (Toy, {"seed": "3"}, "--seed='3': a whole number is wanted"),
    (Toy, {"seed": 3.0}, "--seed=3.0: a whole number is wanted"),
    (Toy, {"seed": True}, "--seed=True: a whole number is wanted"),
    (Toy, {"seed": None}, "--seed=None: a whole number is wanted"),
    (Toy, {"rate": "0.1"}, "--rate='0.1': a number is wanted"),
    (Toy, {"rate": False}, "--rate=False: a number is wanted"),
    (Toy, {"rate": float("nan")}, "--rate=nan: a number is wanted"),
    (Toy, {"lambda_": float("inf")}, "--lambda=inf: a number is wanted"),
    (Toy, {"strict": 1}, "--strict=1: true or false is wanted"),
    (Toy, {"classes": ("anger", "fear")}, "--classes=('anger', 'fear'): a text is wanted"),
    (Toy, {"names": "a,b"}, "--names='a,b': several texts are wanted"),
    (Toy, {"names": ("a", 1)}, "--names=('a', 1): several texts are wanted"),
    (Toy, {"names": 5}, "--names=5: several texts are wanted"),
    (Toy, {"classes": Path("six")}, "a text is wanted"),
]


@pytest.mark.parametrize("kind, given, sentence", REFUSED, ids=lambda part: str(part)[:50])
def test_what_cannot_be_is_refused_in_one_sentence(kind, given, sentence):
    with pytest.raises(ValueError) as error:
        kind(**given)
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_a_setting_that_there_is_not():
    with pytest.raises(TypeError, match="no setting 'rates': did you mean rate?"):
        Toy(rates=0.1)
    with pytest.raises(TypeError, match="no setting 'zzz': it has preset, data_dir"):
        Toy(zzz=0.1)
    with pytest.raises(TypeError):
        Toy("paper")


def test_a_preset_that_names_no_field_or_a_wrong_value_is_an_error():
    for preset, error in (({"rates": 1.0}, TypeError), ({"rate": 3.0}, ValueError)):
        kind = settings.command({"quick": preset})(type("Wrong", (Toy,), {"__module__": __name__}))
        with pytest.raises(error):
            kind()


def test_values_of_python_become_those_of_a_command_line():
    given = {"workdir": Path("a") / "b", "seed": np.int64(3), "rate": np.float32(0.5), "share": 1, "names": ["a", "c"]}
    made = Toy(**given, scene=(text for text in ("k", "l")))
    assert made.given == {
        "workdir": str(Path("a/b")), "seed": 3, "rate": 0.5, "share": 1.0, "names": ("a", "c"), "scene": ("k", "l")
    }  # fmt: skip
    for name, value in made.given.items():
        assert getattr(made, name) == value and type(getattr(made, name)) is type(value)
    assert type(made.seed) is int and type(made.rate) is type(made.share) is float


def test_python_shows_the_settings():
    """help() and a notebook's completion list them with their defaults."""
    shown = inspect.signature(Toy).parameters
    assert list(shown) == [f.name for f in dataclasses.fields(Toy)]
    assert shown["batch_size"].default == 7 and {p.kind for p in shown.values()} == {inspect.Parameter.KEYWORD_ONLY}


def test_nothing_is_written_again():
    made = Toy()
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.rate = 0.1


def test_copies_and_changes():
    made = Toy(preset="paper", rate=1.5, names=["c"])
    for same in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made), dataclasses.replace(made)):
        assert same == made and hash(same) == hash(made)
    assert pickle.loads(pickle.dumps(made)).given == {"preset": "paper", "rate": 1.5, "names": ("c",)}
    # dataclasses.replace keeps every other value, replace() what was given
    assert dataclasses.replace(made, preset="quick").epochs == 20 and made.replace(preset="quick").epochs == 3
    assert made.replace(seed=2) == Toy(preset="paper", rate=1.5, names=("c",), seed=2) != made
    assert made.replace(protocol=CK).runs == 8
    with pytest.raises(ValueError, match="2 or more"):
        dataclasses.replace(made, folds=1)


def test_what_binds_a_run():
    """Every field but the free ones, under its flag's name, as JSON has it; auto is what it came to."""
    made = Toy(names=("a", "c"), lambda_=0.25, temperature=9.0)
    bound = settings.bound(made)
    free = {
        "workdir",
        "tensorboard",
        "mlflow",
        "progress",
        "only_folds",
        "temperature",
        "feed",
        "xla",
        "device",
        "steps_per_call",
        "job",
        "wait",
    }
    assert {*bound} == {f.name.rstrip("_") for f in dataclasses.fields(made)} - free
    assert bound["names"] == ["a", "c"] and bound["lambda"] == 0.25 and bound["share"] is None
    assert bound["precision"] in ("float32", "mixed_bfloat16", "mixed_float16")
    assert json.loads(json.dumps(bound)) == bound and list(bound) == sorted(bound)
    given = {name + "_" * (name == "lambda"): tuple(v) if isinstance(v, list) else v for name, v in bound.items()}
    assert settings.bound(Toy(**given)) == bound


@pytest.mark.parametrize("name", COMMANDS)
def test_every_preset_of_every_command(name):
    """Each can be made, says what it is, and survives a grid of jobs."""
    kind = importlib.import_module(f"experiments.{name}").Settings
    for preset in kind.PRESETS:
        made = kind(preset=preset)
        assert made.preset == preset
        for field, value in kind.PRESETS[preset].items():
            had = getattr(made, field)
            assert had == (tuple(value) if isinstance(value, list) else value)
    for made in [kind(preset=p) for p in kind.PRESETS] or [kind()]:
        assert pickle.loads(pickle.dumps(made)) == made

"""What every experiment shares: the flags, the presets, the work folder that refuses a resume with changed flags."""

from __future__ import annotations

import importlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import app, flags, logging

import fer_tf
from fer_tf import pipeline, protocols, records, training, weights
from fer_tf.datasets import prepared

from . import data_sets

FLAGS = flags.FLAGS
ORDERS = ("contiguous", "strided")
FREE = ("workdir", "only_folds", "expressions", "tensorboard", "progress", "temperature", "stages")
"""Flags that may differ when a run is taken up again."""


def define_flags(presets: Mapping[str, Mapping[str, Any]], **defaults: Any) -> None:
    """The flags of every experiment with folds by subject. A preset gives values to those that are left out.

    Args:
      presets: preset name -> {flag: value}.
      **defaults: other defaults than those below and in `define_training_flags`; `protocol` is how the paper deals
        subjects to folds, contiguous or strided.
    """
    default = {"dataset": "rendered", "classes": "seven", "folds": 5, "protocol": "contiguous", **defaults}
    define_training_flags(presets, **default)
    flags.DEFINE_enum("dataset", default["dataset"], data_sets.names(), "Which data set.")
    flags.DEFINE_list("options", [], data_sets.HELP)
    known = [*ORDERS, *protocols.PROTOCOLS]
    text = "How subjects are dealt to the folds; or a paper's protocol, which gives data set, classes, folds and runs."
    flags.DEFINE_enum("protocol", default["protocol"], known, text)
    flags.DEFINE_string("manifest", None, "A folds.json: its folds instead of those of --folds and --protocol.")
    flags.DEFINE_string("classes", default["classes"], "six, seven, six_neutral, eight, or labels with commas.")
    flags.DEFINE_integer("folds", default["folds"], "Number of folds by subject.", lower_bound=2)
    flags.DEFINE_string("only_folds", "", "Run just these folds, such as 0,2; all when empty.")
    flags.DEFINE_integer("runs", 1, "Repeat everything with seeds seed, seed + 1 ...", lower_bound=1)
    flags.DEFINE_bool("strict", True, "A record that does not decode is an error; --strict=false leaves it out.")


def define_training_flags(presets: Mapping[str, Mapping[str, Any]], **defaults: Any) -> None:
    """The flags of everything that trains; arguments as those of `define_flags`."""
    default = {"preset": "quick", "init": "fer_net_fer2013", "batch_size": 100, **defaults}
    flags.DEFINE_enum("preset", default["preset"], list(presets), "Values for all flags that are not given.")
    flags.DEFINE_string("data_dir", None, "Folder of the data set (rendered: the shipped file when left out).")
    flags.DEFINE_string("workdir", None, "Where results go; runs/<experiment>_<preset> when left out.")
    flags.DEFINE_integer("seed", 0, "Seed of weights, order and views.", lower_bound=0, upper_bound=2**31 - 1)
    flags.DEFINE_enum("precision", "auto", training.PRECISIONS, "Dtype policy.")
    flags.DEFINE_enum("strategy", "none", training.STRATEGIES, "Replicas.")
    flags.DEFINE_bool("deterministic", False, "The same bits at every run.")
    if default["init"] is not None:
        flags.DEFINE_string("init", default["init"], "Weights to start from: a name in weights/, a file, or none.")
    flags.DEFINE_integer("epochs", 20, "Epochs.", lower_bound=1)
    flags.DEFINE_integer("batch_size", default["batch_size"], "Views a batch.", lower_bound=1)
    flags.DEFINE_integer("max_steps", None, "Stop each training after so many steps.", lower_bound=1)
    flags.DEFINE_bool("tensorboard", False, "Write TensorBoard event files too.")
    flags.DEFINE_bool("progress", True, "Print the progress.")


def shared_flags() -> list[flags.Flag]:
    """The flags that modules of this package define for the scripts that import them."""
    return [f for name, found in FLAGS.flags_by_module_dict().items() if name.startswith("experiments.") for f in found]


def init_weights() -> Path | None:
    """The file that --init means, or None."""
    return weights_file(FLAGS.init)


def unseen(name: str | Path | None, flag: str, tested: bool = True) -> list[str]:
    """The data sets that a weights file, and what it was started from, were trained on.

    Args:
      name: the file; None gives nothing.
      flag: that named it.
      tested: whether people of --dataset, or of --test_on, are to be tested.
    Raises:
      ValueError: that data set is among them, so that weights have seen who is to be tested.
    """
    if name is None or not weights.is_ours(name):
        return []
    seen = list(weights.provenance(name).get("datasets") or [])
    on = tested_on() or dataset_name()
    if tested and {on, on.partition("/")[0]} & {*seen}:  # a part counts as seen where the whole is named
        raise ValueError(f"--{flag}={name} was trained on everybody in {on}, so it has seen who is to be tested.")
    return seen


def tested_on() -> str | None:
    """name[/part] of --test_on, where the script has that flag (`cross.py`) and it is given."""
    text = FLAGS["test_on"].value if "test_on" in FLAGS else None
    return data_sets.place_of(text) if text else None


def weights_file(name: str) -> Path | None:
    """The file of a flag that names weights: a file, a name in weights/, or none."""
    if name in ("", "none"):
        return None
    return Path(name) if Path(name).is_file() else weights.released(name)


def apply_preset(presets: Mapping[str, Mapping[str, Any]]) -> None:
    """Gives the chosen preset's values to all flags that the command line left out."""
    for name, value in presets[FLAGS.preset].items():
        if not FLAGS[name].present:
            FLAGS[name].value = FLAGS[name].parser.parse(value) if isinstance(value, str) else value  # a list flag's


def protocol() -> protocols.Protocol | None:
    """The paper's protocol that --protocol names, or None where it only says how subjects are dealt."""
    return protocols.PROTOCOLS.get(getattr(FLAGS, "protocol", ""))


def order() -> str:
    """How subjects are dealt to folds: what --protocol says, or the script's own reading where it names a protocol."""
    return FLAGS.protocol if FLAGS.protocol in ORDERS else FLAGS["protocol"].default


def apply_protocol(paper: str) -> None:
    """Gives the flags that the command line left out the values of the protocol that --protocol names.

    Args:
      paper: whose script it is, for its number of runs.
    Raises:
      ValueError: a flag that contradicts the protocol, or a script that cannot run it; the message says what to give.
    """
    chosen = protocol()
    if chosen is None:
        return
    name = f"--protocol={FLAGS.protocol}"
    if chosen.by == "cross" and "test_on" not in FLAGS:
        raise ValueError(f"{name} is tested on another data set, which this script cannot: see experiments.gcnet.")
    if chosen.by == "cross" and tested_on() != chosen.tests:
        raise ValueError(f"{name} is tested on another data set: give --test_on={chosen.tests}=<folder>.")
    if of_the_target(chosen):
        if data_sets.place_of(FLAGS.target) != chosen.dataset:
            raise ValueError(f"{name} is the target's: give --target={chosen.dataset}=<folder>.")
    elif FLAGS["dataset"].present and FLAGS.dataset not in (chosen.dataset, "prepared", *chosen.stand_ins):
        raise ValueError(f"{name} is of {chosen.dataset}: leave --dataset={FLAGS.dataset} out.")
    elif not FLAGS["dataset"].present:
        FLAGS["dataset"].value = chosen.dataset
    values = {"folds": chosen.folds} if chosen.folds > 1 else {}
    values |= {"source_test": chosen.share} if "source_test" in FLAGS and chosen.by == "share" else {}
    if FLAGS["classes"].present and records.classes_of(FLAGS.classes) != chosen.labels:
        raise ValueError(f"{name} has {chosen.classes}: leave --classes={FLAGS.classes} out, or the protocol.")
    FLAGS["classes"].value = chosen.classes
    for flag, value in values.items():
        if FLAGS[flag].present and FLAGS[flag].value != value:
            raise ValueError(f"{name} has {flag} {value}: leave --{flag}={FLAGS[flag].value} out, or the protocol.")
        FLAGS[flag].value = value
    if not FLAGS["runs"].present:
        FLAGS["runs"].value = chosen.runs.get(paper, 1)


def of_the_target(chosen: protocols.Protocol) -> bool:
    """Whether the protocol deals CycleAT's target, which --target names, rather than --dataset."""
    return "target" in FLAGS and chosen.by == "split"


def dataset_name() -> str:
    """The data set that is read: --dataset, or the one that a prepared file was made from."""
    return prepared.about(FLAGS.data_dir)["dataset"] if FLAGS.dataset == "prepared" else FLAGS.dataset


def workdir(experiment: str) -> Path:
    """The work folder, made if need be, with flags.json in it.

    Raises:
      ValueError: it cannot be made, or holds a training with other flags; the message names the first that differs.
    """
    path = Path(FLAGS.workdir or f"runs/{experiment}_{FLAGS.preset}")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--workdir={path} cannot be made ({error.strerror}): give another one.") from error
    module = sys.modules["__main__"] if "__main__" in sys.modules else None
    now = {f.name: f.value for f in shared_flags()}
    now |= {f.name: f.value for f in (FLAGS.get_key_flags_for_module(module) if module else [])}
    now["precision"] = training.auto_precision() if now.get("precision") == "auto" else now.get("precision")
    now = {k: v for k, v in sorted(now.items()) if k not in FREE}
    file = path / "flags.json"
    if file.is_file() and any(path.rglob("checkpoint/checkpoint")):  # flags that nothing was trained with bind nobody
        before = json.loads(file.read_text())
        if before.get("precision") == "auto":  # of runs before it was written down what auto came to
            before["precision"] = now["precision"]
        changed = [k for k in sorted({*before, *now} - {*FREE}) if before.get(k) != now.get(k)]
        if changed:
            k = changed[0]
            raise ValueError(
                f"{path} holds a run with --{k}={before.get(k)}, and now --{k}={now.get(k)} is asked for: give the "
                f"same flags to go on with it, or another --workdir. Changed: {', '.join(changed)}."
            )
    write_json(file, now)
    return path


def load_records(classes: tuple[str, ...] | None, **options: Any) -> list[records.Record]:
    """The records of --dataset that show one of the classes; all of them for None, without a label or with any.

    Raises:
      ValueError: fewer than two classes, a damaged file, or no record that shows one of the classes.
      FileNotFoundError: it is not there; the message shows what is expected.
    """
    if classes is not None and min(len(classes), len(records.classes_of(FLAGS.classes))) < 2:
        raise ValueError(f"--classes={FLAGS.classes} is one class, with nothing to tell it from: give two or more.")
    module = importlib.import_module(f"fer_tf.datasets.{FLAGS.dataset}")
    where = f"--dataset={FLAGS.dataset} --data_dir={FLAGS.data_dir or ''}"
    where += f" --options={','.join(FLAGS.options)}" if FLAGS.options else ""
    chosen = protocol()
    if chosen is not None and of_the_target(chosen):
        chosen = None
    try:
        options |= data_sets.options(module, FLAGS.options)
        if chosen is not None and FLAGS.dataset == chosen.dataset:
            data_sets.refuse_others(chosen, options)
            options = {**chosen.options, **options}
        found = module.records(FLAGS.data_dir, **options)
        if chosen is not None:
            if FLAGS.dataset == "prepared":
                if dataset_name() not in (chosen.dataset, *chosen.stand_ins):
                    raise ValueError(
                        f"{where} has {dataset_name()}, --protocol={FLAGS.protocol} is of {chosen.dataset}."
                    )
                data_sets.refuse_others(chosen, prepared.about(FLAGS.data_dir)["options"])
            chosen.check(found, images=FLAGS.dataset != chosen.dataset)
        found = found if classes is None else records.of_classes(found, classes)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{where} cannot be read, a file of it is damaged: {error}") from error
    if not found:
        shown = "" if classes is None else f" of {', '.join(classes)}: give other --classes"
        raise ValueError(f"{where} has no image{shown}.")
    tell_searched(found, where)
    return found


def tell_searched(found: list[records.Record], where: str) -> None:
    """Says, on stderr, that faces are searched for in these pictures, and the command that does it once for all."""
    stored = [isinstance(r.image, tuple) and not records.is_frame(r.image) for r in found]
    known = [inside or {"framed", "landmarks"} & {*r.info} for inside, r in zip(stored, found, strict=True)]
    if not all(known):
        print(
            f"{len(known) - sum(map(bool, known))} pictures will be searched for faces, at each start. To do it once: "
            f"python -m experiments.prepare {where} --align=<paper> --out=faces.h5; then --dataset=prepared "
            "--data_dir=faces.h5",
            file=sys.stderr,
        )


def make_folds(found: list[records.Record], classes: tuple[str, ...], folder: Path) -> list[records.Fold]:
    """The folds of --manifest, or those by subject of --folds and --protocol; checked for leaks, written to folds.json.

    Raises:
      ValueError: a leak, too few subjects, or a manifest of other data; warnings go to stderr.
    """
    hashes = records.content_hashes(found)  # reads every image, so once for all folds
    chosen = protocol()
    if FLAGS.manifest:
        folds, how = records.read_manifest(FLAGS.manifest, found), f"as in {Path(FLAGS.manifest).name}"
    elif chosen is not None:
        folds, how = chosen.fold(found, order(), FLAGS.seed), f"{FLAGS.protocol}, {order()}"
    else:
        folds, how = records.subject_folds(found, FLAGS.folds, order()), order()
    for number, fold in enumerate(folds):
        for warning in records.check_fold(found, fold, classes, hashes=hashes):
            print(f"fold {number}: {warning}", file=sys.stderr)
    records.write_manifest(folder / "folds.json", found, folds, frames=frame_rule(), order=how, hashes=hashes)
    return folds


def frame_rule() -> str:
    """Which frames of a sequence --dataset and --options take, in words."""
    if FLAGS.dataset == "prepared":
        return prepared.about(FLAGS.data_dir)["frames"]
    module = importlib.import_module(f"fer_tf.datasets.{FLAGS.dataset}")
    return data_sets.options(module, FLAGS.options).get("frames") or getattr(module, "FRAMES", "all of the data set")


def chosen_folds(count: int) -> list[int]:
    """The folds that --only_folds picks; all when it is empty.

    Raises:
      ValueError: not a list of fold numbers.
    """
    if not FLAGS.only_folds:
        return list(range(count))
    picked = [int(part) if part.strip().isdigit() else -1 for part in FLAGS.only_folds.split(",")]
    if any(not 0 <= number < count for number in picked):
        raise ValueError(f"--only_folds={FLAGS.only_folds}: give fold numbers from 0 to {count - 1}, such as 0,1.")
    return sorted(set(picked))


def facts(classes: tuple[str, ...], seconds: float) -> dict[str, Any]:
    """What metrics.json says of every run: data set, protocol, classes, seeds, commit, hardware, seconds."""
    chosen = protocol()
    folds = Path(FLAGS.manifest).name if FLAGS.manifest else f"{FLAGS.folds} folds by subject, {order()}"
    if chosen is not None and not FLAGS.manifest:
        folds = f"{FLAGS.protocol}, {order()}: {chosen.source}"
    return {
        "dataset": dataset_name(),
        "protocol": f"tested on {tested_on()}" if tested_on() else folds,
        "preset": FLAGS.preset,
        "classes": list(classes),
        "seeds": list(range(FLAGS.seed, FLAGS.seed + FLAGS.runs)),
        "commit": commit(),
        "hardware": hardware(),
        "versions": {"fer_tf": fer_tf.__version__, "tensorflow": tf.__version__},
        "seconds": round(seconds, 1),
    }


def tell_skipped(data: pipeline.Batches) -> None:
    """Names and counts, on stderr, the records that --strict=false left out."""
    for reason in data.skipped.values():
        print(f"left out: {reason}", file=sys.stderr)
    if data.skipped:
        print(f"left out {len(data.skipped)} of {len(data.records)} records", file=sys.stderr)


def hardware() -> str:
    """GPU names, or the CPU's model and its core count."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        return ", ".join(tf.config.experimental.get_device_details(g).get("device_name", "GPU") for g in gpus)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    model = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    return f"{model}, {os.cpu_count()} cores"


def commit() -> str:
    """The commit of the checkout, with "+" when files differ from it; the version where there is no checkout."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return f"version {fer_tf.__version__}"


def command(script: str) -> str:
    """The command line for a provenance: the folders in which this machine keeps its files are left out."""
    names = "data_dir|out|workdir|init|gan_init|baseline_init|encoder1|encoder2|manifest"
    return re.sub(rf"(--?(?:{names})[= ])(\S*/)?", r"\1", " ".join([script, *sys.argv[1:]]))


def write_json(path: str | Path, value: Any) -> None:
    """Writes to a temporary name, then renames."""
    part = Path(f"{path}.{os.getpid()}.part")  # two processes may train parts of one run
    part.write_text(json.dumps(value, indent=1) + "\n")
    os.replace(part, path)


def save_module(module: tf.Module, path: Path) -> None:
    """Writes a module with a `serving_default` as a SavedModel; it appears at `path` only when it is whole.

    Raises:
      ValueError: something else stands at `path`.
    """
    if path.exists() and not (path / "saved_model.pb").is_file():
        raise ValueError(f"{path} exists and is no SavedModel: remove it, or give another --workdir.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        part, old = Path(folder) / "export", Path(folder) / "old"
        tf.saved_model.save(module, str(part), signatures={"serving_default": module.serving_default})
        if path.exists():
            os.replace(path, old)
        os.replace(part, path)


def run(main: Callable[[], None], presets: Mapping[str, Mapping[str, Any]] | None = None, paper: str = "") -> None:
    """Runs an experiment's main; bad input ends it with one sentence on stderr and exit code 1.

    Args:
      main: the script's.
      presets: values for flags that are left out.
      paper: whose protocols the script follows, where --protocol says how often to run.
    """

    def guarded(argv: list[str]) -> None:
        if len(argv) > 1:
            raise app.UsageError(f"Unknown argument {argv[1]!r}: flags look like --name=value.")
        if presets is not None:
            apply_preset(presets)
        try:
            apply_protocol(paper)
            main()
        except (ValueError, OSError, FloatingPointError, ImportError) as error:
            if os.environ.get("FER_TF_TRACEBACK"):
                raise
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
        except tf.errors.OpError as error:  # a reader's ValueError, out of a running tf.data pipeline
            if os.environ.get("FER_TF_TRACEBACK") or "ValueError: " not in error.message:
                raise
            print(f"error: {error.message.split('ValueError: ')[1].splitlines()[0]}", file=sys.stderr)
            sys.exit(1)

    logging.set_verbosity(logging.WARNING)
    # each fold has networks, and so graphs, of its own, which TensorFlow takes for one that is traced again and again
    tf.get_logger().addFilter(lambda record: "retracing" not in record.getMessage())
    for flag in shared_flags():  # --help lists the flags of the script; these are among them
        FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    app.run(guarded)

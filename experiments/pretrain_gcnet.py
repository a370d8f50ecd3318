"""Pre-trains GCNet's encoders (section IV-A): Encoder1 by giving faces back, Encoder2 by naming people.

    python -m experiments.pretrain_gcnet --stage=autoencoder --part=wild --rate=1   # --encoder1 of experiments/gcnet.py
    python -m experiments.pretrain_gcnet --stage=identify --part=wild --rate=0.03      # --encoder2

The paper does both on CASIA-WebFace. Any data set serves: the autoencoder needs faces alone, the other one people's
names, neither an expression. `--part=wild` takes 80 rendered people who are not in `lab`, where the folds are.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from absl import flags

from fer_tf import pipeline, records, training, weights
from fer_tf.models import gcnet

from .run import common, data_sets, folds

PRESETS = {
    "paper": {"epochs": 30},
    "quick": {"epochs": 60},
    "smoke": {"epochs": 1, "batch_size": 8, "width": 0.0625, "max_steps": 2},
}
PARTS = {"autoencoder": "generator/encoder1", "identify": "encoder2"}
"""Stage -> the layers that are written."""

common.define_training_flags(PRESETS, init=None, batch_size=64)
flags.DEFINE_enum("stage", "autoencoder", ["autoencoder", "identify"], "What is trained.")
flags.DEFINE_enum("dataset", "rendered", data_sets.names(), "Which data set.")
flags.DEFINE_list("options", [], data_sets.HELP)
flags.DEFINE_enum("part", "lab", ["lab", "posed", "wild", "all"], "Part of the rendered faces.")
flags.DEFINE_string("classes", None, "Expressions whose faces are taken; all faces, labelled or not, when left out.")
flags.DEFINE_string("out", None, "File for the weights; in --workdir when left out.")
flags.DEFINE_enum("padding", "same", ["same", "valid"], "Of the convolutions.")
flags.DEFINE_float("rate", 0.001, "Base learning rate.")
flags.DEFINE_float("width", 1.0, "Times the printed channels.", lower_bound=0.01)
flags.DEFINE_bool("strict", True, "A record that does not decode is an error; --strict=false leaves it out.")
FLAGS = flags.FLAGS


def named(found: list[records.Record]) -> tuple[list[records.Record], tuple[str, ...]]:
    """The records with their subject for a label, and the subjects.

    Raises:
      ValueError: fewer than two people are named.
    """
    people = tuple(records.subject_order({r.subject for r in found if r.subject is not None}))
    if len(people) < 2:
        raise ValueError(f"--dataset={FLAGS.dataset} names {len(people)} people: --stage=identify needs two or more.")
    return folds.named_after_people(found), people


def build(people: tuple[str, ...]) -> Any:
    """The compiled net of --stage."""
    if FLAGS.stage == "identify":
        model = gcnet.GCNet(classes=people, variant="cnn", padding=FLAGS.padding, width=FLAGS.width, seed=FLAGS.seed)
    else:
        model = gcnet.Autoencoder(padding=FLAGS.padding, width=FLAGS.width, seed=FLAGS.seed)
    model.compile(**gcnet.optimizers(model, FLAGS.rate))
    return model


def main() -> None:
    """Trains, writes the weights with their provenance."""
    options = {"part": FLAGS.part} if FLAGS.dataset == "rendered" else {}
    found = common.load_records(records.classes_of(FLAGS.classes) if FLAGS.classes else None, **options)
    folder = common.workdir(f"pretrain_gcnet_{FLAGS.stage}")
    if FLAGS.stage == "identify":
        found, people = named(found)
    else:
        found, people = [replace(r, expression="face") for r in found], ("face",)
    strategy = folds.setup(FLAGS.seed)
    data = pipeline.batches(
        found,
        classes=people,
        template=gcnet.TEMPLATE,
        views=gcnet.views,
        batch_size=FLAGS.batch_size,
        seed=FLAGS.seed,
        strict=FLAGS.strict,
    )
    with strategy.scope():
        model = build(people)
    training.fit(
        model,
        data,
        workdir=folder / FLAGS.stage,
        epochs=FLAGS.epochs,
        strategy=strategy,
        checkpoint_steps=200,
        max_steps=FLAGS.max_steps,
        tensorboard=FLAGS.tensorboard,
        progress=FLAGS.progress,
    )
    other = FLAGS.dataset == "rendered" and FLAGS.part in ("posed", "wild")  # nobody of lab is in these
    about = {
        "command": common.command("experiments.pretrain_gcnet"),
        "commit": common.commit(),
        "data": f"{common.dataset_name()}, {len(found)} faces"
        + (f" of {len(people)} people" * (FLAGS.stage == "identify")),
        "datasets": [f"rendered/{FLAGS.part}" if other else common.dataset_name()],
        "hardware": common.hardware(),
        "seed": FLAGS.seed,
    }
    out = Path(FLAGS.out or folder / f"{FLAGS.stage}.h5")
    weights.save(model, out, provenance=about, only=PARTS[FLAGS.stage])
    print(f"{out}: {FLAGS.stage} on {about['data']}.")


if __name__ == "__main__":
    common.run(main, PRESETS)

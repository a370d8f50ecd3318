"""Trains ED2L, or its baseline, on FER-2013: what the rows "pre-trained" of Tables 2 to 5 start from (section 3.3).

    python -m experiments.pretrain_ed2l --data_dir=<folder of the three .npz files> --out=weights/ed2l_fer2013.h5
    python -m experiments.pretrain_ed2l --data_dir=... --nodispelling --out=weights/ed2l_baseline_fer2013.h5

The paper has "the same parameter settings" as for the small data sets: that is `--preset=paper`, all ten patches of
every picture, 100 epochs at 1e-4. `--preset=quick` is what two cores can do: one patch a picture and epoch, 20 epochs,
2e-4 that falls to zero (at 1e-3 the dispelling branch keeps the whole net from learning; the baseline stands it). The
epoch is chosen on the public test; the private test is read once.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from experiments import common, distilling, folds, on_fer2013
from fer_tf import pipeline, weights
from fer_tf.models import ed2l

PRESETS = {
    "paper": {"epochs": 100, "views": 0, "rate": 1e-4, "decay_to": 1.0},
    "quick": {"epochs": 20, "views": 1, "rate": 2e-4, "decay_to": 0.0},
    "smoke": {"epochs": 2, "views": 1, "batch_size": 8, "width": 0.0625},
}
common.define_training_flags(PRESETS, preset="paper", init="none", batch_size=64)
flags.DEFINE_string("out", None, "File for the weights; in --workdir when left out.")
flags.DEFINE_bool("dispelling", True, "False trains the baseline, without the dispelling branch.")
flags.DEFINE_integer("views", 0, "Random patches a picture and epoch; 0 for all ten (the paper).", lower_bound=0)
distilling.define_flags()
FLAGS = flags.FLAGS


def main() -> None:
    """Trains, picks the epoch, measures, writes the weights."""
    name = "ed2l" if FLAGS.dispelling else "ed2l_baseline"
    folder, found = common.workdir(f"pretrain_{name}"), on_fer2013.parts()
    strategy = folds.setup(FLAGS.seed)
    data = pipeline.batches(
        found["train"],
        classes=on_fer2013.SHOWN,
        template=ed2l.TEMPLATE,
        views=ed2l.views,
        batch_size=FLAGS.batch_size,
        seed=FLAGS.seed,
        views_per_image=FLAGS.views or None,
    )
    with strategy.scope():
        model = distilling.build(on_fer2013.SHOWN, FLAGS.dispelling)
        if common.init_weights():
            weights.load(model, common.init_weights())
        distilling.compile(model, FLAGS.epochs * len(data))
    out = Path(FLAGS.out or folder / f"{name}_fer2013.h5")
    on_fer2013.train(model, data, found, strategy, folder, "experiments.pretrain_ed2l", out, "float16")


if __name__ == "__main__":
    common.run(main, PRESETS)

"""GCNet's three generators alone, on people they never saw: giving a face back, and its neutral (Figs. 9 and 10).

    python -m experiments.gcnet_generators --preset=quick

For Conv.AE, Conv.VAE and DCGAN (Fig. 7): one is trained to give its input back, one to give the neutral face of the
same person, without classification. Held-out people: the pictures of Figs. 9 and 10, and what they show in numbers, the
distance to the wanted face and whether it is still the person.

One CPU core (Xeon with AMX), seed 0, `quick` (half the channels, fold 0), 19 minutes beside other work; L1, SSIM, and
dlib's distance to the input, which is 0.59 between two people:

    reconstructed: Conv.AE 0.078, 0.714, 0.40   Conv.VAE 0.139, 0.209, 0.59   DCGAN 0.127, 0.338, 0.54
    disentangled:  Conv.AE 0.121, 0.361, 0.53   Conv.VAE 0.140, 0.188, 0.58   DCGAN 0.128, 0.301, 0.55

As in the paper, both others lose the person and Conv.AE keeps who it is best (Fig. 10); it does not close every mouth.
Unlike the paper, Conv.VAE gives back worse than DCGAN: after twelve epochs its faces are still blurred. `paper` has not
been run.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from fer_tf import faces, figures, metrics, pipeline, records
from fer_tf.models import gcnet

from .run import common, folds, regeneration

PRESETS = {
    "paper": {"folds": 10, "epochs": 100, "views": 1, "only_folds": "0"},
    "quick": {"only_folds": "0", "epochs": 12, "views": 1, "width": 0.5},
    "smoke": {
        "folds": 2,
        "epochs": 1,
        "batch_size": 4,
        "max_steps": 2,
        "width": 0.0625,
        "take": 4,
        "views": 1,
        "only_folds": "0",
    },
}  # fmt: skip
common.define_flags(PRESETS, init=None, batch_size=64, classes="eight", protocol="strided")
folds.define_flags()
flags.DEFINE_list("generators", list(gcnet.GENERATORS), "Which generators.")
flags.DEFINE_enum("padding", "same", ["same", "valid"], "Of the convolutions.")
flags.DEFINE_float("rate", None, "Base learning rate; when left out, each generator's own (`RATES`).", lower_bound=0)
flags.DEFINE_float("width", 1.0, "Times the printed channels.", lower_bound=0.01)
FLAGS = flags.FLAGS

RATES = {"conv_ae": 1.0, "conv_vae": 5.0, "dcgan": 10.0}
"""Base learning rates at which means over the pixels teach each of them; the printed 0.001 leaves a decoder grey."""

TASKS = {"image": ("reconstructed", "fig9"), "reference": ("disentangled", "fig10")}
"""Target of a generator -> (what is made, the picture's file)."""


def train(generator: str, target: str, learn: list[records.Record], classes: tuple[str, ...], place: Path) -> Any:
    """A generator trained on these people for one target."""
    strategy = folds.setup(FLAGS.seed)
    pairs, _ = records.neutral_pairs(learn, classes)
    pairs = pairs if target == "reference" else {"image": pairs["image"]}
    data = folds.batches(learn, classes, gcnet, FLAGS.seed, True, pairs=pairs)

    def build() -> gcnet.Autoencoder:
        given = {"generator": generator, "target": target, "width": FLAGS.width, "padding": FLAGS.padding}
        model = gcnet.Autoencoder(seed=FLAGS.seed, **given)
        rate = RATES[generator] if FLAGS.rate is None else FLAGS.rate
        model.compile(**gcnet.optimizers(model, rate))
        return model

    return folds.train_and_test(build, data, None, place, strategy)[0]


def measure(made: np.ndarray, wanted: np.ndarray, images: np.ndarray, same: np.ndarray, where: Any) -> dict[str, float]:
    """L1 and SSIM of made faces to wanted ones, and dlib's distance to the input beside that to other people.

    Args:
      made, wanted, images: (N, 64, 64, 1) float32 in [0, 1].
      same: (N, N) bool, which inputs show one person.
      where: the face's box, for the embedding; None without the extra `landmarks`.
    """
    found = {"l1": float(np.abs(made - wanted).mean()), "ssim": regeneration.ssim(made, wanted)}
    if where is not None:
        real, own = (
            np.array([faces.embedding(np.round(255 * f).astype(np.uint8), box=where) for f in part])
            for part in (images, made)
        )
        between = np.linalg.norm(real[:, None] - real[None], axis=-1)[~same]
        told = metrics.identity_preservation(np.linalg.norm(own - real, axis=-1), between)
        found |= {"identity": told["same"], "two_people": told["between"]}
    return found


def main() -> None:
    """Records -> one fold -> each generator for both targets -> two pictures, one table."""
    start, classes = time.time(), records.classes_of(FLAGS.classes)
    if unknown := [g for g in FLAGS.generators if g not in gcnet.GENERATORS]:
        raise ValueError(f"--generators: {unknown[0]} is none of {', '.join(gcnet.GENERATORS)}.")
    if "neutral" not in classes:
        raise ValueError(f"--classes={FLAGS.classes} lacks neutral, which the generators are to make: add it.")
    if not FLAGS.views:
        raise ValueError("GCNet's views are drawn at random: give --views=1 or more.")
    found = folds.first_subjects(common.load_records(classes))
    folder = common.workdir("gcnet_generators")
    parts = common.make_folds(found, classes, folder)
    fold = parts[common.chosen_folds(len(parts))[0]]
    held_out = [found[i] for i in fold.test]
    pairs, _ = records.neutral_pairs(held_out, classes)
    kept = [(i, j) for i, j in zip(pairs["image"], pairs["reference"], strict=True) if j >= 0]
    if not kept:
        raise ValueError("Nobody of the held-out people has a neutral face to compare with: give another --only_folds.")
    cut = np.stack([pipeline.face(held_out[i], gcnet.TEMPLATE) for i, _ in kept])
    neutral = np.stack([pipeline.face(held_out[j], gcnet.TEMPLATE) for _, j in kept])
    images, neutral = (np.asarray(gcnet.views.test_view(x), np.float32) / 255 for x in (cut, neutral))
    people, shown = (np.array([getattr(held_out[i], n) for i, _ in kept]) for n in ("subject", "expression"))
    strong = [np.flatnonzero((people == p) & (shown != "neutral")) for p in records.subject_order(people)[:6]]
    strong = [rows[(5 * n + 2) % len(rows)] for n, rows in enumerate(strong) if len(rows)]
    where = regeneration.crop_box(faces.TEMPLATES[gcnet.TEMPLATE], 64) if faces.has_landmarks() else None
    table: dict[str, Any] = {}
    for target, (word, file) in TASKS.items():
        rows, titles = [], []
        for generator in FLAGS.generators:
            model = train(generator, target, [found[i] for i in fold.train], classes, folder / f"{generator}_{target}")
            made = np.concatenate([model(images[i : i + 256]) for i in range(0, len(images), 256)]).clip(0, 1)
            wanted = images if target == "image" else neutral
            few = np.random.default_rng(0).permutation(len(images))[:200]
            same = people[few][:, None] == people[few][None]
            found_here = measure(made[few], wanted[few], images[few], same, where)
            table[f"{generator}, {word}"] = {"parameters": model.count_params(), **found_here}
            neutral_made = model(neutral[strong]).numpy().clip(0, 1)
            rows += [images[strong], made[strong], neutral[strong], neutral_made]
            titles += [f"{generator}: expression", word, "neutral", word]
        figures.save(figures.grid(rows, row_titles=titles), folder / f"{file}.png")
    about = common.facts(classes, time.time() - start)
    metrics.write_metrics(folder / "metrics.json", {**about, "generation": table})
    print(text(table) + f"\nFig. 9 and Fig. 10 are in {folder}.")


def text(table: dict[str, dict[str, float]]) -> str:
    """The measures, one line a generator and task."""
    head = f"{'generator':28}{'parameters':>12}{'L1':>8}{'SSIM':>8}{'identity':>10}{'two people':>12}"
    lines = [head, "-" * len(head)]
    for name, row in table.items():
        told = [f"{row[n]:.3f}" if n in row else "-" for n in ("identity", "two_people")]
        lines.append(f"{name:28}{row['parameters']:>12,}{row['l1']:>8.3f}{row['ssim']:>8.3f}{told[0]:>10}{told[1]:>12}")
    return "\n".join(lines)


if __name__ == "__main__":
    common.run(main, PRESETS)

"""Trains ED2L, or its baseline, on FER-2013: what the rows "pre-trained" of Tables 2 to 5 start from (section 3.3).

    python -m experiments.pretrain_ed2l --data_dir=<folder of the three .npz files> --out=weights/ed2l_fer2013.h5
    python -m experiments.pretrain_ed2l --data_dir=... --nodispelling --out=weights/ed2l_baseline_fer2013.h5

The paper has "the same parameter settings" as for the small data sets: that is `--preset=paper`, all ten patches of
every picture, 100 epochs at 1e-4. `--preset=quick` is what two cores can do: one patch a picture and epoch, 20 epochs,
2e-4 that falls to zero (at 1e-3 the dispelling branch keeps the whole net from learning). Either preset trains both
nets alike, as the paper has it ("the same procedure"): change a flag for both or for none. The weights of this
repository were made so, with flags of their own (weights/README.md), and `experiments.ed2l` says it of any two that
were not. The epoch is chosen on the public test; the private test is read once.
"""

from __future__ import annotations

from pathlib import Path

from fer_tf import pipeline, weights
from fer_tf.models import ed2l

from .parts.ed2l import net
from .run import command_line, fitting, on_fer2013, provenance, settings, work
from .run.settings import FEEDS, setting

PRESETS = {
    "paper": {"epochs": 100, "views": 0, "rate": 1e-4, "decay_to": 1.0},
    "quick": {"epochs": 20, "views": 1, "rate": 2e-4, "decay_to": 0.0},
    "smoke": {"epochs": 2, "views": 1, "batch_size": 8, "width": 0.0625},
}


@settings.command(PRESETS)
class Settings(net.Net, on_fer2013.PreTraining):
    """ED2L's, and those of a training on FER-2013."""

    batch_size: int = 64
    dispelling: bool = setting(True, "False trains the baseline, without the dispelling branch.")
    views: int = setting(0, "Random patches a picture and epoch; 0 for all ten (the paper).", low=0)


@work.alone
def run(settings: Settings) -> Path:
    """Trains, picks the epoch, measures, writes the weights; gives their file."""
    name = "ed2l" if settings.dispelling else "ed2l_baseline"
    folder, listed = work.folder(settings, f"pretrain_{name}"), on_fer2013.parts(settings)
    strategy = fitting.setup(settings, settings.seed)
    data = pipeline.batches(
        listed["train"],
        classes=on_fer2013.SHOWN,
        template=ed2l.TEMPLATE,
        views=ed2l.views,
        batch_size=settings.batch_size,
        seed=settings.seed,
        views_per_image=settings.views or None,
        device=FEEDS[settings.feed],
    )
    with strategy.scope():
        model = net.build(settings, on_fer2013.SHOWN, settings.dispelling, len(data))
        if start := provenance.weights_file(settings.init):
            weights.load(model, start)
        net.compile(settings, model, settings.epochs * len(data))
    out = Path(settings.out or folder / f"{name}_fer2013.h5")
    on_fer2013.train(settings, model, data, listed, strategy, folder, "pretrain_ed2l", out, "float16")
    return out


if __name__ == "__main__":
    command_line.main(Settings, run)

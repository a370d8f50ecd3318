"""f(x)'s softmax at convergence: fitted by itself to a trained encoder's features, until its loss stands still."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from fer_tf import evaluation, pipeline, protocols
from fer_tf.models import de_gan
from fer_tf.streams import onward

from . import networks

ROUNDS = 20
"""Random views of each face, at least, of which features are taken."""
DECAYS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Half of one of these times the squared kernel of standardised features is added to the mean cross-entropy."""
SHARE = 0.2
"""Of the training people, by whom the decay is chosen."""


class Softmax(NamedTuple):
    """A softmax on features (N, F): logits = features @ kernel + bias; `still`: whether its loss stands still."""

    kernel: np.ndarray
    bias: np.ndarray
    still: bool

    def right(self, features: np.ndarray, labels: np.ndarray) -> float:
        """Share of the features (N, F) that it names as labelled, (N,) int."""
        return float(np.mean(np.argmax(features @ self.kernel + self.bias, -1) == labels))


def fitted(features: np.ndarray, labels: np.ndarray, count: int, decay: float) -> Softmax:
    """The softmax with the least mean cross-entropy + decay / 2 * its squared kernel on standardised features.

    Args:
      features: (N, F) float.
      labels: (N,) int in 0 .. count - 1.
      count: K.
      decay: >= 0.
    Returns:
      kernel (F, K) and bias (K,) float64, for features as they are.
    """
    from scipy.optimize import minimize  # slow to import

    mean, scale = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64) + 1e-6
    x, wanted = (features - mean) / scale, np.eye(count)[labels]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        kernel, bias = flat[count:].reshape(-1, count), flat[:count]
        logits = x @ kernel + bias
        logits -= logits.max(-1, keepdims=True)
        logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        off = (np.exp(logs) - wanted) / len(x)
        slope = np.concatenate([off.sum(0), (x.T @ off + decay * kernel).ravel()])
        return -np.sum(wanted * logs) / len(x) + decay / 2 * np.sum(kernel**2), slope

    start = np.zeros(count * (1 + x.shape[1]))
    options = {"maxiter": 5000, "maxfun": 10_000, "gtol": 1e-5, "ftol": 1e-10}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    kernel = found.x[count:].reshape(-1, count) / scale[:, None]
    return Softmax(kernel, found.x[:count] - mean @ kernel, bool(found.success))


def seen(gan: de_gan.DEGAN, learn: pipeline.Batches) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """f(x) of random views of training faces: features (N, code) float32, labels (N,) and people (N,) int."""
    rounds = max(1, -(-ROUNDS * learn.rows // learn.views_per_epoch))
    parts = [
        (gan.features(batch["image"]).numpy(), batch["label"].numpy(), batch["subject"].numpy())
        for batch in onward(learn.epoch, 0, rounds)
    ]
    features, labels, people = (np.concatenate(part) for part in zip(*parts, strict=True))
    return features, labels, people


def chosen(features: np.ndarray, labels: np.ndarray, people: np.ndarray, count: int, seed: int) -> float:
    """The decay of `DECAYS` by which a softmax fitted to the others names most faces of a share of the people."""
    names = [str(p) for p in np.unique(people)]
    if len(names) < 2:
        return DECAYS[len(DECAYS) // 2]
    out = np.isin(people, [int(p) for p in protocols.held_out(names, SHARE, seed)])
    rights = [fitted(features[~out], labels[~out], count, d).right(features[out], labels[out]) for d in DECAYS]
    return DECAYS[int(np.argmax(rights))]


def converged(
    settings: networks.Networks,
    gan: de_gan.DEGAN,
    learn: pipeline.Batches,
    test: pipeline.Batches,
    seed: int,
    place: Path,
) -> evaluation.Outcome:
    """f(x) alone with such a softmax, fitted to the training people's views: the network, and its answers.

    Args:
      settings: of the run.
      gan: trained; its encoder stays as it is.
      learn, test: views of the training people and of the tested ones.
      seed: of the people by whom the decay is chosen.
      place: of the fold, named on stdout.
    """
    features, labels, people = seen(gan, learn)
    decay = chosen(features, labels, people, len(gan.classes), seed)
    softmax = fitted(features, labels, len(gan.classes), decay)
    model = networks.build_classifier(settings, gan, "code", learn)
    for variable, value in zip((model.heads[-1].kernel, model.heads[-1].bias), softmax[:2], strict=True):
        variable.assign(value.astype(np.float32))
    how = "stands still" if softmax.still else "WAS STILL FALLING when its fit was ended"
    print(f"{place}: the softmax on f(x), of {len(features)} views, at a decay of {decay:g}, {how}", flush=True)
    pair = evaluation.predict(model, test)
    return evaluation.Outcome(model, {"best": pair, "last": pair})

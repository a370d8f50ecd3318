"""Checkpoints of the code whose counters were int32."""

import numpy as np
import tensorflow as tf

from fer_tf import checkpoints


class Counted(tf.Module):
    """A weight and a counter."""

    def __init__(self, dtype, value=0):
        super().__init__()
        self.weight = tf.Variable([1.0 * value, 2.0])
        self.seed_step = tf.Variable(value, dtype=dtype)


def test_an_old_counter_is_read_and_everything_else_as_it_is(tmp_path):
    old, new = Counted(tf.int32, 7), Counted(tf.int64)
    path = tf.train.Checkpoint(model=old, name=tf.Variable("abc")).save(str(tmp_path / "old"))
    name = tf.Variable("")
    checkpoints.restore(tf.train.Checkpoint(model=new, name=name), path).assert_existing_objects_matched()
    assert int(new.seed_step) == 7 and new.seed_step.dtype == tf.int64 and name.numpy() == b"abc"
    np.testing.assert_array_equal(new.weight, [7.0, 2.0])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint", "old-1.data-00000-of-00001", "old-1.index"]


def test_a_new_checkpoint_is_read_without_a_copy(tmp_path, monkeypatch):
    path = tf.train.Checkpoint(model=Counted(tf.int64, 3)).save(str(tmp_path / "new"))
    monkeypatch.setattr(checkpoints, "_widened", None)
    made = Counted(tf.int64)
    checkpoints.restore(tf.train.Checkpoint(model=made), path).assert_existing_objects_matched()
    assert int(made.seed_step) == 3

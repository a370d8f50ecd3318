"""Trained weights; README.md has a row and a model card for each. Found by `fer_tf.weights.released`."""

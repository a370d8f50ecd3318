"""fer_tf: facial expression recognition by generating faces. Five papers, one library, TensorFlow and Keras."""

__version__ = "0.1.0"

"""The command-line tools: one a paper, and predict, render_faces, benchmark."""

import os
import sys

from fer_tf import keras_settings

if sys.argv[:1] == ["-m"]:  # python -m experiments.<command>, which is about to be imported
    try:
        keras_settings.refuse_others()
    except ImportError as error:
        sys.exit(f"error: {error}")
    told = sys.excepthook

    def one_line(kind, error, traceback):
        """Ctrl-C while TensorFlow is read ends in a line, all else as it would."""
        if issubclass(kind, KeyboardInterrupt) and not os.environ.get("FER_TF_TRACEBACK"):
            print("interrupted.", file=sys.stderr)
        else:
            told(kind, error, traceback)

    sys.excepthook = one_line

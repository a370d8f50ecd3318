"""The command-line tools: one a paper, and predict, render_faces, benchmark."""

import sys

from fer_tf import keras_settings

if sys.argv[:1] == ["-m"]:  # python -m experiments.<command>, which is about to be imported
    try:
        keras_settings.refuse_others()
    except ImportError as error:
        sys.exit(f"error: {error}")

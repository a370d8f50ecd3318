"""The command-line tools: one a paper, and predict, render_faces, benchmark."""

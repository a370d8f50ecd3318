"""report.html of a run, or of several beside each other: one file that opens from a disk and asks for nothing."""

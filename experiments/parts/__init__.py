"""What one command or paper needs; one folder each."""

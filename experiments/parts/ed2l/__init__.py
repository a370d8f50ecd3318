"""What ED2L's commands need."""

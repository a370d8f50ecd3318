"""What GCNet's commands need."""

"""What only one model's benchmark has."""

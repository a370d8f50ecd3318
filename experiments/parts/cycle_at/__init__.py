"""What CycleAT's experiment needs."""

"""What the command grid alone needs."""

"""What `predict` needs."""

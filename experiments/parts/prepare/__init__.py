"""What `prepare` needs."""

"""What `export` needs."""

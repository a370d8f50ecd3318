"""What `experiments/regenerate.py` alone needs."""

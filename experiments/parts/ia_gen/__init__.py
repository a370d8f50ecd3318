"""What `experiments/ia_gen.py` alone needs."""

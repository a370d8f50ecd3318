"""What `experiments.measure_rendered` asks of networks."""

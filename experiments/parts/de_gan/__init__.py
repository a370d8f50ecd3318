"""What DE-GAN's experiment needs."""

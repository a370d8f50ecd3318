"""What the training of SE-ResNet is made of: batches with votes, and what a net is worth."""

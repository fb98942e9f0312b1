"""Training of baselines (`kind: baseline`): the author's loss and augmentation, this project's data and checkpoints."""

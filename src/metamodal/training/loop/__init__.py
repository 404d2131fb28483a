"""The training loop: the trainer, its workers, and its progress."""

"""Step 5b: meta-training, one loop."""

"""Step 5a: learners, mappings from support sets to mappings, and how stacks of episodes run through them."""

"""Step 6a: how well it works, with intervals, beside baselines, and a report to read."""

"""Step 1: from a table to tasks and episodes. No networks and no learners here."""

"""What a column is: its role, its kind, and how its numbers, dates and labels are written."""

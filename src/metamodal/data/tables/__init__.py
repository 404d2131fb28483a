"""From files to raw cells: formats, folders, and what a cell is before a kind reads it."""

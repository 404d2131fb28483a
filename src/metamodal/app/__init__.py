"""Step 6b: shells around the library. No logic lives here."""

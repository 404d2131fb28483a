"""From raw cells to tensors and vectors: read, fitted, encoded, and kept."""

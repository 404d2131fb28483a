"""Choosing among models: validation episodes, adaptation shrinkage, successive halving."""

"""Failures of production and of versions as minimal cases, in a set that every later version must pass."""

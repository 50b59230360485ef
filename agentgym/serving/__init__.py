"""Serving an agent: which version answers whom, and what is kept of it."""

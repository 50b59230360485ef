"""Live tests: two variants, customers between them, and a verdict that stays valid however often one looks."""

"""In which order: intentions as Prefect flows, each a table of contents of steps."""

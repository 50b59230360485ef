"""Cases in which one thing goes wrong, with what is right to do then known."""

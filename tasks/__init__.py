"""One step each: load by reference, one library call, save, show, return the reference."""

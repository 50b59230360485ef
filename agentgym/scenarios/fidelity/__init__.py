"""How far an environment made from traces can be trusted."""

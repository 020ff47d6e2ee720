"""How far a server is from its declaration."""

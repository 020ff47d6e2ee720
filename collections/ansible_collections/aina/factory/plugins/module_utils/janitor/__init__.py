"""What a server may forget, decided by declared limits and shown before it is done."""

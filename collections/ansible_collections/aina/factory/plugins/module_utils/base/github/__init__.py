"""GitHub over the ports: logging in, sending requests, and how they fail."""

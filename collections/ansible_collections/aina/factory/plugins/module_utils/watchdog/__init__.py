"""What is wrong with this server, since when, and who was told: pure decisions."""

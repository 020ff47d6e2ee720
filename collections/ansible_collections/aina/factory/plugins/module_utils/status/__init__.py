"""The server's state for people and programs: one document, shown in several ways; pure."""

"""The whole configuration of a server."""

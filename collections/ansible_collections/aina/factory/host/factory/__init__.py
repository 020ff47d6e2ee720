"""The ``factory`` command: the shell around the core on the server itself."""

# That of the collection.
VERSION = "0.1.0"

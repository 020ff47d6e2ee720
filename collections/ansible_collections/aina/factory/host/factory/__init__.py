"""The ``factory`` command: the shell around the core on the server itself."""

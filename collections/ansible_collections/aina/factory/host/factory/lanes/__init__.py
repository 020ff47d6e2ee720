"""The shell around lanes: containers, sockets and processes."""

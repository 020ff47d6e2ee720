"""One module per subcommand of ``factory``."""

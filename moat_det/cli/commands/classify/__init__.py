"""`moat classify`: a file for each of its subcommands."""

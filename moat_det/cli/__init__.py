"""The command `moat`: a file for each subcommand, which is imported when it is called.

`main` chooses the subcommand, `parser` and `help` read its words, `runner` ends every mistake in a line.
"""

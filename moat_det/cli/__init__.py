"""The command `moat`.

`main` chooses the subcommand, a file of `commands/` that is imported when it is called; `parser` and `help` read its
words, `runner` ends every mistake in a line.
"""

"""The command line: thin commands over flows and library."""

from agentgym.cli.entry import main

__all__ = ["main"]

"""The command line: thin commands over flows and library."""

from agentgym.cli.app import main

__all__ = ["main"]

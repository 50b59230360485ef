"""The groups of commands, `agentgym GROUP COMMAND`, one file each."""

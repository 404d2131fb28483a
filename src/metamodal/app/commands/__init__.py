"""The commands, one file each with its flags and what it does: a file in this folder is a command."""

"""The papers' tables, the command of each of their rows, and how both are set beside each other."""

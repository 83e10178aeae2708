"""Stored results: one folder per run, how it is written, read, checked and merged. Imports no torch."""

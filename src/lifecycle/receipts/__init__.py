"""Signed proof of what a purge removed."""

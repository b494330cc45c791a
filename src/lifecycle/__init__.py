"""Lifecycle: things happen later, and exactly as agreed."""

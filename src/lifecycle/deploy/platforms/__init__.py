"""Where instances run: platforms, one per region."""

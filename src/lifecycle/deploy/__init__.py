"""One live deployment per environment, switched in one piece."""

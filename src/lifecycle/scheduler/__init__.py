"""What is pending is visible, cancellable and on time."""

"""What a running Lifecycle tells about itself: metrics, logs, traces."""

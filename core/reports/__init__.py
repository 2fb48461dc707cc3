"""What leaves the store as a file."""

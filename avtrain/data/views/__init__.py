"""What a method sees of a sample."""

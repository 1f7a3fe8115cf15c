"""What a person runs on a video file of their own."""

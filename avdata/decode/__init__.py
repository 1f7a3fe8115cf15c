"""One listed clip of a media file -> pictures and sound on one clock."""

"""From files and words to what the networks read."""

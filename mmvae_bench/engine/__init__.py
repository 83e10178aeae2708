"""Training, fast and repeatable: all that is done for speed is here."""

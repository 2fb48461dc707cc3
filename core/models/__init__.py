"""Model versions: which there are, which one answers, which one listens in the shadow, and how new ones are made."""

"""Audio in, arrays out."""

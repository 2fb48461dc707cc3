"""Labelling: people say what they hear, several agree or not, and what they agree on teaches the model."""

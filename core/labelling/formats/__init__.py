"""Ratings as files: those of spreadsheets and programs, and those of the tools that label sound.

Each module writes and reads one format, and knows neither accounts nor the store: `core.labelling.exchange` does.
"""

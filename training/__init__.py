"""Programs that make models, read top to bottom; the only place that imports tensorflow."""

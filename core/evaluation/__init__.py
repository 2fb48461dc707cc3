"""Metrics: classification, calibration, selective prediction."""

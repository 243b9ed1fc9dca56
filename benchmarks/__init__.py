"""Figures: ``python -m benchmarks.main`` (accuracy and speed of the main job), ``python -m benchmarks.speed``."""

"""Prepares an experiment and runs what is missing of it."""

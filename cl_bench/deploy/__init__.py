"""Putting a model to use: what it is made of and what it costs."""

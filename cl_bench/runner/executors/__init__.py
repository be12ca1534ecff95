"""Executors: who trains the stages of a plan, and where."""

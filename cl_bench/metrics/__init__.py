"""The metrics, from predictions to numbers."""

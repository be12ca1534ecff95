"""Trained stages on disk, by key: there whole or not at all, never unpickled."""

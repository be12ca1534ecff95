"""Data sets on disk: one reader a format, the audit, the cache, the embedded data and the downloads."""

"""The layouts that data sets have on disk, one file a format."""

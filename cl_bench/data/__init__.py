"""Data sets on disk, whatever the experiment: their parts, their images, and the cache of decoded ones."""

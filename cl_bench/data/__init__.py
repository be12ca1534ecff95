"""What lies on disk: data sets in their formats, images, the cache of decoded ones; knows no experiment."""

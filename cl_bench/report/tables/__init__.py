"""Tables of results, one file each, each in every format."""

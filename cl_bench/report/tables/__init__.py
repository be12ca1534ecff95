"""Tables of results, one file each, in four formats."""

"""Downloads of the real data sets, and the subsets cut from them; only the command line imports it."""

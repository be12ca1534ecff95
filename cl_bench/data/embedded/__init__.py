"""What data sets that need no download are drawn from: digits and photographs of installed packages."""

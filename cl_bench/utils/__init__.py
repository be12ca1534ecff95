"""What does not depend on the benchmark: files, places, hashes, random streams, the machine; imports none of it."""

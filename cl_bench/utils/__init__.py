"""What could serve any project: files, hashes, random streams, the machine; knows nothing of the benchmark."""

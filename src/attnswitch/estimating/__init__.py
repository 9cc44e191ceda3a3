"""What a run will take, foretold: FLOPs, bytes, peak memory, a range of time; nothing is run."""

"""What it costs: memory, time and statistics."""

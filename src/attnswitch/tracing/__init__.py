"""What ran: the profiler's view of each site, as receipts. Stands apart from the switch."""

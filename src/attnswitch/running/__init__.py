"""`attnswitch run`: start a command under the switch, and find out whether the switch was there."""

"""The watchdog's effects: what it reads, writes, sends and repairs."""

"""Paperclip, as the watchdog knows it."""

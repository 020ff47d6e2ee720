"""Tests of the watchdog, the status and their roles, on real facts."""

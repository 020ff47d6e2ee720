"""GitHub workflows under a declared policy: locate, decide, edit by position, prove."""

"""The kinds, one a file: its settings, what it finds, what it decides and how it acts."""

"""The release marshal: which pull requests land, in which order, and why the others wait."""

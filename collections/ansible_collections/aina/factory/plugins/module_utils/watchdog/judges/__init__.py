"""From a fact to findings, one function per check."""

"""Save what cannot be made anew, and prove that it can be read back."""

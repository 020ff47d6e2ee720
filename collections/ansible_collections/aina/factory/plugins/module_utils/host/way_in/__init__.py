"""The ways in: by what, as whom and whence people come, what would close that, and the way back."""

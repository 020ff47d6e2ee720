"""The images that the factory's containers start from: built here, by content."""

"""What plugins on the control node share."""

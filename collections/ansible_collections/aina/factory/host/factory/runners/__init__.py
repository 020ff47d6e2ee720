"""The supervisor of ephemeral runners and the healer, with the effects that they need."""

"""Arms of our own: their models, servos and factory functions."""

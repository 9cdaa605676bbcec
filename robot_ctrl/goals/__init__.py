"""Goals that are seen: a picture of how things should be, or a pixel and where it should go."""

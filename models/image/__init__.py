"""Models that learn a state from pictures, and what actions do to it."""

"""Every random number of a run derives from its seed, what it is for, and a count; so a resumed run goes on alike."""

import zlib

import numpy as np


def derive_seed(seed: int, purpose: str, count: int = 0) -> int:
    """A 32-bit seed for one purpose, independent of every other purpose and count."""
    sequence = np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), count])
    return int(sequence.generate_state(1)[0])

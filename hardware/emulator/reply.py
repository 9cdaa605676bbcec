"""What a servo answers, before it is on the wire."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reply:
    """One servo's answer.

    Attributes:
        servo: the identifier of who answers.
        data: its bytes; empty for one who should answer and does not, which leaves a gap.
        delay: before its first byte, s.
        after_request: whether the delay counts from the end of the request rather than of the reply before.
    """

    servo: int
    data: bytes
    delay: float
    after_request: bool = False

"""JSON into typed values; what does not fit is refused with the field, the value and the fix."""

from decision.decoding.halves import decode_leniently
from decision.decoding.json import MOST_VALUES, JsonDecoder

__all__ = ["MOST_VALUES", "JsonDecoder", "decode_leniently"]

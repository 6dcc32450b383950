"""JSON into typed values; what does not fit is refused with the field, the value and the fix."""

from decision.decoding.json import JsonDecoder

__all__ = ["JsonDecoder"]

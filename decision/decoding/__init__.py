"""JSON into typed values; what does not fit is refused with the field, the value and the fix."""

from decision.decoding.json import MOST_VALUES, JsonDecoder

__all__ = ["MOST_VALUES", "JsonDecoder"]

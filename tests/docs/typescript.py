"""TypeScript without its types: enough of it for the examples of the documentation.

Node strips types by itself from version 22 on. For older ones this knows declarations of types,
annotations of parameters, results and constants, `as`, and type arguments of functions.
"""

from __future__ import annotations

import re

_TYPE = r"[A-Z]\w*(?:<[\w<>\[\], |]+>)?(?:\[\])?|string|number|boolean|unknown|void"
_UNION = rf"(?:{_TYPE})(?:\[\])?(?: \| (?:{_TYPE}|null))*"


def without_types(code: str) -> str:
    code = re.sub(
        r"^(?:export )?(?:type|interface) \w+ =? ?\{.*?^\};?$", "", code, flags=re.M | re.S
    )
    code = re.sub(r"^(?:export )?type \w+ = [^{]*?;$", "", code, flags=re.M)
    code = re.sub(rf"\)\s*: (?:{_UNION})(?= (?:\{{|=>))", ")", code)
    code = re.sub(rf"(\b\w+)\??: (?:{_UNION})(?=\s*[,)=])", r"\1", code)
    return re.sub(rf" as (?:{_UNION})", "", code)

"""What an answer in words says of a picture: real, fake, or nothing that can be read.

The public harnesses draw a class at random where they cannot parse an answer, so that the same answers give other
scores each time; here such an answer is None, and the caller counts it.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"\b(real|fake|authentic|synthetic|tampered)\b", re.IGNORECASE)
_FAKE = {"fake", "synthetic", "tampered"}


def is_fake(answer: str) -> bool | None:
    """True for fake, False for real, by the first sentence, else the second; None where neither says.

    Whole words count, so that "unrealistic" is not "real". A sentence that names both says nothing.

    >>> is_fake("The image looks fake. The skin is smooth."), is_fake("This is a real image."), is_fake("Hard to say.")
    (True, False, None)
    """
    sentences = [part for part in re.split(r"[.!?]+", answer) if part.strip()]
    for sentence in sentences[:2]:
        said = {word.lower() in _FAKE for word in _WORD.findall(sentence)}
        if len(said) == 1:
            return said.pop()
    return None

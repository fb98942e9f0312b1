"""Did you mean: the known name nearest to an unknown one, and the sentence that suggests it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def nearest(name: str, known: Iterable[Any], *, cutoff: float = 0.6) -> str | None:
    """Return the known name that is most like `name` (case, `-` and `_` set aside), or None where none is.

    >>> nearest("SIDA_7b", ["sida-7b", "sida-13b"])
    'sida-7b'
    >>> nearest("x", ["seed"]) is None
    True
    """
    import difflib  # only where a name is wrong

    plain = {_plain(str(candidate)): str(candidate) for candidate in known}
    close = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=cutoff)
    return plain[close[0]] if close else None


def suggestion(name: str, known: Iterable[Any], where: str = "") -> str:
    """Return what to say behind a name that is not known; `where` stands before the suggested name.

    >>> suggestion("sede", ["seed", "steps"]), suggestion("x", ["seed"])
    ('; did you mean seed?', '; it may be seed')
    """
    names = [str(candidate) for candidate in known]
    close = nearest(name, names)
    return f"; did you mean {where}{close}?" if close else f"; it may be {', '.join(names)}"


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")

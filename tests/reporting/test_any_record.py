"""Pages of records that anybody may have written: whatever `evidence` holds, the page is made and nothing escapes."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelsleuth.core.verdict import Verdict
from pixelsleuth.pictures.images import open_picture
from pixelsleuth.reporting import findings
from pixelsleuth.reporting.page import environment

EVIL = "<script>x</script>"
PICTURE = open_picture(np.zeros((20, 30, 3), np.uint8))
text = st.sampled_from([EVIL, "", "\u202egpj", "a" * 5000]) | st.text(max_size=20)
scalar = st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats() | text
anything = st.recursive(
    scalar,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=3),
    max_leaves=12,
)
places = st.lists(st.integers(-50, 50) | st.floats(), min_size=4, max_size=4) | anything
details = st.dictionaries(
    st.sampled_from(["boxes", "lines", "ingredients", "declares", "state", "prompt", "place", "tool"]),
    st.lists(places, max_size=3) | anything,
)
entries = st.fixed_dictionaries(
    {"kind": text | st.sampled_from(["c2pa", "grid", "copy_move"]), "statement": text | anything},
    optional={
        "strength": st.sampled_from(["declares", "shows", "hints"]) | anything,
        "false_alarms": scalar,
        "region": places,
        "detail": details | anything,
    },
)


@settings(max_examples=60, deadline=None)
@given(st.lists(entries, max_size=5))
def test_any_evidence_makes_a_card_without_markup_of_its_own(evidence: list[dict[str, Any]]) -> None:
    verdict = Verdict("a.jpg", evidence=evidence, examined=True, picture=PICTURE)
    values = findings.values(verdict)
    template: Any = environment().get_template("parts.html.j2").module
    page = str(template.says(values))
    assert "<script" not in page
    assert "\u202e" not in page
    assert page.count("<svg") <= 5
    assert isinstance(findings.lines(verdict), list)
    assert findings.contradiction(verdict) == ""

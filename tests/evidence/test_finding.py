"""What a record of a finding carries."""

from __future__ import annotations

import json

from pixelsleuth.evidence.finding import Finding, Illustration


def test_pictures_are_for_reports_and_stay_out_of_the_record() -> None:
    picture = Illustration("where it is", b"\x89PNG", "image/png")
    finding = Finding("grid", "A region differs.", "shows", pictures=(picture,))
    assert finding.to_dict() == Finding("grid", "A region differs.", "shows").to_dict()
    assert "where it is" not in json.dumps(finding.to_dict())

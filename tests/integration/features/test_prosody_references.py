from __future__ import annotations

import json
import math

import pytest

from core.errors import DamagedReferencesError
from core.features.prosody_reference import read_references


def test_committed_references_are_read_and_name_corpus_sex_and_licence():
    references = read_references()
    women = next(one for one in references if (one.corpus, one.sex, one.is_neutral) == ("CREMA-D", "female", True))
    men = next(one for one in references if (one.corpus, one.sex, one.is_neutral) == ("CREMA-D", "male", True))
    assert women.name == "neutral speech of women in CREMA-D"
    assert women.licence == "ODbL 1.0"
    assert min(women.n_recordings, men.n_recordings) >= 100
    pitch = [math.exp(one.statistics["pitch_median_hz"].mean) for one in (men, women)]
    assert 85 < pitch[0] < 155 < pitch[1] < 255  # Baken & Orlikoff 2000: where speaking voices of both sexes lie
    assert all(one.n_recordings >= 20 and one.licence for one in references)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "Expecting"),
        (json.dumps({"references": []}), "the field 'schema' is missing"),
        (json.dumps({"schema": "other", "references": []}), "schema is 'other'"),
        (json.dumps({"schema": "telepathy-prosody-references-1", "references": [{}]}), "'measures' is missing"),
    ],
)
def test_damaged_references_are_refused_with_the_reason(tmp_path, content, said):
    path = tmp_path / "prosody.json"
    path.write_text(content)
    with pytest.raises(DamagedReferencesError, match=said):
        read_references(path)


def test_missing_references_are_refused(tmp_path):
    with pytest.raises(DamagedReferencesError, match=r"prosody\.json cannot be used: No such file"):
        read_references(tmp_path / "prosody.json")

"""docs/findings.md says what the committed results files say."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.page.results import Results
from tests.docs.findings import BEGIN, END, FOLDER, MOST_BYTES, PAGE, block, pictures
from tests.docs.results_tables import replace_block

STUDIES = sorted(FOLDER.glob("*.json"))


def test_there_are_studies() -> None:
    assert STUDIES


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_a_study_says_what_its_results_file_says(file: Path, tmp_path: Path) -> None:
    assert file.stat().st_size <= MOST_BYTES
    results = Results.model_validate_json(file.read_bytes())
    page = tmp_path / "findings.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    replace_block(page, BEGIN.format(name=file.stem), END.format(name=file.stem), block(results))
    assert page.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")
    assert all(picture.is_file() for picture in pictures(file.stem))
    assert not results.left_out
    assert "with uncommitted changes" not in " ".join(results.git_commits)

"""The pages of the documentation."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
RUNBOOKS = sorted((ROOT / "alert_rules" / "runbooks").glob("*.md"))

"""The README is one page, its first two bash blocks are commands, and every page's links lead somewhere."""

import re
import subprocess

import cv2
import pytest

from tests.helpers.commands import ROOT

LINES, WORDS = 120, 30
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"(?m)^#+ (.*)$")


def pages():
    found = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in found.stdout.split() if (ROOT / line).exists()]


def sentences(text):
    """The sentences of a page, cells of tables and headings each on their own, without code."""
    text = re.sub(r"(?ms)^```.*?^```|^ {4}.*?$|<!--.*?-->", "", text)
    text = HEADING.sub(r"\1\n", LINK.sub("]", text))
    for block in re.split(r"\n\s*\n|\n(?=[#|-])|\|", text):
        yield from re.split(r"(?<=[.;:!?])\s+", block.replace("\n", " "))


def anchors(text):
    """Names of a page's headings as GitHub links to them."""
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in HEADING.findall(text)}


def test_readme_is_one_page_of_short_sentences():
    assert len(README.splitlines()) <= LINES
    long = [s for s in sentences(README) if len(re.findall(r"\S*\w\S*", s)) > WORDS]
    assert not long, long


def test_first_two_bash_blocks_are_the_run_and_the_test():
    first, second = re.findall(r"(?ms)^```bash\n(.*?)^```", README)[:2]
    assert first.splitlines() == [
        "pip install -e .",
        "python -m vprjax.main --config=configs/synthetic.py --workdir=runs/synthetic",
    ]
    assert re.fullmatch(r'pip install -e "\.\[test\]" torch==[\d.]+\npython -m pytest\n', second)


def test_layout_names_every_room():
    rooms = {p.parent.name for p in (ROOT / "vprjax").glob("*/__init__.py")}
    layout = README.partition("## Layout")[2]
    assert not {room for room in rooms if f"{room}/`" not in layout}


def test_links_between_pages_lead_to_files_and_headings():
    broken = []
    for page in pages():
        for link in LINK.findall(page.read_text(encoding="utf-8")):
            if re.match(r"https?:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if not target.exists():
                broken.append(f"{page.relative_to(ROOT)}: {link}")
            elif anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert not broken, broken


def test_picture_is_small_and_900_pixels_wide():
    file = ROOT / "experiments/records/matches.png"
    assert file.stat().st_size < 200_000
    assert cv2.imread(str(file)).shape[1] == 900

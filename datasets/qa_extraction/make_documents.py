"""Makes the docx and pdf documents from the texts that we wrote: python datasets/qa_extraction/make_documents.py FOLDER

FOLDER holds NAME.docx.md and NAME.pdf.md; NAME.docx and NAME.pdf appear in documents/. Headings, paragraphs, lists and
simple tables become those of Word; the pdf is printed by Chromium from the same text as HTML.
"""

import html
import re
import subprocess
import sys
import tempfile
from pathlib import Path

OUT = Path(__file__).with_name("documents")
STYLE = "body{font:15px/1.7 'Noto Sans CJK SC',sans-serif} table{border-collapse:collapse} td,th{border:1px solid #888;padding:4px 8px}"


def blocks(text: str):
    """`(kind, content)`: h1 ..., li, ol, table (rows of cells) and p."""
    rows: list[list[str]] = []
    for line in [*text.split("\n"), ""]:
        line = line.strip().replace("**", "").replace("`", "")
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                rows.append(cells)
            continue
        if rows:
            yield "table", rows
            rows = []
        if not line:
            continue
        if match := re.match(r"(#+)\s+(.*)", line):
            yield f"h{len(match[1])}", match[2]
        elif match := re.match(r"[-*]\s+(.*)", line):
            yield "li", match[1]
        else:
            yield "p", line


def docx(text: str, out: Path) -> None:
    import docx as word

    document = word.Document()
    for kind, content in blocks(text):
        if kind == "table":
            table = document.add_table(rows=len(content), cols=len(content[0]), style="Table Grid")
            for row, cells in zip(table.rows, content, strict=True):
                for cell, value in zip(row.cells, cells, strict=True):
                    cell.text = value
        elif kind.startswith("h"):
            document.add_heading(content, int(kind[1]))
        else:
            document.add_paragraph(content, style="List Bullet" if kind == "li" else None)
    document.save(out)


def pdf(text: str, out: Path) -> None:
    parts = []
    for kind, content in blocks(text):
        if kind == "table":
            rows = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in content)
            parts.append("<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>")
        else:
            parts.append(f"<{kind}>{html.escape(content)}</{kind}>")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(f"<meta charset=utf-8><style>{STYLE}</style>{''.join(parts)}", encoding="utf-8")
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-pdf-header-footer",
            f"--user-data-dir={folder}/u",
        ]
        subprocess.run(["chromium", *options, f"--print-to-pdf={out}", page.as_uri()], check=True, capture_output=True)


if __name__ == "__main__":
    for path in sorted(Path(sys.argv[1]).glob("*.*.md")):
        make = {".docx": docx, ".pdf": pdf}[Path(path.stem).suffix]
        make(path.read_text(encoding="utf-8"), OUT / path.stem)
        print(OUT / path.stem)

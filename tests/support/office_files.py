"""Files of office programs, with as little in them as the formats allow."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
A = "http://schemas.openxmlformats.org/drawingml/2006/main"
P = "http://schemas.openxmlformats.org/presentationml/2006/main"
R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
S = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_RELATIONS = f"{_PACKAGE}/relationships"
_OFFICE = "urn:oasis:names:tc:opendocument:xmlns"
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>'


def archive(entries: Mapping[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return out.getvalue()


def paragraph(text: str, *, style: str = "", more: str = "") -> str:
    properties = f'<w:pPr><w:pStyle w:val="{style}"/>{more}</w:pPr>' if style or more else ""
    return f'<w:p>{properties}<w:r><w:t xml:space="preserve">{escape(text)}</w:t></w:r></w:p>'


def item(text: str, depth: int = 0) -> str:
    number = f'<w:numPr><w:ilvl w:val="{depth}"/><w:numId w:val="1"/></w:numPr>'
    return f"<w:p><w:pPr>{number}</w:pPr><w:r><w:t>{escape(text)}</w:t></w:r></w:p>"


def table(rows: Sequence[Sequence[str]]) -> str:
    lines = (
        "<w:tr>" + "".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in row) + "</w:tr>"
        for row in rows
    )
    return f"<w:tbl>{''.join(lines)}</w:tbl>"


STYLES = f"""{_HEAD}<w:styles xmlns:w="{W}">
<w:style w:styleId="Ttulo1"><w:name w:val="heading 1"/></w:style>
<w:style w:styleId="Ttulo2"><w:name w:val="heading 2"/><w:basedOn w:val="Ttulo1"/></w:style>
<w:style w:styleId="Propio"><w:name w:val="Propio"/><w:basedOn w:val="Ttulo2"/></w:style>
<w:style w:styleId="TDC1"><w:name w:val="toc 1"/></w:style>
</w:styles>"""


def docx(body: str, *, title: str = "", more: Mapping[str, str | bytes] | None = None) -> bytes:
    document = f'{_HEAD}<w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>'
    return archive(
        {
            "[Content_Types].xml": f'{_HEAD}<Types xmlns="{_PACKAGE}/content-types"/>',
            "word/document.xml": document,
            "word/styles.xml": STYLES,
            "docProps/core.xml": _core(title),
            **(more or {}),
        }
    )


def _core(title: str) -> str:
    dc = "http://purl.org/dc/elements/1.1/"
    return f'{_HEAD}<c xmlns:dc="{dc}"><dc:title>{escape(title)}</dc:title></c>'


def shape(*texts: str, placeholder: str = "body") -> str:
    lines = "".join(f"<a:p><a:r><a:t>{escape(text)}</a:t></a:r></a:p>" for text in texts)
    kind = f'<p:nvSpPr><p:nvPr><p:ph type="{placeholder}"/></p:nvPr></p:nvSpPr>'
    return f"<p:sp>{kind}<p:txBody>{lines}</p:txBody></p:sp>"


def pptx(slides: Sequence[str], notes: Mapping[int, str] | None = None) -> bytes:
    """Return a presentation. The files have the opposite order of the slides."""
    count = len(slides)
    ids = "".join(f'<p:sldId id="{256 + n}" r:id="rId{n}"/>' for n in range(count))
    entries = {
        "ppt/presentation.xml": f'{_HEAD}<p:presentation xmlns:p="{P}" xmlns:r="{R}"><p:sldIdLst>'
        f"{ids}</p:sldIdLst></p:presentation>",
        "ppt/_rels/presentation.xml.rels": _relations(
            {f"rId{n}": ("slide", f"slides/slide{count - n}.xml") for n in range(count)}
        ),
    }
    for number, content in enumerate(slides):
        name = f"slide{count - number}.xml"
        entries[f"ppt/slides/{name}"] = _slide("sld", content)
        if notes and number in notes:
            entries[f"ppt/slides/_rels/{name}.rels"] = _relations(
                {"rId1": ("notesSlide", "../notesSlides/notes.xml")}
            )
            entries["ppt/notesSlides/notes.xml"] = _slide("notes", notes[number])
    return archive(entries)


def _slide(kind: str, content: str) -> str:
    return f'{_HEAD}<p:{kind} xmlns:p="{P}" xmlns:a="{A}">{content}</p:{kind}>'


def _relations(targets: Mapping[str, tuple[str, str]]) -> str:
    lines = "".join(
        f'<Relationship Id="{name}" Type="{R}/{kind}" Target="{target}"/>'
        for name, (kind, target) in targets.items()
    )
    return f'{_HEAD}<Relationships xmlns="{_RELATIONS}">{lines}</Relationships>'


def xlsx(sheets: Mapping[str, str]) -> bytes:
    """Return a workbook. A sheet is the XML of its rows; style 1 is a date."""
    names = list(sheets)
    listed = "".join(
        f'<sheet name="{escape(name)}" sheetId="{n}" r:id="rId{n}"/>'
        for n, name in enumerate(names, 1)
    )
    targets = {f"rId{n}": ("worksheet", f"worksheets/s{n}.xml") for n in range(1, len(names) + 1)}
    return archive(
        {
            "[Content_Types].xml": f'{_HEAD}<Types xmlns="{_PACKAGE}/content-types"/>',
            "_rels/.rels": _relations({"rId1": ("officeDocument", "xl/workbook.xml")}),
            "xl/workbook.xml": f'{_HEAD}<workbook xmlns="{S}" xmlns:r="{R}"><sheets>{listed}'
            "</sheets></workbook>",
            "xl/_rels/workbook.xml.rels": _relations(
                {**targets, "rId99": ("styles", "styles.xml")}
            ),
            "xl/styles.xml": f'{_HEAD}<styleSheet xmlns="{S}"><cellXfs><xf numFmtId="0"/>'
            '<xf numFmtId="14"/></cellXfs></styleSheet>',
            **{
                f"xl/worksheets/s{n}.xml": f'{_HEAD}<worksheet xmlns="{S}"><sheetData>'
                f"{sheets[name]}</sheetData></worksheet>"
                for n, name in enumerate(names, 1)
            },
        }
    )


def sheet_row(number: int, *cells: str | float, date: int | None = None, formula: str = "") -> str:
    """Return a row: texts, numbers, a date as a serial number, a formula for the last number."""
    parts = []
    for place, cell in enumerate(cells):
        where = f"{'ABCDEFGH'[place]}{number}"
        if isinstance(cell, str):
            parts.append(f'<c r="{where}" t="inlineStr"><is><t>{escape(cell)}</t></is></c>')
        else:
            kind = f"<f>{escape(formula)}</f>" if formula and place == len(cells) - 1 else ""
            style = ' s="1"' if cell == date else ""
            parts.append(f'<c r="{where}"{style}>{kind}<v>{cell}</v></c>')
    return f'<row r="{number}">{"".join(parts)}</row>'


def odt(body: str, *, title: str = "", manifest: str = "") -> bytes:
    spaces = " ".join(
        f'xmlns:{name}="{_OFFICE}:{name}:1.0"' for name in ("office", "text", "table")
    )
    content = f"{_HEAD}<office:document-content {spaces}><office:body><office:text>{body}"
    return archive(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": f"{content}</office:text></office:body></office:document-content>",
            "meta.xml": _core(title),
            "META-INF/manifest.xml": f"{_HEAD}<m>{manifest}</m>",
        }
    )

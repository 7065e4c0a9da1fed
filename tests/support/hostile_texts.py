"""Texts that attack their readers."""

from hostile_files import BOUNDS, DAMAGED, MANY, MEMORY, NO_TEXT, TOO_LONG, hostile

MAIL = "Subject: x\n"
PARTS = f"{MAIL}Content-Type: multipart/mixed; boundary=b\n\n"


TEXTS = [
    hostile("full-stops.txt", lambda: ". " * 200_000),
    hostile("short-lines.txt", lambda: "a\n" * 200_000),
    hostile("rows.txt", lambda: "- a\n" * 100_000),
    hostile("one-line.txt", lambda: "x" * 5_000_000),
    hostile("blank-lines.txt", lambda: " \n" * 1_000_000 + "a"),
    hostile("nothing.txt", lambda: " \n" * 1_000_000, NO_TEXT),
    hostile("headings.md", lambda: "# a\n" * 110_000, MANY),
    hostile("underlines.md", lambda: "a\n=\n" * 50_000),
    hostile("fences.md", lambda: "```\n" * 100_000),
    hostile("backticks.md", lambda: "`" * 1_000_000),
    hostile("asterisks.md", lambda: "*a **b " * 100_000),
    hostile("references.md", lambda: "[a]: b\n" * 100_000),
    hostile("brackets.md", lambda: "[" * 1_000_000),
    hostile("columns.csv", lambda: "a," * 200_000 + "\n" + "b," * 200_000),
    hostile("cells.csv", lambda: ("a," * 500 + "\n") * 400),
    hostile("quotes.csv", lambda: '"' * 3_000_000, DAMAGED),
    hostile("nested.json", lambda: "[" * 100_000 + "]" * 100_000, DAMAGED),
    hostile("nested-names.json", lambda: '{"a":' * 100_000 + "1" + "}" * 100_000, DAMAGED),
    hostile("digits.json", lambda: f"[{'9' * 1_000_000}]"),
    hostile("sections.json", lambda: "[" + '{"a":{"b":1}},' * 110_000 + "1]", MANY),
    hostile("open-tags.html", lambda: "<div>" * 100_000 + "x"),
    hostile("tables.html", lambda: "<table><tr><td>" * 50_000 + "x"),
    hostile("attributes.html", lambda: f"<a {'b=c ' * 200_000}>x"),
    hostile("angles.html", lambda: "<" * 200_000),
    hostile("ampersands.html", lambda: "&" * 1_000_000),
    hostile("comments.html", lambda: "<!--" * 400_000, TOO_LONG, NO_TEXT, None),
    hostile("hidden.html", lambda: "<nav>" * 300_000 + "</b></nav>" * 300_000, TOO_LONG, NO_TEXT),
    hostile(
        "nested.eml", lambda: MAIL + "Content-Type: message/rfc822\n\n" * 5000, DAMAGED, NO_TEXT
    ),
    hostile("parts.eml", lambda: PARTS + "--b\n\na\n" * 300_000, TOO_LONG, BOUNDS),
    hostile("headers.eml", lambda: MAIL + "A: b\n" * 100_000 + "\nhello"),
    hostile(
        "recipients.eml",
        lambda: f"{MAIL}To: {'a@b.c, ' * 100_000}\n\nhello",
        TOO_LONG,
        MEMORY,
        None,
    ),
    hostile("brackets.eml", lambda: f"{MAIL}To: {'(' * 50_000}\n\nhello", DAMAGED, None),
]

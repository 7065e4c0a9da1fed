"""A company with 40 documents and five people, to talk to: `python tasks.py demo`.

Serves in a temporary folder, which is removed at the end, and prints who may ask what. With `--ask`
the people ask their questions, and the answers are printed; then it ends.
"""

import argparse
import io
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from demo_service import DemoFailed, DemoService, demo_service, upload
from example_company import Company, Person, Question, example_company

_LONGEST = 300


def introduction(service: DemoService, company: Company) -> str:
    lines = [f"\nserving: {service.url}    documentation: {service.url}/docs", ""]
    for person in company.people:
        roles = ", ".join(person.roles)
        lines += [
            f"{person.name} ({person.department}; {roles})",
            f"  e-mail:   {person.email}",
            f"  password: {service.passwords[person.email]}",
            "  questions:",
            *(
                f"    {'+' if question.file else '-'} {question.text}"
                for question in person.questions
            ),
            "  ask with:",
            f"    {_curl(service, person)}",
            "",
        ]
    lines.append("+ has an answer that this person may read; - has none, or it is not for them.")
    return "\n".join(lines)


def _curl(service: DemoService, person: Person) -> str:
    """Returns a command that shells of Windows understand, too."""
    question = person.questions[0].text
    return (
        f'curl -s {service.url}/chat -H "X-API-Key: {service.api_key}" '
        f'-H "Authorization: Bearer {service.sign_in(person)}" '
        f'-H "Content-Type: application/json" -d "{{\\"prompt\\": \\"{question}\\"}}"'
    )


def ask(service: DemoService, company: Company) -> str:
    """Returns what each of the people gets as answers, and a line about the citations."""
    titles = {document.title: document.file for document in company.documents}
    lines, right, wrong = [], 0, 0
    for person in company.people:
        lines.append(f"\n{person.name} ({person.department}; {', '.join(person.roles)})")
        for question in person.questions:
            body = {"prompt": question.text, "session_id": None}
            answer = service.call("POST", "/chat", body, by=service.sign_in(person))
            cited = [titles[each["title"]] for each in answer["citations"]]
            is_right = _is_right(question, cited)
            right, wrong = right + is_right, wrong + (not is_right)
            lines += _said(question, answer, cited, is_right=is_right)
    lines.append(f"\n{right} of {right + wrong} answers cite what was expected.")
    return "\n".join(lines)


def _is_right(question: Question, cited: list[str]) -> bool:
    return question.file in cited if question.file else not cited


def _said(question: Question, answer: Any, cited: list[str], *, is_right: bool) -> list[str]:
    text = " ".join(answer["text"].split())
    return [
        f"  {'+' if is_right else '!'} {question.text}",
        f"      {text[:_LONGEST]}",
        f"      cites: {', '.join(dict.fromkeys(cited)) or 'nothing'}",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    port = int(os.environ.get("PORT", "0"))
    parser.add_argument("--port", type=int, default=port, help="by default PORT, or a free one")
    parser.add_argument("--ask", action="store_true", help="ask all questions, and end")
    options = parser.parse_args()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a console without these characters must not raise
            stream.reconfigure(errors="replace")
    company = example_company()
    (administrator,) = (person for person in company.people if "admin" in person.roles)
    with (
        tempfile.TemporaryDirectory(prefix="chatbot-demo-", ignore_cleanup_errors=True) as folder,
        demo_service(Path(folder), company, port=options.port) as (service, process),
    ):
        print(f"loading {len(company.documents)} documents ...", flush=True)
        upload(service, company.documents, by=administrator)
        if options.ask:
            print(ask(service, company), flush=True)
            return 0
        print(introduction(service, company), "Ctrl-C stops it.", sep="\n", flush=True)
        return process.wait()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DemoFailed as error:
        sys.stderr.write(f"demo: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)

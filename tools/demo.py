"""A company with 40 documents and five people, to talk to: `python tasks.py demo`.

Serves in a temporary folder, which is removed at the end, and prints who may ask what. With `--ask`
the people ask their questions, and the answers are printed; then it ends.
"""

import argparse
import io
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

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
    administrator = company.administrator
    lines += [
        f"{administrator.name} (loads the documents, and may read all of them)",
        f"  e-mail:   {administrator.email}",
        f"  password: {service.passwords[administrator.email]}",
        "",
        "+ has an answer that this person may read; - has none, or it is not for them.",
    ]
    return "\n".join(lines)


def _curl(service: DemoService, person: Person) -> str:
    """Returns a command that shells of Windows understand, too."""
    question = person.questions[0].text
    return (
        f'curl -s {service.url}/chat -H "X-API-Key: {service.api_key}" '
        f'-H "Authorization: Bearer {service.sign_in(person)}" '
        f'-H "Content-Type: application/json" -d "{{\\"prompt\\": \\"{question}\\"}}"'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The answer to a question, and the files that it cites."""

    person: Person
    question: Question
    text: str
    cited: tuple[str, ...]

    @property
    def is_right(self) -> bool:
        return self.question.is_met_by(self.text, self.cited)

    @property
    def lines(self) -> list[str]:
        return [
            f"  {'+' if self.is_right else '!'} {self.question.text}",
            f"      {' '.join(self.text.split())[:_LONGEST]}",
            f"      cites: {', '.join(self.cited) or 'nothing'}",
        ]


def ask(service: DemoService, company: Company) -> list[Answered]:
    """Returns what each of the people gets as answers to their questions."""
    titles = {document.title: document.file for document in company.documents}
    found = []
    for person in company.people:
        for question in person.questions:
            body = {"prompt": question.text, "session_id": None}
            answer = service.call("POST", "/chat", body, by=service.sign_in(person))
            cited = dict.fromkeys(titles[each["title"]] for each in answer["citations"])
            found.append(
                Answered(person=person, question=question, text=answer["text"], cited=tuple(cited))
            )
    return found


def report(found: Sequence[Answered]) -> str:
    """Returns the answers of each of the people, and how many are right."""
    lines = []
    for person, answers in groupby(found, key=lambda each: each.person):
        lines.append(f"\n{person.name} ({person.department}; {', '.join(person.roles)})")
        lines += [line for each in answers for line in each.lines]
    right = sum(each.is_right for each in found)
    return "\n".join([*lines, f"\n{right} of {len(found)} answers are as expected."])


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
    with (
        tempfile.TemporaryDirectory(prefix="chatbot-demo-", ignore_cleanup_errors=True) as folder,
        demo_service(Path(folder), company, port=options.port) as (service, process),
    ):
        print(f"loading {len(company.documents)} documents ...", flush=True)
        upload(service, company.documents, by=company.administrator)
        if options.ask:
            print(report(ask(service, company)), flush=True)
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

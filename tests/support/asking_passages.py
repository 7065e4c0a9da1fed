"""Questions to `local/extractive` with passages, as the prompt of a turn holds them."""

import json

from chatbot.adapters.llm.extractive.model import answer


def passages(
    *texts: str, title: str = "Holidays", heading: str = "Rules"
) -> list[dict[str, object]]:
    return [
        {"n": n, "title": title, "heading": heading, "text": text}
        for n, text in enumerate(texts, start=1)
    ]


def asked(prompt: str, *before: str, **data: object) -> str:
    """Returns the answer to a prompt with this content of the data block, after these messages."""
    block = f"<data-0123456789abcdef>\n{json.dumps(data)}\n</data-0123456789abcdef>\n\n"
    history = [
        (role, text) for each in before for role, text in (("user", each), ("assistant", "OK."))
    ]
    return answer("chat", [*history, ("user", block + prompt)], notice=False)

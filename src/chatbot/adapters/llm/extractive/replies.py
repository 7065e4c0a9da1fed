"""Composes the answers of `local/extractive`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from chatbot.adapters.llm.extractive.candidates import Passage
from chatbot.adapters.llm.extractive.document_replies import mentions_reply, quoted_reply
from chatbot.adapters.llm.extractive.language import CODES, Code, Language, language
from chatbot.adapters.llm.extractive.learning import Learned, items, learned, stems
from chatbot.adapters.llm.extractive.statements import (
    is_question,
    languages_of,
    plain_sentences,
    stated,
)
from chatbot.adapters.llm.extractive.summary import relevant, sentences
from chatbot.adapters.llm.extractive.wording import wording
from chatbot.domain.memory import Update
from chatbot.domain.text import detect_language, fold

_EARLIER_CHARS = 1500
_REPEATED_CHARS = 200
_ANY_MESSAGE = frozenset(
    {"hello", "identity", "thanks", "bye", "laugh", "task", "forget", "done", "note"}
)
_STYLE = ("tone", "length", "format")
_ONLY_IF_NOTHING_ELSE = frozenset({"task", "forget", "done", "note"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """The input of an answer: the newest message, and what is known besides.

    `system` is the system text: its language is the last resort. `passages` are those of documents,
    None if none were searched; `recalled` is what the person said in other conversations.
    """

    prompt: str
    earlier: Sequence[str] = ()
    memory: Update = field(default_factory=Update)
    summary: str = ""
    system: str = ""
    passages: Sequence[Passage] | None = None
    recalled: Sequence[str] = ()


def reply(talk: Conversation, *, notice: bool = True) -> str:
    """Answer from the newest message, then from memory, then from earlier messages.

    The first answer ends with a notice that this is not a language model, unless `notice` is False, or
    it is about documents.
    """
    earlier = [text[:_EARLIER_CHARS] for text in talk.earlier]
    memory = _caught_up(talk.memory, earlier)
    new = learned([talk.prompt], memory)
    known = language(_code_of(talk, {**memory.preferences, **new.preferences}))
    text = _changes(new, known, memory)
    memory = _merged(memory, new)
    asked = _asked(talk.prompt)
    if asked and (not text or (asked not in _ONLY_IF_NOTHING_ELSE and is_question(talk.prompt))):
        answer = _ANSWERS.get(asked, _answer)
        text = "\n\n".join(filter(None, [text, answer(asked, known, memory, talk)]))
    if not text:
        text = _other(talk, known, memory, earlier)
    elif not asked and is_question(talk.prompt):
        text = "\n\n".join(filter(None, [text, _from_documents(talk, known)]))
    is_first = not (earlier or talk.summary) and not (asked == "" and _is_about_documents(talk))
    return f"{text}\n\n{known.phrases['notice']}" if is_first and notice else text


def _is_about_documents(talk: Conversation) -> bool:
    return talk.passages is not None and is_question(talk.prompt)


def _caught_up(memory: Update, earlier: Sequence[str]) -> Update:
    """The memory, updated from the last message, or from all messages if it is empty.

    Stored values take precedence: a person may have corrected them since.
    """
    if not any(items(memory)):
        return _merged(Update(), learned(earlier, Update()))
    new = learned(earlier[-1:], memory)
    new.profile = {k: v for k, v in new.profile.items() if k not in memory.profile}
    new.preferences = {k: v for k, v in new.preferences.items() if k not in memory.preferences}
    return _merged(memory, new)


def _code_of(talk: Conversation, preferences: Mapping[str, str]) -> Code:
    """The preferred language, else that of the message, of earlier ones, or of the system text."""
    preferred = preferences.get("language", "")[:2].lower()
    texts = (talk.prompt, *reversed(talk.earlier), talk.system)
    stated = [code for code in CODES if code == preferred]
    detected = (code for text in texts if (code := detect_language(text)))
    return next((code for code in (*stated, *detected)), "es")


def _asked(prompt: str) -> str:
    """The name of the pattern that recognises the request, or an empty string."""
    is_asking = is_question(prompt)
    found = (
        key
        for known in languages_of(prompt)
        for plain in [" ".join(plain_sentences(prompt, known))]
        for key, pattern in known.asks.items()
        if (is_asking or key in _ANY_MESSAGE) and pattern.search(plain)
    )
    return next(found, "")


def _changes(new: Learned, known: Language, memory: Update) -> str:
    """Confirms what was learnt, and which stored items are forgotten or done."""
    keyed = {key: value for key, value in new.keyed().items() if value}
    stored = {*memory.profile, *memory.preferences, *items(memory)}
    forgotten = [known.labels.get(each, each) for each in new.forget if each in stored]
    done = [each for each in new.done if each in stored]
    listed = [*new.facts, *new.todos]
    name = f", {keyed['name']}" if "name" in keyed else _name(memory)
    noted = _listed([*_labelled(keyed, known), *listed])
    parts = {
        "met" if [*keyed] == ["name"] and not listed else "noted": noted,
        "forgotten": _listed(forgotten),
        "done": _listed(done),
    }
    said = [known.phrases[key].format(name=name, items=each) for key, each in parts.items() if each]
    return "\n\n".join(said)


def _answer(asked: str, known: Language, memory: Update, talk: Conversation) -> str:
    keyed = {**memory.profile, **memory.preferences}
    phrases = known.phrases
    if asked == "tone" and (style := {k: v for k, v in keyed.items() if k in _STYLE}):
        return phrases["found"].format(items=_listed(_labelled(style, known)))
    if asked in keyed:
        shown = _shown(asked, keyed[asked], known)
        label = known.labels.get(asked, asked).capitalize()
        return phrases.get(asked, phrases["keyed"]).format(label=label, value=shown)
    if asked == "todos" and memory.todos:
        return phrases["todos"].format(items=_listed(memory.todos))
    if asked == "about":
        everything = [*_labelled(keyed, known), *memory.facts, *memory.todos]
        if listed := _listed([*everything, *_beyond_items(talk.summary)]):
            return phrases["about"].format(items=listed)
    if asked == "department":
        plain = {each: f" {wording(each, known.spelling).plain}" for each in memory.facts}
        if found := [each for each in memory.facts if known["department"].search(plain[each])]:
            return phrases["found"].format(items=_listed(found))
    unknown = phrases.get(f"no_{asked}")
    phrase = unknown or phrases.get(f"to_{asked}") or phrases["nothing"]
    may_be_found = unknown or asked == "task"
    return (may_be_found and _from_documents(talk, known)) or phrase.format(name=_name(memory))


def _beyond_items(summary: str) -> list[str]:
    """The summary without statements, which are items of memory already."""
    others = [each for each in sentences(summary) if not stated(each)]
    return [" ".join(others)] if others else []


def _other(talk: Conversation, known: Language, memory: Update, earlier: Sequence[str]) -> str:
    """Answer a question with the best matching sentences; acknowledge any other message."""
    documents = _from_documents(talk, known)
    if not (is_question(talk.prompt) or _is_lookup(talk.prompt)):
        others = mentions_reply(talk.prompt, talk.passages or (), known)
        return documents or others or known.phrases["acknowledged"].format(name=_name(memory))
    keyed = _labelled({**memory.profile, **memory.preferences}, known)
    best = relevant(talk.prompt, [*memory.facts, *memory.todos, *keyed])
    if documents and not best:
        return documents
    best = best or relevant(talk.prompt, [talk.summary, *earlier], but_statements=True)
    best = best or relevant(talk.prompt, talk.recalled)
    if best:
        found = known.phrases["found"].format(items=_listed(best))
        return "\n\n".join(filter(None, [found, documents]))
    return known.phrases["nothing" if talk.passages is None else "no_documents"]


def _from_documents(talk: Conversation, known: Language) -> str:
    if not talk.passages:
        return ""
    asks = is_question(talk.prompt) or _is_lookup(talk.prompt)
    return quoted_reply(talk.prompt, talk.earlier[::-1], talk.passages, known, is_question=asks)


def _is_lookup(prompt: str) -> bool:
    """Whether the prompt asks to tell or show something."""
    return any(
        known["lookup"].search(plain)
        for known in languages_of(prompt)
        for plain in plain_sentences(prompt, known)
    )


def _reported(_: str, known: Language, memory: Update, talk: Conversation) -> str:
    """What the person has said about something, in this conversation or in others."""
    keyed = _labelled({**memory.profile, **memory.preferences}, known)
    texts = [*memory.facts, *memory.todos, *keyed]
    wanted = stems(talk.prompt) - stems(known.phrases["telling"])
    best = relevant(talk.prompt, texts, wanted) or relevant(talk.prompt, talk.recalled, wanted)
    if not best:
        return known.phrases["nothing"]
    return known.phrases["found"].format(items=_listed(best))


def _again(_: str, known: Language, _memory: Update, talk: Conversation) -> str:
    """The question before."""
    if not talk.earlier:
        return known.phrases["no_again"]
    return known.phrases["again"].format(value=talk.earlier[-1][:_REPEATED_CHARS])


_ANSWERS: Mapping[str, Callable[[str, Language, Update, Conversation], str]] = {
    "told": _reported,
    "again": _again,
}


def _merged(memory: Update, new: Learned) -> Update:
    gone = {fold(each) for each in (*new.forget, *new.done)}

    def kept(texts: Sequence[str], new: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each for each in (*texts, *new) if fold(each) not in gone))

    def keyed(old: dict[str, str], new: dict[str, str]) -> dict[str, str]:
        return {key: value for key, value in (old | new).items() if key not in gone}

    return Update(
        profile=keyed(dict(memory.profile), new.profile),
        preferences=keyed(dict(memory.preferences), new.preferences),
        facts=kept(memory.facts, new.facts),
        todos=kept(memory.todos, new.todos),
    )


def _labelled(keyed: dict[str, str], known: Language) -> list[str]:
    return [
        f"{known.labels.get(key, key)}: {_shown(key, value, known)}" for key, value in keyed.items()
    ]


def _shown(key: str, value: str, known: Language) -> str:
    """A value in words: a language by its name."""
    return known.shown.get(value.lower(), value) if key in ("language", "tone") else value


def _listed(texts: Sequence[str]) -> str:
    return "".join(f"\n- {text}" for text in texts)


def _name(memory: Update) -> str:
    name = memory.profile.get("name", "")
    return f", {name}" if name else ""

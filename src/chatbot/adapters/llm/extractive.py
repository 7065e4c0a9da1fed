"""`local/extractive`: answers by rules, offline, where no language model is connected."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from genkit import ActionRunContext, Genkit, Part
from genkit.model import FinishReason, Message, ModelRequest, ModelResponse, ModelResponseChunk
from pydantic import BaseModel, JsonValue

from chatbot.domain.memory import MAX_VALUE_CHARS, update_from_json
from chatbot.domain.ports.model import Task
from chatbot.domain.text import fold

NAME = "local/extractive"
Items = list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """All that is known of one language: patterns (accents optional), phrases to `say`, labels.

    A word in capitals is one of `_VALUES`; `weak` words begin no value, `end` words end one. What
    has a `doubt`, is a question but no `request`, or comes after `foreign` words, states nothing.
    """

    labels: dict[str, str]
    lines: str


_LANGUAGES = {
    "es": Language(
        labels={"name": "nombre", "role": "puesto", "language": "idioma", "tone": "tono"},
        lines=r"""
            tongue: español|castellano|spanish
            word: buenas|como|con|cual|cuando|de|dias|donde|el|en|es|hola|gracias|me|mi|que|te
            opener: hola|buen[oa]s(?: días)?|por favor|yo|a partir de ahora|mañana|recuerda que
            request: (?:me )?(?:puedes|podrías)
            doubt: ^si (?!puedes)|\b(?:imagin|supón|finge|dijo|dice|dicen|según|ojalá)
            foreign: \b(?:ignora|olvida)\b|(?:traduce|resume|corrige|este correo)[^:\n]{0,80}:
            end: y|e|pero|porque|en|desde|para|con
            weak: un|una|muy|admitir|reconocer|decir|saber|irme|ser|español|inglés|francés|géminis
            job: ingenier|abogad|programador|responsable|jef[ea]\b|director|técnic|arquitect|camarer
            role: (?:trabajo (?:como|de)|mi (?:puesto|cargo) es|soy(?: la| el| una)?) (?=JOB)ROLE
            name: (?:me llamo|mi nombre(?: completo)? es) NAME|(?:soy|llámame|llamarme) PROPER
            language: (?:hábla|háblar|contésta|respónde)(?:me)?(?: siempre)?(?: en)? (TONGUE)
            tone: (?:prefiero|me gustan|sé)(?: las| más)?(?: respuestas)? (breve|cort[oa]|formal)
            todos: (?:tengo que|debo|no (?:te )?olvides(?: de)?) REST
            todos: (?:recuérda|recordar|apúnta)(?:me)?(?: mañana)?(?: que tengo que)? (?=\w+r\b)REST
            facts: (?:recuerda|ten en cuenta|apunta) que REST|(mi (?:cumpleaños es|\w+ se llama) .+)
            facts: ((?:(?:vivo|trabajo) (?:en|para)|soy (?:de|alérgic[oa])|mi color favorito es) .+)
            ask name: cómo me llamo|mi nombre\?|es mi nombre|quién soy
            ask about: qué (?:sabes|recuerdas)(?: \w+)?(?: (?:de|sobre) mí|\W*$)
            ask todos: (?:mis|qué) tareas|tareas pendientes|qué tengo (?:que hacer|pendiente)
            say notice: No soy un modelo de lenguaje. Conecta uno: OPENAI_API_KEY u OPENAI_BASE_URL.
            say greeting: Hola{name}. Puedo recordar lo que me cuentes y tus tareas y preferencias.
            say about: Esto es lo que recuerdo:{items}
            say noted: Tomo nota{name}:{items}
            say nothing: No tengo nada sobre eso.
        """,
    ),
    "en": Language(
        labels={"name": "name", "role": "job", "language": "language", "tone": "tone"},
        lines=r"""
            tongue: inglés|english
            word: about|do|for|good|have|hello|hey|hi|how|i|is|me|morning|my|thanks|the|to|what|you
            opener: hello|hi|hey|there|please|thanks|also|by the way|from now on|remember(?: that)?
            request: (?:can|could|would|will) you(?: please)?|you can
            doubt: ^if (?!you can)|\b(?:imagine|suppose|pretend|wish|what if|said|says|told|states)
            foreign: \bignore (?:all|the|your|previous)\b|(?:translate|rewrite)[^:\n]{0,80}:
            end: and|but|because|at|in|for|from|since|with|here
            weak: not|too|on|an?|say|admit|agree|be|know|spanish|english|british|american|sorry
            job: engineer|developer|designer|analyst|lawyer|manager|head of|teacher|nurse|electric
            role: (?:my (?:job title|role) is|(?:i work as|i'm|i am) (?:an?|the)) (?=JOB)ROLE
            name: my (?:full )?name(?: is|'s) NAME|(?:i'm|i am|call me) PROPER
            language: (?:(?:i'd prefer to )?speak|(?:answer|reply|write)(?: me)? in) (TONGUE)
            tone: (?:i prefer|i like|be|keep)(?: it| more| your \w+)? (brief|short|concise|detailed)
            todos: (?:(?:i have|i've got|i need|remind me|don't forget) to|i must|i should) REST
            facts: (?:remember|keep in mind|note) that REST|(my (?:birthday|favou?rite \w+) is .+)
            facts: ((?:i (?:live|work) (?:in|at|for|with)|i(?:'m| am) (?:from|based|allergic)) .+)
            ask name: what(?:'s| is) my name|know my name|who am i\b
            ask about: what (?:do|can) you (?:know|remember)(?: (?:about|of) me|\W*$)
            ask todos: (?:my|what|which) (?:tasks|to-?dos?)\b|what do i have to do
            say notice: I am no language model. Connect one: set OPENAI_API_KEY or OPENAI_BASE_URL.
            say greeting: Hello{name}. I can remember what you tell me, tasks and preferences.
            say about: This is what I remember:{items}
            say noted: Noted{name}:{items}
            say nothing: I have nothing on that.
        """,
    ),
}
_LINES = {
    code: [line.strip().partition(": ")[::2] for line in each.lines.strip().splitlines()]
    for code, each in _LANGUAGES.items()
}


def _any(key: str) -> str:
    return "|".join(text for lines in _LINES.values() for each, text in lines if each == key)


def _regex(pattern: str) -> re.Pattern[str]:
    optional = re.sub("[áéíóú]", lambda vowel: f"[{vowel[0]}{fold(vowel[0])}]", pattern)
    return re.compile(optional.replace("'", "['\u2019]"), re.IGNORECASE | re.DOTALL)


_CODES = {fold(t): c for c in _LINES for t in dict(_LINES[c])["tongue"].split("|")}
_KEYED = {"name": "profile", "role": "profile", "language": "preferences", "tone": "preferences"}
_SPOKEN = {c: re.compile(rf"\b(?:{dict(_LINES[c])['word']})\b") for c in _LINES}
_EMPTY = _any("word").split("|")
_PICTURE = r"(?::-?[()DP]|[\u2600-\u27BF\U0001F000-\U0001FAFF])"  # :) or an emoji
_STRONG = rf"(?!(?:{_any('weak')})\b)"
_END = rf"(?=[,.!?:]| ?{_PICTURE}|$| (?:{_any('end')})\b)"
_WORD = rf"(?!(?:{_any('end')})\b){_STRONG}[^\W\d_](?:[\w-]|')*"
_CAPITAL = r"(?-i:[A-ZÀ-Þ](?:[\w-]|')*[a-zß-ÿ])"
_VALUES = {
    "NAME": rf"({_WORD}(?: {_WORD}){{0,3}}){_END}",
    "PROPER": rf"{_STRONG}({_CAPITAL}(?: {_CAPITAL}){{0,3}})(?:{_END}| de\b)",
    "ROLE": rf"{_STRONG}([^\W\d_][^,.!?:]*?){_END}",
    "JOB": rf"(?:(?!(?:of|del?)\b)[\w-]+ ){{0,2}}(?:{_any('job')})",
    "TONGUE": _any("tongue"),
    "REST": rf"{_STRONG}(.+)",
}
_KINDS = "|".join(rf"(?:{_any(kind)})(?P<{kind}>)" for kind in (*_KEYED, "todos", "facts"))
_RULES = re.sub("[A-Z]{3,}", lambda slot: _VALUES[slot[0]], _KINDS)
_HELLO = rf"[¿¡ ]*(?:(?:{_any('opener')})[ ,.!:]+){{0,4}}[¿¡]?"
_START = rf"{_HELLO}(?:(?:{_any('request')})[ ,]+)?"
_RULE = _regex(f"{_START}(?:{_RULES})")
_CLAUSE = _regex(f"(?:,|,? (?:{_any('end')})) (?={_START}(?:{_RULES}))")
_QUIET = _regex(rf"{_any('doubt')}|^(?!{_HELLO}(?:{_any('request')})\b)[^?]*\?")
_SENTENCE = re.compile(r"(?<=[.!?…])\s+|[\n;]+\s*")
_QUOTED = r"```.*?(?:```|\Z)|\"[^\"\n]*\"|«[^»\n]*»|(?m:^)>[^\n]*"
_FOREIGN = _regex(rf"{_QUOTED}|(?:{_any('foreign')}).*")
_ASKS = [(key, _regex(_any(f"ask {key}"))) for key in ("name", "todos", "about")]
_BLOCK = re.compile(r"\A<data-[0-9a-f]{16}>\n([^\n]*)\n</data-[0-9a-f]{16}>\s*")


class _Block(BaseModel):
    memory: dict[str, JsonValue] = {}
    summary: str = ""
    max_words: int = 140
    messages: list[dict[str, JsonValue]] = []


class Config(BaseModel):
    task: Task = Task.CHAT


def answer(task: str, messages: Sequence[tuple[str, str]]) -> str:
    """Do the task, which no text changes, for the newest of the (role, text) `messages`."""
    *data, prompt = _BLOCK.split(messages[-1][1] if messages else "")
    try:
        block = _Block.model_validate_json(data[-1] if data else "{}")
    except ValueError:
        block = _Block()
    said = [str(each.get("text")) for each in block.messages if each.get("role") != "assistant"]
    if task == Task.SUMMARIZE:
        return _gist(block.summary, said, block.max_words)
    if task == Task.EXTRACT_MEMORY:
        return _as_json(_stated(*said))
    return _reply(block, prompt, [text for role, text in messages[:-1] if role == "user"])


def _stated(*texts: str) -> Items:
    """What the users say of themselves: kind and value of each statement."""
    own = (_FOREIGN.sub(" ", text) for text in texts if len(text) <= 1500)  # longer: pasted
    told = (each for text in own for each in _SENTENCE.split(text) if not _QUIET.search(each))
    clauses = (clause.strip() for each in told for clause in _CLAUSE.sub("\n", each).split("\n"))
    rules = [found for found in map(_RULE.match, clauses) if found]
    pairs = [(str(rule.lastgroup), next(filter(None, rule.groups()))) for rule in rules]
    values = [(kind, text[:MAX_VALUE_CHARS].strip(" ,.;:!?¡¿")) for kind, text in pairs]
    return [(k, _CODES.get(fold(v), v) if k == "language" else v) for k, v in values if v]


def _as_json(items: Items) -> str:
    keyed = {part: {k: v for k, v in items if _KEYED.get(k) == part} for part in _KEYED.values()}
    listed = {part: [v for k, v in items if k == part] for part in ("facts", "todos")}
    return json.dumps({k: v for k, v in (keyed | listed).items() if v}, ensure_ascii=False)


def _stems(text: str) -> set[str]:
    """The beginnings of the words that carry meaning."""
    return {word[:5] for word in re.findall(r"\w{4,}", fold(text)) if word not in _EMPTY}


def _sentences(*texts: str) -> list[str]:
    """The different sentences that tell something, as far as their first 40 words."""
    cut = (" ".join(each.split()[:40]) for text in texts for each in _SENTENCE.split(text))
    return list({f"{each.rstrip('.')}.": 0 for each in cut if each[-1:] != "?" and _stems(each)})


def _gist(previous: str, texts: Sequence[str], max_words: int) -> str:
    """What fits, in the order in which it was told: users' statements first, then the newest."""
    told = _sentences(previous, *(_FOREIGN.sub(" ", text) for text in texts))
    ranks = {each: (bool(_stated(each)), number) for number, each in enumerate(told)}
    kept: list[str] = []
    for each in sorted(told, key=ranks.__getitem__, reverse=True):
        kept += [each] if len(" ".join([*kept, each]).split()) <= max_words else []
    return " ".join(sorted(kept, key=told.index)) or "…"[: max(0, max_words)]


def _relevant(prompt: str, texts: Sequence[str]) -> Items:
    """At most three sentences that share half of the prompt's words or more, the best first."""
    wanted = _stems(prompt)
    shared = {each: 2 * len(wanted & _stems(each)) for each in _sentences(*texts)}
    best = sorted(shared, key=lambda each: -shared[each])[:3]
    return [("", each) for each in best if shared[each] >= max(len(wanted), 1)]


def _remembered(block: _Block) -> Items:
    known = update_from_json(block.memory)
    lists = [("facts", text) for text in known.facts] + [("todos", text) for text in known.todos]
    return [*known.profile.items(), *known.preferences.items(), *lists]


def _reply(block: _Block, prompt: str, earlier: Sequence[str]) -> str:
    """Answer from what is said now, then from what is remembered, then from what was said."""
    said = _stated(prompt)
    told = [*(_remembered(block) or _stated(*earlier)), *said]
    known = list({(k, k in _KEYED or fold(v)): (k, v) for k, v in told}.values())
    texts = [*(value for kind, value in known if kind not in _KEYED), block.summary, *earlier]
    asked = next((key for key, pattern in _ASKS if pattern.search(prompt)), "")
    kept = {"": said or _relevant(prompt, texts), "about": [*known, ("", block.summary)]}
    shown = [(k, v) for k, v in kept.get(asked, known) if v and asked in ("", "about", k)]
    fallback = "nothing" if asked or _stems(prompt) else "greeting"
    say = "noted" if said and not asked else "about" if shown else fallback
    codes = sorted(_LANGUAGES, key=lambda code: ("language", code) not in known)
    code = max(codes, key=lambda code: len(_SPOKEN[code].findall(fold(prompt))))
    phrases, labels, name = dict(_LINES[code]), _LANGUAGES[code].labels, dict(known).get("name")
    items = "".join(f"\n- {labels[k]}: {v}" if k in labels else f"\n- {v}" for k, v in shown)
    text = phrases[f"say {say}"].format(name=f", {name}" if name else "", items=items)
    told_before = say != "nothing" and (earlier or block.summary)
    return text if told_before else f"{text}\n\n{phrases['say notice']}"


def define_extractive(ai: Genkit) -> None:
    """Register the model in a Genkit instance."""
    ai.define_model(NAME, _run, config_schema=Config)


async def _run(request: ModelRequest[Config], ctx: ActionRunContext) -> ModelResponse:
    """Answer a Genkit request, word by word if the caller streams."""
    turns = [(str(each.role), each.text) for each in request.messages if each.role != "system"]
    text = answer(request.config.task if request.config else Task.CHAT, turns)
    for word in re.findall(r"\s*\S+\s*", text) if ctx.is_streaming else ():
        ctx.send_chunk(ModelResponseChunk(role="model", content=[Part.from_text(word)]))
    message = Message(role="model", content=[Part.from_text(text)])
    return ModelResponse(message=message, finish_reason=FinishReason.STOP)

"""Checks the audit's chain for events that were edited, removed, inserted, reordered or truncated."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from chatbot.domain.audit_chain import Finding, Head, StoredEvent, Tampering, Verdict
from chatbot.domain.audit_walk import Macs, Run, Unproven, Walk


def verified(
    events: Iterable[StoredEvent], keys: Sequence[bytes], *, expected: Head | None = None
) -> Verdict:
    """Check a chain, which is read once.

    Args:
        events: in the order of the store.
        keys: of the chain, newest first.
        expected: a head that the chain must contain.
    """
    walk = Walk(Macs(keys), None if expected is None else expected.seq)
    for event in events:
        walk.add(event)
        if walk.is_given_up:
            break
    walk.find_moved(_numbers(_gaps(walk.runs)))
    findings = [*_findings(walk), *(_of_head(walk, expected) if expected is not None else ())]
    return Verdict(
        findings=sorted(findings, key=lambda each: (each.first, each.last)),
        notes=[*walk.notes()],
        count=walk.count,
        head=walk.head,
    )


def with_hidden(verdict: Verdict, hidden: Iterable[int]) -> Verdict:
    """Return the verdict with these events, which filtered searches do not return.

    Only for an intact chain: edited or moved events are no longer where the index points.
    """
    if verdict.findings:
        return verdict
    detail = "filtered searches do not return it"
    findings = [_found(Tampering.HIDDEN, run.first, run.last, detail) for run in _ranges(hidden)]
    return replace(verdict, findings=findings)


def _findings(walk: Walk) -> Iterator[Finding]:
    if walk.parts and not walk.runs:
        detail = "no MAC matches: check whether AUDIT_KEY is the key of this chain"
        yield _found(Tampering.EDITED, 1, walk.count, detail)
        return
    for number in walk.replaced:
        detail = "replaced by another event with a valid MAC"
        yield _found(Tampering.EDITED, number, detail=detail)
    yield from _of_order(walk.runs)
    missing = set(_numbers(_gaps(walk.runs)))
    unproven = list(_of_unproven(walk, missing))
    yield from unproven
    yield from (_found(Tampering.REMOVED, gap.first, gap.last) for gap in _ranges(missing))
    edited = {each.first for each in unproven if each.kind is Tampering.EDITED}
    yield from _of_beginning(walk, edited)


def _of_order(runs: Sequence[Run]) -> Iterator[Finding]:
    """Yield the runs that follow later ones, and duplicate runs."""
    seen: list[Run] = []
    for run in runs:
        latest = max((other.last for other in seen), default=0)
        if any(other.first <= run.first and run.last <= other.last for other in seen):
            yield _found(Tampering.INSERTED, run.first, run.last, "a copy")
        elif run.first <= latest:
            detail = f"behind event {latest}"
            yield _found(Tampering.REORDERED, run.first, run.last, detail)
        seen.append(run)


def _of_unproven(walk: Walk, missing: set[int]) -> Iterator[Finding]:
    """Match each unproven event with a missing number at its position, and remove that from
    `missing`.
    """
    before, end = 0, max((run.last for run in walk.runs), default=0)
    for part in walk.parts:
        if isinstance(part, Run):
            before = part.last
            continue
        place, stored = before + 1, part.event.seq
        if stored is not None and stored in missing:
            number = stored
        elif place in missing or (before >= end and stored in {None, place}):
            number = place
        elif walk.first is not None and place < walk.first.seq and stored is not None:
            number = stored  # at the beginning
        else:
            detail = "its MAC is not valid at this position"
            yield _found(Tampering.INSERTED, stored or place, detail=detail)
            continue
        missing.discard(number)
        before = number
        yield _found(Tampering.EDITED, number, detail=_why(part))


def _of_beginning(walk: Walk, edited: set[int]) -> Iterator[Finding]:
    """Yield what is missing before the first event, unless it was pruned."""
    if walk.first is None:
        return
    first, checkpoint = walk.first.seq, walk.checkpoint
    if first == checkpoint.seq + 1 and checkpoint.seq:
        if walk.first.content.get("prev") != checkpoint.mac:
            detail = "it does not follow the last pruned event"
            yield _found(Tampering.EDITED, first, detail=detail)
        return
    missing = set(range(checkpoint.seq + 1, first)) - edited
    detail = "" if checkpoint.seq else "not pruned according to the audit"
    for gap in _ranges(missing):
        yield _found(Tampering.REMOVED, gap.first, gap.last, detail)


def _of_head(walk: Walk, expected: Head) -> Iterator[Finding]:
    """Yield what is missing of a chain that once had this head."""
    if expected.seq > walk.head.seq:
        detail = "the given head is newer than the last event"
        yield _found(Tampering.TRUNCATED, walk.head.seq + 1, expected.seq, detail)
    elif walk.wanted_mac not in {None, expected.mac}:
        detail = "the event differs from the given head: the end was cut off and rewritten"
        yield _found(Tampering.TRUNCATED, expected.seq, detail=detail)


def _gaps(runs: Sequence[Run]) -> Iterator[Run]:
    """Yield the numbers that are missing between existing ones."""
    last = None
    for run in sorted(runs, key=lambda run: run.first):
        if last is not None and run.first > last + 1:
            yield Run(last + 1, run.first - 1)
        last = run.last if last is None else max(run.last, last)


def _numbers(gaps: Iterable[Run]) -> Iterator[int]:
    return (number for gap in gaps for number in range(gap.first, gap.last + 1))


def _ranges(numbers: Iterable[int]) -> Sequence[Run]:
    found: list[Run] = []
    for number in sorted(numbers):
        if found and found[-1].last + 1 == number:
            found[-1].last = number
        else:
            found.append(Run(number, number))
    return found


def _why(part: Unproven) -> str:
    return "it cannot be read" if part.event.entry is None else "its MAC does not match"


def _found(kind: Tampering, first: int, last: int | None = None, detail: str = "") -> Finding:
    return Finding(kind=kind, first=first, last=first if last is None else last, detail=detail)

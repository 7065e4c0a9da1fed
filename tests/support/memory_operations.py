"""The operations of an extraction in the form of an update."""

from typing import Any

_PARTS = {"profile": "profile", "preference": "preferences", "fact": "facts", "todo": "todos"}


def classic(operations: dict[str, Any]) -> dict[str, Any]:
    """The parts of an update that has these operations, without empty ones."""
    update: dict[str, Any] = {}
    for each in operations.get("set", []):
        part = _PARTS[each["kind"]]
        if "key" in each:
            update.setdefault(part, {})[each["key"]] = each["text"]
        else:
            update.setdefault(part, []).append(each["text"])
    return update | {name: operations[name] for name in ("forget", "done") if name in operations}

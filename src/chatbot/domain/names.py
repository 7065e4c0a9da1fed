"""Names that administrators choose: departments and roles."""

import re
import unicodedata

from chatbot.domain.errors import InvalidInput

MAX_DEPARTMENT_CHARS = 100
MAX_ROLE_NAME_CHARS = 64
MAX_DESCRIPTION_CHARS = 200
_ROLE_NAME = re.compile("[a-z0-9][a-z0-9_.-]*")


def department_key(department: str) -> str:
    """Return the form in which departments are compared: `Sales`, `sales` and `SALES` are one."""
    return unicodedata.normalize("NFKC", department.casefold()).casefold()


def clean_department(raw: str) -> str:
    """Return the name of a department as it is stored: NFC, with single spaces.

    Raises:
        InvalidInput: it is empty, too long, or has invisible characters such as the controls of
            text direction.
    """
    department = re.sub(" +", " ", unicodedata.normalize("NFC", raw[: 4 * MAX_DEPARTMENT_CHARS]))
    department = department.strip()
    if not (department.isprintable() and 0 < len(department) <= MAX_DEPARTMENT_CHARS):
        limit = f"1 to {MAX_DEPARTMENT_CHARS} printable characters"
        raise InvalidInput(f"The department needs {limit}.", where=("department",))
    return department


def check_role_name(name: str) -> None:
    """Check that a new role may have this name.

    Raises:
        InvalidInput: it may not. Valid names never differ only by case or look alike.
    """
    if len(name) > MAX_ROLE_NAME_CHARS or _ROLE_NAME.fullmatch(name) is None:
        raise InvalidInput(
            f"The name of a role must have 1 to {MAX_ROLE_NAME_CHARS} of the characters a-z, 0-9, `_`, "
            "`-` and `.`, and begins with a letter or a digit.",
            where=("name",),
        )


def clean_description(raw: str) -> str:
    """Return the description of a role as it is stored.

    Raises:
        InvalidInput: it is too long, or has invisible characters.
    """
    description = unicodedata.normalize("NFC", raw[: 4 * MAX_DESCRIPTION_CHARS]).strip()
    if not description.isprintable() or len(description) > MAX_DESCRIPTION_CHARS:
        limit = f"at most {MAX_DESCRIPTION_CHARS} printable characters"
        raise InvalidInput(f"The description can have {limit}.", where=("description",))
    return description

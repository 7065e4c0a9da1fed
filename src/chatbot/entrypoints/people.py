"""Whether somebody can log in and administer the service, and the command that makes it so."""

from chatbot.application.administration import Lack, lack_of
from chatbot.domain.ports.storage import Storage
from chatbot.entrypoints.settings import ENV_FILE, Settings
from chatbot.entrypoints.storage_url import StorageKind, StorageUrl, parse_storage_url

_USUAL = "json:data"
_PROBLEMS = {
    Lack.ROLES: (
        "no role has the permission `administer`",
        "`chatbot init` makes the roles of a new store",
    ),
    Lack.PEOPLE: (
        "nobody can log in, as there are no people",
        "`chatbot admin create --email you@example.com` makes the first administrator",
    ),
    Lack.ADMINISTRATORS: (
        "nobody can administer the service",
        "`chatbot admin create --email you@example.com` makes an administrator",
    ),
    Lack.ACTIVE_ADMINISTRATORS: (
        "all administrators are disabled",
        "`chatbot user enable --email` the one of `chatbot user list`",
    ),
}


async def people_problem(storage: Storage, settings: Settings) -> str | None:
    """What the open store lacks for somebody to administer the service, with its fix.

    Raises:
        StorageFailure: people or roles cannot be read.
    """
    url = settings.storage_url
    lack = None if url.kind is StorageKind.MEMORY else await lack_of(storage)
    if lack is None:
        return None
    problem, fix = _PROBLEMS[lack]
    moved = f"; if STORAGE_URL was changed, {_migration(url)} brings what the old store holds"
    may_be_another_store = lack in {Lack.ROLES, Lack.PEOPLE}
    return f"{problem}. Fix: {fix}{moved if may_be_another_store else ''}"


async def may_be_without_people(storage: Storage, settings: Settings) -> bool:
    """Whether an empty store is as it should be: nobody ran `chatbot init` and no store was left.

    A service that has its settings from the environment alone may be for applications, which need
    the API key and no people.

    Raises:
        StorageFailure: people or roles cannot be read.
    """
    was_set_up = ENV_FILE.exists() or _usual_has_people(settings.storage_url)
    return not was_set_up and await lack_of(storage) is Lack.PEOPLE


def _usual_has_people(url: StorageUrl) -> bool:
    """Whether the usual store is another one than this, and has people."""
    usual = parse_storage_url(_USUAL)
    is_other = usual.path is not None and usual.path != url.path
    return is_other and (usual.local_folder / "auth" / "users.json").exists()


def _migration(url: StorageUrl) -> str:
    """The command that fills this store from the one before: the usual one, if it has people."""
    old = _USUAL if _usual_has_people(url) else "OLD"
    new = "NEW" if url.password else url.raw
    return f"`chatbot migrate --from {old} --to {new}`"

"""Sign-ins, each a family of tokens."""

from datetime import datetime

from chatbot.domain.identity import FamilyId, UserId
from chatbot.domain.ports.records import Kind, Records
from chatbot.domain.sign_in import RefreshFamily


def _supersedes(new: RefreshFamily, old: RefreshFamily) -> bool:
    if old.ended_at is not None:
        return new.ended_at is not None and new.number >= old.number
    return new.ended_at is not None or new.number >= old.number


REFRESH_FAMILIES = Kind(
    name="refresh_families",
    singular="sign-in",
    type=RefreshFamily,
    key=("id",),
    indexed=("user_id",),
    subject="user_id",
    expires_at="expires_at",
    supersedes=_supersedes,
)


class RefreshFamilies:
    """The sign-ins of the store."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def add(self, family: RefreshFamily) -> None:
        """Store a new family."""
        self._records.put(REFRESH_FAMILIES, family, expected=None)

    def by_id(self, family_id: FamilyId) -> RefreshFamily | None:
        """Return the family, or None."""
        return self._records.get(REFRESH_FAMILIES, family_id)

    def is_signed_in(self, family_id: FamilyId | None, user_id: UserId) -> bool:
        """Whether the family is one of the user, and has not ended."""
        family = None if family_id is None else self.by_id(family_id)
        return family is not None and family.signs_in(user_id)

    def replace(self, family: RefreshFamily, *, old: RefreshFamily) -> None:
        """Store the next state of a family.

        Raises:
            Conflict: the stored one is no longer `old`; of concurrent calls, one succeeds.
        """
        self._records.put(REFRESH_FAMILIES, family, expected=old)

    def end(self, family_id: FamilyId, *, at: datetime) -> None:
        """End a family; no-op if it is absent or has ended."""
        self._records.exclusive(REFRESH_FAMILIES)
        family = self.by_id(family_id)
        if family is not None and family.ended_at is None:
            self.replace(family.ended(at), old=family)

    def end_all(self, user_id: UserId, *, at: datetime) -> int:
        """End all families of a user, and return how many there were."""
        self._records.exclusive(REFRESH_FAMILIES)
        found = self._records.page(REFRESH_FAMILIES, field="user_id", value=user_id)
        live = [family for family in found if family.is_live(at)]
        for family in live:
            self.replace(family.ended(at), old=family)
        return len(live)

    def keep_newest(self, user_id: UserId, *, most: int) -> None:
        """Remove the families of a user beyond `most`: those that have ended, then the oldest."""
        found = self._records.page(REFRESH_FAMILIES, field="user_id", value=user_id)
        by_worth = sorted(found, key=lambda each: (each.ended_at is None, each.renewed_at))
        for family in by_worth[: max(0, len(found) - most)]:
            self._records.remove(REFRESH_FAMILIES, family.id)

    def drop_expired(self, now: datetime) -> int:
        """Remove the families that have expired, and return how many."""
        return self._records.drop_expired(REFRESH_FAMILIES, now)

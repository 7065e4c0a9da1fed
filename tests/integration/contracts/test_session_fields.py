"""What people change in a session: one suite for every store."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from chatbot.domain.chat import (
    Lease,
    MessageRange,
    MessageRole,
    Question,
    Session,
    SessionCursor,
    SessionId,
    TurnId,
)
from chatbot.domain.errors import SessionBusy, SessionHeld
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory
from chatbot.domain.ports.session_log import SessionLog
from chatbot.domain.ports.storage import Storage
from chatbot.domain.session_fields import Hold
from repositories import each_call_apart
from samples import ANA, CLIENT, ODD_TEXTS, T0, new_message

TURN = TurnId("1" * 32)
ONE = SessionId("1" * 32)
HOLD = Hold(reason="A court asked for it.", at=T0)


@pytest.fixture
async def storage(closed_storage: Storage) -> AsyncIterator[Storage]:
    async with closed_storage:
        yield closed_storage


@pytest.fixture
def sessions(storage: Storage) -> Iterator[SessionLog]:
    with each_call_apart(storage) as transaction:
        yield transaction.sessions


def new_session(session_id: SessionId = ONE, title: str = "", seconds: float = 0) -> Session:
    at = T0 + timedelta(seconds=seconds)
    return Session(id=session_id, owner=ANA, title=title, created_at=at, updated_at=at)


def held(sessions: SessionLog, title: str = "") -> Lease:
    sessions.create(new_session(title=title))
    return sessions.acquire(ANA, ONE, TURN)


def say(sessions: SessionLog, lease: Lease, text: str) -> None:
    sessions.append(lease, new_message(lease, MessageRole.USER, text, ts=T0))
    sessions.append(lease, new_message(lease, MessageRole.ASSISTANT, "Yes.", ts=T0))


def titled(sessions: SessionLog, lease: Lease, title: str) -> Session:
    return sessions.update(lease, replace(sessions.get(ANA, ONE), title=title))


def put_on_hold(sessions: SessionLog, lease: Lease, hold: Hold | None = HOLD) -> Session:
    return sessions.update(lease, replace(sessions.get(ANA, ONE), hold=hold))


def ask(sessions: SessionLog, text: str) -> Session:
    question = Question(
        owner=ANA, session_id=ONE, turn_id=TURN, text=text, ts=T0,
        summarized_step=1, history_limit=9,
    )  # fmt: skip
    return sessions.store_question(question).session


class TestTitle:
    @pytest.mark.parametrize("title", [text for text in ODD_TEXTS if text])
    def test_given_title_is_returned_wherever_a_session_is(
        self, sessions: SessionLog, title: str
    ) -> None:
        lease = held(sessions)
        say(sessions, lease, "Hello")
        updated = titled(sessions, lease, title)
        assert updated == replace(new_session(title=title), message_count=2, last_seq=2, revision=1)
        assert sessions.get(ANA, ONE) == updated
        assert sessions.load(ANA, ONE).session == updated
        assert sessions.page(ANA, limit=9) == [updated]
        sessions.release(lease)
        assert ask(sessions, "And now?").title == title

    async def test_turn_of_the_store_returns_the_changed_fields(self, storage: Storage) -> None:
        def change(sessions: SessionLog) -> Session:
            lease = held(sessions)
            titled(sessions, lease, "Given")
            updated = put_on_hold(sessions, lease)
            sessions.release(lease)
            return updated

        updated = await storage.transact(lambda tx: change(tx.sessions))
        question = Question(
            owner=ANA, session_id=ONE, turn_id=TURN, text="Hello", ts=T0,
            summarized_step=1, history_limit=9,
        )  # fmt: skip
        context = await storage.store_question(question)
        assert context.session == replace(updated, message_count=1, last_seq=1)

    def test_messages_do_not_replace_a_title(self, sessions: SessionLog) -> None:
        lease = held(sessions)
        titled(sessions, lease, "Given")
        say(sessions, lease, "Hello")
        assert sessions.get(ANA, ONE).title == "Given"
        say(sessions, lease, "More")
        assert titled(sessions, lease, "Another").revision == 2
        assert sessions.page(ANA, limit=1)[0].title == "Another"

    def test_new_session_may_have_a_title(self, sessions: SessionLog) -> None:
        lease = held(sessions, title="Given")
        say(sessions, lease, "Hello")
        assert sessions.get(ANA, ONE).title == "Given"
        assert put_on_hold(sessions, lease).title == "Given"
        assert titled(sessions, lease, "Hello").title == "Hello"
        assert sessions.get(ANA, ONE).title == "Hello"

    def test_title_of_the_first_message_follows_a_hold(self, sessions: SessionLog) -> None:
        lease = held(sessions)
        put_on_hold(sessions, lease)
        say(sessions, lease, "Hello")
        found = sessions.get(ANA, ONE)
        assert (found.title, found.hold, found.revision) == ("Hello", HOLD, 1)

    def test_reset_empties_the_title_and_the_next_one_is_kept(self, sessions: SessionLog) -> None:
        lease = held(sessions)
        titled(sessions, lease, "Given")
        sessions.reset(lease, ts=T0)
        found = sessions.get(ANA, ONE)
        assert (found.title, found.revision, found.epoch) == ("", 0, 1)
        say(sessions, lease, "Hello")
        assert sessions.get(ANA, ONE).title == "Hello"
        assert titled(sessions, lease, "Again").revision == 1

    def test_change_needs_the_lease(self, sessions: SessionLog) -> None:
        lease = held(sessions)
        sessions.release(lease)
        with pytest.raises(SessionBusy):
            sessions.update(lease, new_session(title="Given"))
        assert sessions.get(ANA, ONE) == new_session()

    def test_other_fields_are_not_changed(self, sessions: SessionLog) -> None:
        lease = held(sessions)
        odd = replace(
            new_session(title="Given", seconds=9),
            owner=CLIENT,
            message_count=5,
            last_seq=7,
            epoch=3,
        )
        assert sessions.update(lease, odd) == replace(new_session(title="Given"), revision=1)


class TestHold:
    def test_held_session_is_neither_reset_nor_deleted(self, sessions: SessionLog) -> None:
        lease = held(sessions)
        say(sessions, lease, "Hello")
        put_on_hold(sessions, lease)
        before = sessions.load(ANA, ONE, lambda *_: MessageRange(limit=9))
        with pytest.raises(SessionHeld):
            sessions.reset(lease, ts=T0)
        with pytest.raises(SessionHeld):
            sessions.delete(lease)
        assert sessions.load(ANA, ONE, lambda *_: MessageRange(limit=9)) == before
        say(sessions, lease, "It goes on.")
        assert sessions.get(ANA, ONE).message_count == 4

    def test_released_session_may_be_deleted(self, sessions: SessionLog) -> None:
        lease = held(sessions)
        put_on_hold(sessions, lease)
        assert put_on_hold(sessions, lease, None).hold is None
        assert sessions.get(ANA, ONE).hold is None
        sessions.reset(lease, ts=T0)
        sessions.delete(lease)
        assert sessions.page(ANA, limit=9) == []


class TestTrim:
    def test_later_messages_keep_their_numbers_and_everything_else_stays(
        self, sessions: SessionLog
    ) -> None:
        lease = held(sessions)
        for number in range(5):
            say(sessions, lease, f"Question {number}")
        assert sessions.put_memory(ANA, ONE, Memory(summary="s", summarized_to=4), epoch=0)
        before = sessions.load(ANA, ONE, lambda *_: MessageRange(limit=99))
        sessions.trim(lease, 4)
        after = sessions.load(ANA, ONE, lambda *_: MessageRange(limit=99))
        assert after.messages == before.messages[4:]
        assert after.memory == before.memory
        assert after.session == replace(
            before.session, title="Question 2", message_count=6, revision=1
        )
        assert sessions.page(ANA, limit=9) == [after.session]
        sessions.trim(lease, 3)
        assert sessions.get(ANA, ONE) == after.session
        say(sessions, lease, "More")
        oldest = MessageRange(limit=1, oldest=True)
        assert tuple(sessions.read(ANA, ONE, oldest)) == before.messages[4:5]
        assert sessions.get(ANA, ONE).last_seq == 12

    def test_given_title_and_empty_session_are_kept(self, sessions: SessionLog) -> None:
        lease = held(sessions)
        say(sessions, lease, "Question")
        titled(sessions, lease, "Given")
        sessions.trim(lease, 2)
        found = sessions.get(ANA, ONE)
        assert (found.title, found.message_count, found.last_seq) == ("Given", 0, 2)
        assert sessions.read(ANA, ONE, MessageRange(limit=9)) == []
        say(sessions, lease, "Another")
        assert sessions.get(ANA, ONE).title == "Given"

    def test_number_beyond_the_last_message_removes_all(self, sessions: SessionLog) -> None:
        lease = held(sessions)
        sessions.trim(lease, 7)
        assert sessions.get(ANA, ONE) == new_session()
        say(sessions, lease, "Question")
        sessions.trim(lease, 7)
        found = sessions.get(ANA, ONE)
        assert (found.message_count, found.last_seq) == (0, 2)
        say(sessions, lease, "Another")
        assert sessions.get(ANA, ONE).last_seq == 4

    def test_title_of_removed_messages_is_removed(self, sessions: SessionLog) -> None:
        lease = held(sessions)
        say(sessions, lease, "Question")
        sessions.trim(lease, 2)
        assert sessions.get(ANA, ONE).title == ""
        say(sessions, lease, "Another")
        assert sessions.get(ANA, ONE).title == "Another"
        put_on_hold(sessions, lease)
        with pytest.raises(SessionHeld):
            sessions.trim(lease, 4)
        assert sessions.get(ANA, ONE).message_count == 2


class TestOwners:
    def test_owners_of_an_id_are_found_among_all_sessions(self, sessions: SessionLog) -> None:
        assert sessions.owners_of(ONE) == []
        for number, owner in enumerate(
            [*(Owner(kind="user", id=f"u{n}") for n in range(5)), CLIENT]
        ):
            sessions.create(replace(new_session(SessionId(f"{number:032x}")), owner=owner))
        assert sessions.owners_of(SessionId(f"{3:032x}")) == [Owner(kind="user", id="u3")]
        assert sessions.owners_of(SessionId(f"{5:032x}")) == [CLIENT]
        assert sessions.owners_of(ONE) == []
        sessions.create(replace(new_session(SessionId(f"{3:032x}")), owner=CLIENT))
        assert len(sessions.owners_of(SessionId(f"{3:032x}"))) == 2
        everyone = {*(Owner(kind="user", id=f"u{n}") for n in range(5)), CLIENT}
        assert len(sessions.owners()) == len(everyone)
        assert set(sessions.owners()) == everyone


class TestSearch:
    TITLES = ("Straße", "STRASSE", "Café", "Cafe\u0301", "İstanbul", "Σίσυφος", "100% _ok_", "")

    def _fill(self, sessions: SessionLog) -> list[Session]:
        new = [
            new_session(SessionId(f"{number:032x}"), title, seconds=-number)
            for number, title in enumerate(self.TITLES)
        ]
        for session in new:
            sessions.create(session)
        return new

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("strasse", [0, 1]),
            ("STRAẞE", [0, 1]),
            ("CAFÉ", [2, 3]),
            ("cafe\u0301", [2, 3]),
            ("ΣΊΣΥΦΟΣ", [5]),
            ("%", [6]),
            ("_", [6]),
            ("o", [6]),
            ("nothing", []),
            ("", [0, 1, 2, 3, 4, 5, 6, 7]),
        ],
    )
    def test_titles_are_found_whatever_their_case(
        self, sessions: SessionLog, text: str, found: list[int]
    ) -> None:
        new = self._fill(sessions)
        assert sessions.page(ANA, limit=9, title=text) == [new[number] for number in found]
        assert sessions.page(CLIENT, limit=9, title=text) == []

    def test_pages_of_found_sessions_join_without_gap_or_repetition(
        self, sessions: SessionLog
    ) -> None:
        new = self._fill(sessions)
        found, after = list[Session](), None
        while page := sessions.page(ANA, limit=2, after=after, title="S"):
            found += page
            after = SessionCursor(updated_at=page[-1].updated_at, id=page[-1].id)
        assert found == [new[number] for number in (0, 1, 4)]

    def test_changed_title_is_found_and_the_old_one_is_not(self, sessions: SessionLog) -> None:
        lease = held(sessions)
        say(sessions, lease, "Hello")
        titled(sessions, lease, "Given")
        assert [each.id for each in sessions.page(ANA, limit=9, title="given")] == [ONE]
        assert sessions.page(ANA, limit=9, title="hello") == []

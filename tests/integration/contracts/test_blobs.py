"""One suite for the blobs of every storage."""

import pytest

from chatbot.domain.ports.blobs import PART_BYTES
from chatbot.domain.ports.storage import Storage

LARGE = bytes(range(256)) * (PART_BYTES // 128) + b"end"
EMPTY, ODD = b"", b'\x00\n{"version":1}\xff\r\n'


async def test_bytes_are_returned_as_they_were_stored(closed_storage: Storage) -> None:
    given = {"documents/a/1/content": LARGE, "documents/a/1/passages/0": EMPTY, "x/y": ODD}
    async with closed_storage as storage:
        for name, data in given.items():
            await storage.transact(lambda tx, n=name, d=data: tx.blobs.put(n, d))  # type: ignore[misc] # defaults
        found = await storage.transact(lambda tx: tx.blobs.get_all([*given, "x/z"]))
        assert found == given
        assert await storage.transact(lambda tx: tx.blobs.get("x/z")) is None


async def test_large_blob_is_read_part_by_part(closed_storage: Storage) -> None:
    async with closed_storage as storage:
        await storage.transact(lambda tx: tx.blobs.put("x/large", LARGE))
        parts = await storage.transact(lambda tx: [tx.blobs.part("x/large", n) for n in range(4)])
        assert b"".join(part for part in parts if part is not None) == LARGE
        assert [part is None for part in parts] == [False, False, False, True]
        assert await storage.transact(lambda tx: tx.blobs.part("x/none", 0)) is None


async def test_blob_with_the_same_name_is_replaced(closed_storage: Storage) -> None:
    async with closed_storage as storage:
        await storage.transact(lambda tx: tx.blobs.put("x/y", LARGE))
        await storage.transact(lambda tx: tx.blobs.put("x/y", ODD))
        assert await storage.transact(lambda tx: tx.blobs.get("x/y")) == ODD
        assert await storage.transact(lambda tx: tx.blobs.part("x/y", 1)) is None


async def test_folder_has_the_names_below_it_and_no_others(closed_storage: Storage) -> None:
    names = ["docs/a/1/content", "docs/a/1/passages/0", "docs/a/2/content"]
    others = ["docs/a-b/1/content", "docs/b/1/content", "docsa/a/1", "dot/a"]
    async with closed_storage as storage:
        for name in (*names, *others):
            await storage.transact(lambda tx, n=name: tx.blobs.put(n, ODD))  # type: ignore[misc] # as above
        found = await storage.transact(lambda tx: list(tx.blobs.names("docs/a")))
        assert found == names
        expected = sorted([*names, *others[:2]])
        later = await storage.transact(
            lambda tx: list(tx.blobs.names("docs", after=expected[0], limit=3))
        )
        assert later == expected[1:4]
        assert await storage.transact(lambda tx: tx.blobs.size("docs/a")) >= 3 * len(ODD)
        await storage.transact(lambda tx: tx.blobs.remove("docs/a"))
        await storage.transact(lambda tx: tx.blobs.remove("docs/a"))
        assert not await storage.transact(lambda tx: tx.blobs.names("docs/a"))
        assert await storage.transact(lambda tx: tx.blobs.get_all(others)) == dict.fromkeys(
            others, ODD
        )


async def test_blob_itself_is_removed_by_its_name(closed_storage: Storage) -> None:
    async with closed_storage as storage:
        await storage.transact(lambda tx: tx.blobs.put("x/y", ODD))
        await storage.transact(lambda tx: tx.blobs.put("x/yz", ODD))
        await storage.transact(lambda tx: tx.blobs.remove("x/y"))
        assert await storage.transact(lambda tx: tx.blobs.get_all(["x/y", "x/yz"])) == {"x/yz": ODD}


@pytest.mark.parametrize("name", ["", "x", "../x", "x/..", "x/Y", "x//y", "/x/y", "x/y.z", "x/\0"])
async def test_name_that_could_be_another_path_is_refused(
    closed_storage: Storage, name: str
) -> None:
    async with closed_storage as storage:
        with pytest.raises(ValueError, match="name"):
            await storage.transact(lambda tx: tx.blobs.put(name, ODD))

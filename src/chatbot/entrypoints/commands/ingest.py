"""`chatbot ingest`, for every store, also while the service is running."""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from chatbot.application.file_ingestion import FileIngestion, FileOptions, FileReport, Outcome
from chatbot.application.host_files import HostFile
from chatbot.domain.documents import Access, Document
from chatbot.domain.identity import Principal
from chatbot.entrypoints.commands.command_line import say
from chatbot.entrypoints.commands.found_files import FoundFiles, find
from chatbot.entrypoints.commands.management import managed, table
from chatbot.entrypoints.commands.progress import progress_bar

_LOOKS_EVERY_S = 2.0
_AT_ONCE = 3
"""Files that are stored at the same time. Their texts are extracted one by one."""
_NO_READERS = (
    "No active user currently matches this access rule. Only people who manage documents can read "
    "these documents."
)


def ingest(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Files and folders to ingest.")
    ],
    *,
    department: Annotated[
        list[str] | None,
        typer.Option(help="Let people of this department read the documents. Repeatable."),
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(help="Let people with this role read the documents. Repeatable."),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Let everyone read the documents.")
    ] = False,
    label: Annotated[
        list[str] | None, typer.Option(help="Give the documents this label. Repeatable.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep running, and ingest files when they change.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete the documents whose files no longer exist.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, without writing anything.")
    ] = False,
) -> None:
    """Add files as documents, and update them.

    Unchanged files are skipped, so an interrupted run can simply be repeated. Without --department,
    --role or --public, new documents can be read only by people who manage documents, and existing
    ones keep their access rule. Exit code 1 if a file failed.
    """
    has_rule = public or department or role
    access = Access(public=public, departments=tuple(department or ()), roles=tuple(role or ()))
    options = FileOptions(
        access=access if has_rule else None,
        labels=tuple(label) if label else None,
        is_dry=dry_run,
    )
    run = _Run(paths, options, prunes=prune)
    try:
        is_complete = managed(lambda use, account: run.all(use.files, account, watches=watch))
    except KeyboardInterrupt:
        if not watch:
            raise
        return
    if not is_complete:
        raise typer.Exit(1)


class _Run:
    """One run of the command."""

    def __init__(self, paths: Sequence[Path], options: FileOptions, *, prunes: bool) -> None:
        self._paths, self._options, self._prunes = paths, options, prunes
        self._named_gone: set[Path] = set()

    async def all(self, use: FileIngestion, account: Principal, *, watches: bool) -> bool:
        """Ingest all files, then those that change; return whether all succeeded."""
        found = await asyncio.to_thread(find, self._paths)
        is_complete = await self._once(use, account, found, found.files)
        seen = before = dict(found.files)
        while watches:
            await asyncio.sleep(_LOOKS_EVERY_S)
            found = await asyncio.to_thread(find, self._paths)
            settled = {path: at for path, at in found.files.items() if before.get(path) == at}
            changed = [path for path, at in settled.items() if seen.get(path) != at]
            if changed or seen.keys() - found.files.keys():
                await self._once(use, account, found, changed)
            before = found.files
            kept = {path: at for path, at in seen.items() if path in found.files}
            seen = kept | {path: settled[path] for path in changed}
        return is_complete

    async def _once(
        self,
        use: FileIngestion,
        account: Principal,
        found: FoundFiles,
        paths: Collection[Path],
    ) -> bool:
        """Ingest some files, and report those that no longer exist; return whether all succeeded."""
        known = await use.known(account)
        gone = found.gone(known)
        files = [HostFile(path=path, root=found.root_of(path)) for path in paths]
        reports = await self._ingest_all(use, account, known, files)
        deletes = self._prunes and not self._options.is_dry
        for path in gone if deletes else ():
            await use.remove(account, known[path])
        failures = [(str(each.path), each.reason) for each in reports if each.is_failure]
        failures += [(str(path), why) for path, why in found.problems.items() if path not in gone]
        self._print(reports, gone, failures)
        return not failures

    async def _ingest_all(
        self,
        use: FileIngestion,
        account: Principal,
        known: Mapping[Path, Document],
        files: Collection[HostFile],
    ) -> Sequence[FileReport]:
        reports: list[FileReport] = []
        waiting = iter(files)

        async def ingest_next() -> None:
            for file in waiting:
                before = known.get(file.path)
                reports.append(await use.ingest(account, file, before, self._options))
                progress(len(reports), len(files))

        with progress_bar() as progress:
            tasks = [asyncio.create_task(ingest_next()) for _ in range(_AT_ONCE)]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
        return sorted(reports, key=lambda each: each.path)

    def _print(
        self,
        reports: Collection[FileReport],
        gone: Collection[Path],
        failures: Sequence[tuple[str, str]],
    ) -> None:
        for path in gone:
            if path not in self._named_gone:
                say(f"gone: {path}")
        self._named_gone.update(gone)
        if any(each.has_no_readers for each in reports):
            say(_NO_READERS, err=True)
        for line in table(("file", "reason"), failures) if failures else ():
            say(line, err=True)
        say(self._summary(reports, gone, failures))

    def _summary(
        self,
        reports: Collection[FileReport],
        gone: Collection[Path],
        failures: Collection[object],
    ) -> str:
        counts = Counter(each.outcome for each in reports if not each.is_failure)
        parts = [f"{outcome}: {counts[outcome]}" for outcome in Outcome if counts[outcome]]
        parts += [f"failed: {len(failures)}"] if failures else []
        if gone:
            hint = "" if self._prunes else " (--prune deletes their documents)"
            parts.append(f"{'deleted' if self._prunes else 'gone'}: {len(gone)}{hint}")
        intent = "dry run, nothing was written: " if self._options.is_dry else ""
        return intent + (", ".join(parts) or "no files found")

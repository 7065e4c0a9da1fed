"""Storage in a folder of JSON files: `storage` implements the port, the others its parts.

session_log   session_reader     sessions: a log of messages and a memory file for each
log_lines     log_reader         the lines of a log; the log
log_writer                       ... and appending to it
memory_file   checksummed        the memory file; lines with a checksum
leases        steps              who may write; work that waits for the disk, on the loop or in a thread
paths         deletion           file names; removing a session
records       record_files       records, as
documents     watched            ... documents that people may edit
edit_versions shards             ... what their edits raise, and shards of files with checksums
counters      journal            counters such as log-in attempts; entries that are never changed
export        check              everything in a folder, for copies and backups; what `chatbot doctor` finds
"""

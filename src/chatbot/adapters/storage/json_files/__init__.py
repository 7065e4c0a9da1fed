"""Storage in a folder of JSON files: `storage` implements the port, the others its parts.

session_log   session_reader     sessions: a log of messages and a memory file for each
log_reader    log_writer         the log
memory_file   paths   deletion   the memory file; file names; removing a session
leases        steps              who may write; work that waits for the disk, on the loop or in a thread
line_file     line_writer        append-only files of checksummed lines, of logs and journals
journal_file                     ... a month of a journal, found by number and searched
checksummed   watched            lines with a checksum; files that are parsed again when they change
records       record_files       records, as
documents     edit_versions      ... documents that people may edit
shards                           ... shards of files that nobody edits
counters      counter_file       counters such as log-in attempts; ... one of their files
counter_log   counter_lines      ... those to which every turn adds
journal                          append-only journals
archive       check              everything in a folder, to be moved; what `chatbot doctor` finds
"""

"""Storage in a folder of JSON files: `storage` is the port's `Storage`, the rest what it is made of.

storage            the threads, and one transaction over the three repositories
sessions   users   attempts            the repositories
log   head         a session's two files: its messages, its memory
appends   leases   removal   places    writing to the log, who may, deleting, where files are
inspection         what `chatbot doctor` and `serve` find in a folder
records   sealed   domain objects as JSON; JSON that is checked, and sealed by a checksum
durable   files    what is wholly done or not at all; the only calls to the file system
"""

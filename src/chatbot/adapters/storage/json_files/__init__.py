"""Storage in a folder of JSON files: `storage` is the port's `Storage`, the rest what it is made of.

storage            the threads, and one transaction over the three repositories
sessions   users   counters            the repositories
turns              the two writes of a turn, on the event loop
log   head         a session's two files: its messages, its memory
appends   leases   removal   places    writing to the log, who may, deleting, where files are
archive            everything in a folder, to be moved
inspection         what `chatbot doctor` finds in a folder
sealed             JSON with a checksum
"""

"""Files on a disk: single system calls, and operations made of them that are atomic and durable."""

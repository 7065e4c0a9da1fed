"""`python -m chatbot` is `chatbot serve`."""

import sys

from chatbot.entrypoints.program import main

if __name__ == "__main__":
    main(["serve", *sys.argv[1:]])

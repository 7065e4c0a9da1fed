"""`chatbot serve` that is killed after a refresh was stored and before it is answered.

    python tests/support/answer_killer.py ... --port 0

The arguments before `--port` are dropped, so the program can prefix `python -m chatbot`.
"""

import os
import signal
import sys

from chatbot.application.token_pairs import TokenPair, TokenPairs
from chatbot.domain.identity import User
from chatbot.domain.sign_in import RefreshFamily
from chatbot.entrypoints.commands.cli import main

_pair_of = TokenPairs.pair_of


def pair_of_or_death(self: TokenPairs, family: RefreshFamily, user: User) -> TokenPair:
    if sys.platform != "win32" and family.number > 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return _pair_of(self, family, user)


if __name__ == "__main__":
    TokenPairs.pair_of = pair_of_or_death  # type: ignore[method-assign] # that is the fault
    main(["serve", *sys.argv[sys.argv.index("--port") :]])

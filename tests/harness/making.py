"""What several tests want is made by the first that comes, and others wait for it."""

import collections
import threading

LOCKS = collections.defaultdict(threading.RLock)
GUARD = threading.Lock()


def making(path):
    """A lock to hold while `path` is looked for, or made."""
    with GUARD:
        return LOCKS[str(path)]

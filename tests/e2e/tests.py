"""Real debuggers against rchk."""


def tests(_options):
    return []

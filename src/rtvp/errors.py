"""The one error type that is meant for people."""


class RtvpError(Exception):
    """A problem the user can mend.

    Its message is one line: what was expected, what came, where, and what to do. The command line prints
    it without a traceback and exits with a code that is not 0; callers of the Python API may catch it.
    """


class UnreadableModelError(RtvpError):
    """A file that is no model, or is damaged: one that was made here can be made anew."""

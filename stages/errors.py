"""The one exception that a user's mistake raises."""


class UserError(Exception):
    """A mistake that the user can mend: shown as one line, with a non-zero exit, no traceback."""

"""Why a use case says no: the family of errors that pages, API, admin and CLI show as they are."""

from collections.abc import Sequence

NO_ANSWER = (
    "The database is busy, away, or its disk is full. Try again in a moment; asking twice for a"
    " pause or a rollback is asking once."
)


class Refused(Exception):
    """An anticipated refusal: its sentence says why, `possible` what can be done now."""

    status = 409
    default_code = "refused"

    def __init__(
        self, sentence: str, *, code: str | None = None, possible: Sequence[str] = ()
    ) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.code = code or self.default_code
        self.possible = tuple(possible)


class NotAllowed(Refused):
    """The person may not do this."""

    status = 403
    default_code = "not_allowed"


class NotFound(Refused):
    """There is no such thing, or it is not this person's to see."""

    status = 404
    default_code = "not_found"


class BadInput(Refused):
    """The input cannot be used; `problems` lists everything that is wrong with it."""

    status = 422
    default_code = "bad_input"

    def __init__(self, problems: Sequence[str], *, code: str | None = None) -> None:
        super().__init__("; ".join(problems), code=code)
        self.problems = tuple(problems)

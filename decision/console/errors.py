"""What pages raise, and the page that an error becomes."""

from __future__ import annotations

from typing import Final, NamedTuple

from decision.console.language import N_, Language
from decision.core.errors import NextbestError, NotReady, StoreUnavailable


class PageError(NextbestError):
    """Ends a request with an error page: a status, and a sentence of the catalogue (`N_`).

    `values` are put into the sentence when it is shown.
    """

    def __init__(self, status: int, text: str, **values: object) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.values = values


class TokenRefused(PageError):
    """A form of our own pages has the token of a cookie that the browser had before."""


class SignInNeeded(NextbestError):
    """Nobody has signed in, or their session has ended."""


class ErrorTexts(NamedTuple):
    """What an error page says: a title, a sentence, and in English what is known beside it."""

    title: str
    sentence: str
    detail: str = ""


_TITLES: Final = {
    400: N_("The request cannot be used"),
    401: N_("Sign in"),
    403: N_("Access is not allowed"),
    404: N_("Not found"),
    405: N_("This cannot be done here"),
    408: N_("The request took too long to arrive"),
    409: N_("Somebody else has changed this"),
    413: N_("The request is too large"),
    429: N_("The rate is used up"),
    503: N_("The server cannot do this at the moment"),
}
_SENTENCES: Final = {
    404: N_("There is nothing at this address. Look for it from the navigation."),
    405: N_("This address does not take such a request. Go back, and use the page's own buttons."),
    500: N_("The server's log has the reason, under the id of this request."),
    503: N_("Try again in a moment."),
}
_FAILED: Final = N_("The server failed")
_STORE: Final = N_("The store does not answer")
_STORE_SENTENCE: Final = N_("Nothing can be shown or changed until it does. Try again in a moment.")
_STARTING: Final = N_("The server is starting")
_STARTING_SENTENCE: Final = N_("No policy is in force yet. Try again in a moment.")


def texts_of(error: Exception, status: int, detail: str, language: Language) -> ErrorTexts:
    """What an error page says. `detail` is what the API would say of the error."""
    say = language.gettext
    if isinstance(error, PageError):
        values = {
            name: language.say(value) if isinstance(value, str) else value
            for name, value in error.values.items()
        }
        return ErrorTexts(say(_TITLES.get(status, _FAILED)), say(error.text, **values))
    if isinstance(error, NotReady):
        return ErrorTexts(say(_STARTING), say(_STARTING_SENTENCE))
    if isinstance(error, StoreUnavailable):
        return ErrorTexts(say(_STORE), say(_STORE_SENTENCE), detail)
    title = say(_TITLES.get(status, _FAILED))
    sentence = say(_SENTENCES[status]) if status in _SENTENCES else ""
    return ErrorTexts(title, sentence, "" if status in (404, 405, 500) else detail)

"""What nextbest raises on purpose. Each text says what is wrong, where, and how to fix it::

NextbestError               everything below; any other exception is a defect
    AmbiguousContact            an event that fits several contacts
    AofDamaged                  an append-only file that must not be repaired by cutting
    AudienceRefused             a condition or column with errors; has their diagnostics
    BadSignature                a provider's report that is not signed as it must be
    BudgetFull                  a commit that wants more of a budget than is left
    CannotArrange               a scenario table's row that no customer can have
    CannotCompare               policies that cannot be compared over decisions
    CannotRollBack              no earlier policy or model to return to
        Overtaken               somebody else has published meanwhile
    ConsumerError               Kafka refuses what is asked of it
    CountFirst                  what events count as for others is to be counted before them
    DamagedModel                a model file that LightGBM must not see
    DraftChanged                a draft that is no longer as it was seen
    DraftRefused                what cannot be done with a draft
    ErasedMeanwhile             the customer was erased while being changed
    EvaluationError             a log that a policy cannot be judged by
    FileError                   a file or folder that cannot be used as a whole
        ArchiveError                an archive that cannot be read or written
            ArchiveBusy                 another process is writing it
                ShareTaken                  another process archives this share of the log
            ArchiveChanged              somebody was erased while it was read; read it again
            ArchiveUnavailable          an object store that does not answer, or refuses
            TableChanged                others have changed a table meanwhile; look again
            UnreadableFile              one of its files is damaged
        BackupError                 a backup that cannot be used, or a store it cannot go to
        RunError                    a run of an audience that cannot be continued
        Unanswered                  it cannot be read in time
    GatewaySettingsError        a gateways file; has its diagnostics
    GatewayTypeError            a type of gateway of another package
    InputError                  a request, a row or a line; has the path of the field
    ModelError                  a model version that must not serve
    Moved                       the customer was merged while a delivery was recorded
    NoCommand                   bytes of an append-only file that are no command
    NoFont                      letters of a picture that no font of this machine has
    NoMasks                     trees too large to be scored by masks of their leaves
    NoSuchCustomer              a scenario's customer that experiments exclude
    NotAsSaid                   a delivery that another process has changed meanwhile
    NotFound                    what was asked for does not exist
    NothingFound                an archive without the events that were asked for
    Overloaded                  more to do than can be done in time; try again later
    PackagesMissing             packages of an extra that are not installed
    PageError                   an answer of the console that is an error page
        TokenRefused                a form of it without the token of who sends it
    PolicyRefused               rules that cannot be put in force
        RulesRefused                rules with errors; has their diagnostics
    PortionRefused              a part of an audience that a gateway does not take
    Problem                     an HTTP answer (RFC 9457)
    RateExceeded                an API key that calls more often than it may
    RehearsalFailed             files of a draft that could not be checked, tested or compared
    RuleEngineError             durable-rules does not work as it must
    SampleUnusable              the sample's customers do not fit its rules
    ScalarError                 a YAML value that is not what it looks like
    ScopeTaken                  a scope of a model spec that another spec decides for
    SettingsError               a setting
    SignInNeeded                nobody has signed in to the console
    SpecError                   a model spec; has its diagnostics
    StartRefused                a server that does not start
    Stopped                     a question to an archive that nobody waits for any more
    StoreUnavailable            the store did not answer; try again
        DamagedValue                a value in Redis that nextbest did not write
        NotReady                    no policy is in force yet
        Refused                     Redis answered with an error; `code` says which
        RegisterClash               the store's names contradict ours
        UnreadableDocument          a customer's bytes are damaged
    TargetRefused               an address that gateways may not connect to
    TemplateError               a content template
    TextTooLong                 a text, or its loops, beyond what texts may have
    TooMuchDue                  journeys of a scenario that do not come to an end
    TornCommand                 an append-only file that ends within a command
    TrainingError               a model that cannot be trained
    TypesChanged                an archive that has learned a feature meanwhile
    UnknownColumn               a scenario table's column
    UnknownFeature              a model feature that nobody computes
    UnknownField                a field that nobody provides
    UnknownNumber               a number that the register does not have
    UnknownSnapshot             a kind of Redis snapshot that is not understood
    Unreachable                 a certificate that a report needs cannot be fetched
    Unrenderable                a template of a gateway that does not fit a delivery
    WentOn                      a run of a journey that does not ask any more
    WrongKey                    a pseudonym made with a key that is gone
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import msgspec


class NextbestError(Exception):
    """Everything that nextbest raises on purpose. It can be copied and pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        # `Exception` would call the class with `args`: the text, not what the text was made of.
        return _rebuilt, (type(self), self.args), self.__dict__


def _rebuilt(kind: type[NextbestError], args: tuple[object, ...]) -> NextbestError:
    return kind.__new__(kind, *args)


class FieldError(msgspec.Struct, frozen=True):
    """One bad field: its path, as in `event.at` or `channels[1]`, and how to fix it."""

    path: str
    detail: str


class InputError(NextbestError, ValueError):
    """The input cannot be used. `path` is the place of the bad field (`event.at`)."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(f"{path}: {detail}" if path else detail)
        self.path = path
        self.detail = detail


class FileError(NextbestError):
    """A file or folder as a whole cannot be used; the text names it."""


class NotFound(NextbestError, LookupError):
    """What was asked for does not exist."""


class StoreUnavailable(NextbestError):
    """The store could not be reached or did not answer in time.

    `uncertain` is true where a write was sent and its answer is not known. `code` is a word from a
    fixed list: Redis' own (`OOM`, `READONLY`), or `unreachable`, `lost`, `timeout`, `stalled`,
    `busy`, `closed`, `contention`. `reason` and `fix` say what is wrong and what to do, without an
    address. All three are empty where there is nothing to say.
    """

    def __init__(
        self,
        message: str,
        *,
        uncertain: bool = False,
        code: str = "",
        reason: str = "",
        fix: str = "",
    ) -> None:
        super().__init__(message)
        self.uncertain = uncertain
        self.code = code
        self.reason = reason
        self.fix = fix


class NotReady(StoreUnavailable):
    """No policy is in force yet: the server is still starting, or waits for its store."""


class Overloaded(NextbestError):
    """There is more to do than can be done in time. Nothing was begun; try again later.

    `retry_after` is in seconds.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__("the server has more to do than it can do in time; try again later")
        self.retry_after = retry_after


def unknown(path: str, kind: str, name: str, known: Iterable[str]) -> InputError:
    """`placement: "app_hom" is not a placement of the policy; did you mean "app_home"?`"""
    names = sorted(known)
    shown = name if len(name) <= 60 else name[:57] + "…"
    hint = meant(name, names)
    if not hint:
        hint = f"; known are {', '.join(names[:20])}" if names else "; it has none"
    return InputError(path, f'"{shown}" is not a {kind} of the policy{hint}')


def meant(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name that is not known: the nearest that is, if any is near.

    >>> meant("Spring-1", ["spring-10", "birthday"])
    '; did you mean "spring-10"?'
    >>> meant("x", ["spring-10", "birthday"])
    ''
    """
    folded = {one.casefold(): one for one in sorted(known)}
    near = get_close_matches(name[:200].casefold(), folded, 1)
    return f'; did you mean "{folded[near[0]]}"?' if near else ""

"""What a client may ask for. `id` is the client's: sending a command again changes nothing."""

import re
from enum import StrEnum
from typing import Any, Literal

import msgspec

from tidings.domain.errors import InvalidInput

COMMAND_ID_CHARACTERS_MAX = 64
TEXT_CHARACTERS_MAX = 20_000
FILES_PER_COMMAND_MAX = 16
ANSWER_BYTES_MAX = 32 * 1024
_ID = re.compile(rf"[A-Za-z0-9_\-.:]{{1,{COMMAND_ID_CHARACTERS_MAX}}}")


class IfBusy(StrEnum):
    """What becomes of a message while a run in its thread is open."""

    ENQUEUE = "enqueue"
    """It waits for its turn."""
    INTERRUPT = "interrupt"
    """The open runs are stopped, then its own begins."""
    REJECT = "reject"
    """It is refused: `thread_busy`."""


class StartPayload(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request for an agent; without a thread a new one begins.

    `background`: nobody waits for it; what somebody waits for goes first.
    """

    user_request: str
    agent: str | None = None
    thread_id: str | None = None
    files: tuple[str, ...] = ()
    if_busy: IfBusy | None = None
    background: bool = False


class MessagePayload(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message in a thread."""

    thread_id: str
    text: str
    files: tuple[str, ...] = ()
    if_busy: IfBusy | None = None


class ChatPayload(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message; without a thread a new one begins."""

    text: str
    thread_id: str | None = None
    files: tuple[str, ...] = ()
    if_busy: IfBusy | None = None


class StopPayload(msgspec.Struct, frozen=True):
    """The run to stop."""

    run_id: str


class AnswerPayload(msgspec.Struct, frozen=True):
    """The answer to what a run asked in `input_required`."""

    run_id: str
    request_id: str
    value: Any


class ApprovePayload(msgspec.Struct, frozen=True):
    """Leave for a call, or none: for exactly the arguments of this hash."""

    run_id: str
    call_id: str
    decision: Literal["allow", "deny"]
    arguments_hash: str


class StartAgent(msgspec.Struct, frozen=True, tag_field="type", tag="start_agent"):
    """Let an agent work on a request."""

    id: str
    payload: StartPayload


class UserMessage(msgspec.Struct, frozen=True, tag_field="type", tag="user_message"):
    """Say something in a thread."""

    id: str
    payload: MessagePayload


class Chat(msgspec.Struct, frozen=True, tag_field="type", tag="chat"):
    """Say something, in a thread or not."""

    id: str
    payload: ChatPayload


class StopAgent(msgspec.Struct, frozen=True, tag_field="type", tag="stop_agent"):
    """Stop a run."""

    id: str
    payload: StopPayload


class AnswerInput(msgspec.Struct, frozen=True, tag_field="type", tag="answer"):
    """Answer what a run has asked."""

    id: str
    payload: AnswerPayload


class Approve(msgspec.Struct, frozen=True, tag_field="type", tag="approve"):
    """Let a run make the call it asks leave for, or not."""

    id: str
    payload: ApprovePayload


Command = StartAgent | UserMessage | Chat | StopAgent | AnswerInput | Approve


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """The command is durable. `offset` is where its first event stands in the thread's stream."""

    ref: str
    run_id: str
    thread_id: str
    offset: int
    duplicate: bool = False


class Ask(msgspec.Struct, frozen=True):
    """What the three ways of asking come to."""

    text: str
    files: tuple[str, ...]
    thread_id: str | None
    agent: str | None
    if_busy: IfBusy | None
    background: bool


def ask_of(command: StartAgent | UserMessage | Chat) -> Ask:
    """Return what is asked for.

    Raises:
        InvalidInput: `invalid_text` or `too_many_files`.
    """
    said = command.payload
    if isinstance(said, StartPayload):
        text, agent, background = said.user_request, said.agent, said.background
    else:
        text, agent, background = said.text, None, False
    ask = Ask(text, said.files, said.thread_id, agent, said.if_busy, background)
    check_text(ask.text)
    if len(ask.files) > FILES_PER_COMMAND_MAX:
        raise InvalidInput("too_many_files", f"Send at most {FILES_PER_COMMAND_MAX} files.")
    return ask


def check_command_id(command_id: str) -> None:
    """Check the client's id of a command.

    Raises:
        InvalidInput: `bad_message`.
    """
    if not _ID.fullmatch(command_id):
        raise InvalidInput("bad_message", "`id` must be 1 to 64 letters, digits, `_-.:`.")


def check_text(text: str) -> None:
    """Check what a person wrote.

    Raises:
        InvalidInput: `invalid_text`: empty, too long, or with a NUL in it.
    """
    if not text.strip():
        raise InvalidInput("invalid_text", "The text is empty.")
    if len(text) > TEXT_CHARACTERS_MAX:
        limit = TEXT_CHARACTERS_MAX
        raise InvalidInput("invalid_text", f"The text is longer than {limit} characters.")
    if "\0" in text:
        raise InvalidInput("invalid_text", "The text holds a NUL character.")


def check_answer(value: Any) -> None:
    """Check the size of what a person answers.

    Raises:
        InvalidInput: `invalid_text`.
    """
    if len(msgspec.json.encode(value)) > ANSWER_BYTES_MAX:
        raise InvalidInput("invalid_text", f"The answer has over {ANSWER_BYTES_MAX:,} bytes.")


def canonical(command: Command) -> Any:
    """Return the command's content for comparing a repeat with the first."""
    return msgspec.to_builtins(command)

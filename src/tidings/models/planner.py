"""The built-in planner: a deterministic model, so that the product works without any key."""

import re

import msgspec

from tidings.domain.errors import Failure
from tidings.models.port import ModelReply, ModelRequest, OnText
from tidings.models.rules.calls import next_calls
from tidings.models.rules.words import decide
from tidings.models.rules.writing import write
from tidings.models.tasks import AnalysisTask, ReportTask, TriageTask

PLANNER = "tidings:planner"

_SENTENCE = re.compile(r".+?(?:[.:!?*](?=\s)\s*|\n+|$)", re.DOTALL)


class Planner:
    """Reads the task of a request, not its text: chooses by rules, writes from templates."""

    @property
    def name(self) -> str:
        return PLANNER

    async def respond(self, request: ModelRequest, on_text: OnText) -> ModelReply:
        """Return the decision, the next calls or the answer that the task asks for.

        Raises:
            Failure: `model_task_unknown`, the request carries no task of the analysis.
        """
        match request.task:
            case TriageTask(question=question, coverage=coverage):
                decision = decide(question, has_data=bool(coverage))
                return ModelReply(PLANNER, value=msgspec.json.decode(msgspec.json.encode(decision)))
            case AnalysisTask() as task:
                return ModelReply(PLANNER, calls=next_calls(task))
            case ReportTask() as task:
                return await _say(write(task), on_text)
            case _:
                raise Failure(
                    "model_task_unknown",
                    "The built-in planner only knows the tasks of the analysis; "
                    "configure a language model for this agent.",
                )


async def _say(text: str, on_text: OnText) -> ModelReply:
    """Pass the text on sentence by sentence, as a language model would."""
    for piece in _SENTENCE.findall(text):
        await on_text(piece)
    return ModelReply(PLANNER, text=text)

"""A plugin for Tocsin: it pages people, through a gateway that takes JSON."""

from __future__ import annotations

import json

from dispatch import message
from dispatch.network import Network, NoAnswer
from dispatch.plugins import DispatchRequest, JsonObject, PluginInfo, Result, Verification
from storage.models import AttemptOutcome

INFO = PluginInfo(
    name="Pager",
    data_schema={"properties": {"number": {"type": "string", "pattern": "^[0-9]{3,15}$"}}, "required": ["number"]},
    options_schema={"properties": {"gateway": {"type": "string"}}, "required": ["gateway"]},
    secret_schema={"properties": {"token": {"type": "string"}}, "required": ["token"]},
)


class Pager:
    def __init__(self, network: Network) -> None:
        self.network = network

    async def init(self, options: JsonObject) -> PluginInfo:
        return INFO

    async def verify(self, options: JsonObject, secret_data: JsonObject) -> Verification:
        return Verification(ok=True)  # this gateway has no way to ask without paging somebody

    async def dispatch(self, request: DispatchRequest) -> Result:
        said = message.read(request.message, topic=request.envelope.topic)
        text = f"{said.title}\n{message.as_text(said)}"
        page = {"id": request.envelope.delivery_id, "number": request.channel_data["number"], "text": text}
        token = {"authorization": f"Bearer {request.secret_data['token']}"}
        try:
            answer = await self.network.post(
                request.options["gateway"], headers=token, content=json.dumps(page).encode()
            )
        except NoAnswer as failure:
            return Result.unanswered(failure)
        if answer.status_code == 200:
            return Result(AttemptOutcome.OK, status_code=200)
        outcome = AttemptOutcome.REFUSED if answer.status_code == 403 else AttemptOutcome.RETRY
        return Result(outcome, status_code=answer.status_code, error=f"The gateway answered {answer.status_code}.")

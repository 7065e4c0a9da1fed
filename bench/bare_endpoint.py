"""What the service is compared with: FastAPI and AsyncOpenAI, no more. It stores nothing."""

import json
import os
from collections.abc import AsyncGenerator

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI
from pydantic import BaseModel

app = FastAPI()
provider = AsyncOpenAI(base_url=os.environ["OPENAI_BASE_URL"], api_key="none", max_retries=0)
SYSTEM = {"role": "system", "content": "You are an assistant. " * 60}
HISTORY = json.loads(os.environ["BENCH_HISTORY"])


class Ask(BaseModel):
    prompt: str


@app.post("/chat")
async def chat(ask: Ask) -> dict[str, str]:
    messages = [SYSTEM, *HISTORY, {"role": "user", "content": ask.prompt}]
    answer = await provider.chat.completions.create(
        model="bench", messages=messages, max_tokens=1024
    )
    return {"text": answer.choices[0].message.content or ""}


@app.post("/stream")
async def stream(ask: Ask) -> StreamingResponse:
    async def frames() -> AsyncGenerator[str]:
        messages = [SYSTEM, *HISTORY, {"role": "user", "content": ask.prompt}]
        pieces = await provider.chat.completions.create(
            model="bench", messages=messages, max_tokens=1024, stream=True
        )
        async for piece in pieces:
            if piece.choices and piece.choices[0].delta.content:
                yield f"data: {json.dumps({'text': piece.choices[0].delta.content})}\n\n"

    return StreamingResponse(frames(), media_type="text/event-stream")


if __name__ == "__main__":
    uvicorn.run(
        app, loop="asyncio", port=int(os.environ["PORT"]), access_log=False, log_level="warning"
    )

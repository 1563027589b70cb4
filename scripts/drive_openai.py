#!/usr/bin/env python3
"""Drives a running `logwright serve` with the openai client: `drive_openai.py URL TOKEN TEXTS`.

URL ends in /v1. TEXTS is a JSON list: what `logwright generate -n 3 --seed 11` gives for the same model, one text a record.
Needs `pip install openai`; `tests/cli/serve/completions.rs` runs it.
"""

import json
import sys

import openai


def fails(kind, param, call):
    """Requires that the call raises this exception of the client, which names the parameter."""
    try:
        call()
    except kind as error:
        assert error.param == param, f"expected {param}, found {error.param}: {error}"
        return error
    raise AssertionError(f"expected {kind.__name__}")


def main():
    url, token, expected = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    client = openai.OpenAI(base_url=url, api_key=token, max_retries=0)

    [model] = client.models.list().data
    assert model.owned_by == "logwright" and model.object == "model"

    def create(**asked):
        return client.completions.create(model=model.id, **asked)

    whole = create(prompt="", n=3, seed=11, temperature=0.8)
    texts = [choice.text for choice in whole.choices]
    assert texts == expected, f"expected the texts of generate {expected}, found {texts}"
    assert whole.object == "text_completion" and whole.id and whole.created and whole.model == model.id
    assert all(choice.finish_reason == "stop" for choice in whole.choices)
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens > 0

    pieces = [""] * 3
    usage = None
    stream = create(prompt="", n=3, seed=11, temperature=0.8, stream=True, stream_options={"include_usage": True})
    for count, chunk in enumerate(stream, 1):
        for choice in chunk.choices:
            pieces[choice.index] += choice.text
        usage = chunk.usage or usage
    # A piece for each record at least, and the usage.
    assert pieces == expected and count >= 4 and usage == whole.usage, (pieces, count, usage)

    first = expected[0]
    stop = first[4:7]
    stopped = create(prompt="", seed=11, temperature=0.8, stop=stop).choices[0]
    assert stopped.text == first[: first.index(stop)] and stopped.finish_reason == "stop", stopped

    prompt = first[:5]
    echoed = create(prompt=prompt, echo=True, logprobs=3, max_tokens=4, temperature=0).choices[0]
    assert echoed.text.startswith(prompt) and echoed.finish_reason == "length", echoed
    logprobs = echoed.logprobs
    assert "".join(logprobs.tokens) == echoed.text and logprobs.text_offset[0] == 0, logprobs
    assert all(number <= 0 for number in logprobs.token_logprobs) and len(logprobs.top_logprobs[0]) >= 3

    schema = {"type": "object", "properties": {"u": {"enum": ["zoe"]}}, "required": ["u"], "additionalProperties": False}
    asked = {"type": "json_schema", "json_schema": {"name": "record", "schema": schema}}
    record = create(prompt="", max_tokens=60, extra_body={"response_format": asked}).choices[0].text
    assert json.loads(record) == {"u": "zoe"}, record
    wanted = create(prompt="", max_tokens=60, temperature=0, extra_body={"where": {"user": "bo"}}).choices[0].text
    assert '"bo"' in wanted, wanted

    fails(openai.BadRequestError, "n", lambda: create(prompt="", n=0))
    fails(openai.BadRequestError, "best_of", lambda: create(prompt="", best_of=4))
    fails(openai.NotFoundError, "model", lambda: client.completions.create(model="gpt-5", prompt=""))
    stranger = openai.OpenAI(base_url=url, api_key="wrong", max_retries=0)
    fails(openai.AuthenticationError, None, lambda: stranger.models.list())
    print(f"openai {openai.__version__}: completions, streams, stop, echo, logprobs, schema, conditions and errors")


if __name__ == "__main__":
    main()

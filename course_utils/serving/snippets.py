"""A call of a service, ready to copy: in curl, Python and JavaScript. The key comes from the environment."""

import json

QUESTION = "你好"


def snippets(service: str, address: str = "http://127.0.0.1:8765/v1", question: str = QUESTION) -> dict[str, str]:
    """Language -> code. address: up to and with `/v1`."""
    messages = [{"role": "user", "content": question}]
    body = json.dumps({"model": service, "messages": messages}, ensure_ascii=False)
    quoted = body.replace("'", "'\\''")
    return {
        "curl": f"""curl {address}/chat/completions \\
  -H "Authorization: Bearer $COURSE_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{quoted}'""",
        "Python": f"""import os

from openai import OpenAI

client = OpenAI(
    base_url={address!r},
    api_key=os.environ["COURSE_KEY"],
)
answer = client.chat.completions.create(
    model={service!r},
    messages={messages!r},
)
print(answer.choices[0].message.content)""",
        "JavaScript": f"""const response = await fetch({json.dumps(address + "/chat/completions")}, {{
  method: "POST",
  headers: {{
    Authorization: `Bearer ${{process.env.COURSE_KEY}}`,
    "Content-Type": "application/json",
  }},
  body: JSON.stringify({{
    model: {json.dumps(service, ensure_ascii=False)},
    messages: {json.dumps(messages, ensure_ascii=False)},
  }}),
}});
console.log((await response.json()).choices[0].message.content);""",
    }

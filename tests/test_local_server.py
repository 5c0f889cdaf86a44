"""A server for a cell: it really listens, it really stops."""

import httpx
import openai
import pytest

from course_utils.errors import CourseError
from course_utils.serving import keys
from course_utils.serving.local import local_server
from course_utils.serving.publish import publish
from course_utils.training.config import TrainingConfig
from course_utils.training.train import train


@pytest.mark.slow
def test_it_answers_while_the_block_lasts_and_not_after(tiny_base, tiny_data):
    config = TrainingConfig(
        base_model=str(tiny_base), precision="fp32", epochs=4, batch_size=8, learning_rate=1e-2, evaluations=1
    )
    publish(train(config, tiny_data, "情感"), "情感")
    keys.create_application("笔记本")
    secret = keys.create_key("笔记本", ["情感"])
    with local_server() as address:
        client = openai.OpenAI(base_url=address, api_key=secret)
        said = client.chat.completions.create(model="情感", messages=[{"role": "user", "content": "书好喜欢"}])
        assert said.choices[0].message.content == "积极"
    with pytest.raises(httpx.ConnectError):
        httpx.get(address.replace("/v1", "/healthz"))


@pytest.mark.slow
def test_a_server_that_cannot_start_says_why():
    with pytest.raises(CourseError, match="还没有发布服务"), local_server():
        pass

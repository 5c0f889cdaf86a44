"""What the API takes and gives; its documentation is made from this."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(max_length=200_000)]
ModelName = Annotated[
    str, Field(title="服务", description="服务的名字；加上 @2 就是第 2 版，不加就是当前版本", max_length=128)
]


class Part(BaseModel):
    type: Literal["text"]
    text: Text


class Message(BaseModel):
    """一条消息。"""

    role: Literal["system", "developer", "user", "assistant"] = Field(description="谁说的")
    content: Text | list[Part] = Field(description="说了什么；也可以是若干段文本")

    def plain(self) -> dict[str, str]:
        text = self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)
        return {"role": self.role, "content": text}


Messages = Annotated[
    list[Message],
    Field(
        min_length=1,
        max_length=1000,
        description="对话：可以有一条 system，然后 user 和 assistant 一问一答，最后一条是 user",
    ),
]


class StreamOptions(BaseModel):
    include_usage: bool = Field(False, description="最后再发一块，里面是用了多少 token")


EXAMPLE = {"model": "商品分类", "messages": [{"role": "user", "content": "功夫茶具套装 家用 汝窑"}]}


class ChatBody(BaseModel):
    """一次对话请求。没有列出的参数会被忽略，tools、functions、response_format 和 logit_bias 会被拒绝。"""

    model_config = ConfigDict(extra="allow", json_schema_extra={"example": EXAMPLE | {"max_tokens": 64}})
    model: ModelName
    messages: Messages
    stream: bool = Field(False, description="边写边发（SSE）")
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1, le=1 << 20, description="答案最多多少 token；不写就是密钥的上限")
    max_completion_tokens: int | None = Field(None, ge=1, le=1 << 20, description="和 max_tokens 相同的新名字")
    temperature: float | None = Field(
        None, ge=0, le=2, description="0（默认）：每次取最可能的 token，和评测一致；越大越随机"
    )
    top_p: float | None = Field(
        None, gt=0, le=1, description="只从合起来有这么大概率的 token 里抽；temperature 大于 0 时有用"
    )
    stop: (
        Annotated[str, Field(min_length=1, max_length=64)]
        | Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(max_length=4)]
        | None
    ) = Field(None, description="写到这些文字之前就停")
    seed: int | None = Field(None, ge=0, le=2**63 - 1, description="同样的种子和请求，抽到同样的答案")
    n: Literal[1] = Field(1, description="一次一个答案")

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class ChooseBody(BaseModel):
    """从标签里选一个。"""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE})
    model: ModelName
    messages: Messages
    labels: list[Annotated[str, Field(min_length=1, max_length=64)]] | None = Field(
        None, min_length=2, max_length=100, description="从中选；不写就是训练时的标签"
    )


class UsageCount(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str


class ChatChoice(BaseModel):
    index: int = 0
    message: ChatMessage
    finish_reason: str = Field(description="stop：自己说完了；length：到了 max_tokens")


class ChatAnswer(BaseModel):
    """一次回答。"""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str = Field(description="实际回答的服务和版本，例如 商品分类@2")
    choices: list[ChatChoice]
    usage: UsageCount


class ChooseAnswer(BaseModel):
    """选中的标签。"""

    id: str
    object: Literal["choice"] = "choice"
    created: int
    model: str
    label: str
    scores: dict[str, float] = Field(description="每个标签的概率，合起来是 1")
    usage: UsageCount


class ModelCard(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "course"
    current: int = Field(description="当前版本")
    versions: list[int]
    labels: list[str] | None = Field(description="标签任务的标签")


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelCard]


class Health(BaseModel):
    status: Literal["ok"] = "ok"
    services: int


class ErrorFacts(BaseModel):
    message: str = Field(description="哪里不对，怎么改")
    type: str
    param: str | None
    code: str = Field(description="给程序判断用的短名字")


class ErrorBody(BaseModel):
    """出错时的回答。"""

    error: ErrorFacts

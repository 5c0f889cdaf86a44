# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 第 3 章　情感分类：训练一个自己的模型，再把它交到别人手里
#
# 商家每天收到成百上千条评论，没有人能一条一条读完。这一章我们让一个小的大语言模型（large language model，LLM）替我们读：给它一条评论，它回答“积极”或“消极”。
#
# 模型本来不会这件事。我们用真实的评论**微调**（fine-tuning）它，把它发布成别的程序能调用的服务，再用它从没见过的评论检验：比不微调好多少？比十几年前的老办法好多少？哪些评论它读不懂，多大的模型才读得懂？
#
# | 步骤 | 平台上的页面 | 这一章 |
# |---|---|---|
# | 选模型 | 模型广场 | 第 1 节 |
# | 调参数 | 模型精调 → 参数 | 第 2 节：改一改，看曲线怎么变 |
# | 提交、看训练 | 模型精调 → 任务列表 | 第 3 节 |
# | 发布、调用、体验 | 模型服务、在线体验 | 第 4 节 |
# | 批量、评估 | 批量推理、模型评测 | 第 5、6 节 |
# | 报告、带走 | 评测报告、模型下载 | 第 7 节 |
#
# 训练要等几分钟。等的时候别干坐着：每一节都有要先猜的东西，猜完再看。
#
# ## 1　选模型，看它现在会什么
#
# 平台上有几十个基座模型（base model）。怎么选？先看任务要多大的模型，再看手上的机器训练得了多大的，取小的那个。面板里点「推荐模型」，它做的就是这件事；下面的表是同样的函数给出的。

# %%
from course_utils.models.recommend import recommend
from course_utils.widgets import market_panel

market_panel()
found = recommend("情感分析", "一般")
print(found.reason)
found.table[["模型", "档位", "参数", "权重", "LoRA 内存", "这台机器", "许可"]]

# %% [markdown]
# 表里的“实测”是在两个 CPU 核心上真的量过的，“估计”是按公式算的。不管推荐了谁，这一章都用随课程安装的 Gemma 3 270M：不用下载，两个核心就训练得动。它只有两亿多个参数，先别指望太多；它读不懂的地方，最后我们会一条一条看到。用它须遵守 [Gemma 使用条款](https://ai.google.dev/gemma/terms)。
#
# 先记下它现在怎么回答。四条评论从易到难，最后两条是反话和先扬后抑。**先猜一猜**：一个读过海量网页、但没人教过它这个格式的模型，会老老实实只答两个字吗？

# %%
import pandas as pd

from course_utils import pickup
from course_utils.data import presets
from course_utils.data.store import ALL, DataSet
from course_utils.inference.generate import generate
from course_utils.models.load import load

reviews = {"面料厚实，穿了一冬天没起球，洗了也不变形，很满意": "积极", "用了三天就坏了，客服一直不回，太差了": "消极",
           "不推荐给别人，不然下次我就抢不到了": "积极", "前台很热情，可惜房间里的蟑螂也很热情": "消极"}  # fmt: skip
ask = presets.card("sentiment_predict").constants["instruction"]
rows = [{"instruction": ask, "input": review, "output": label} for review, label in reviews.items()]
probes = pickup.made("四条评论", lambda: DataSet.create("四条评论", {ALL: rows}, {"tool": "手写"})).records()[ALL]
said = generate(*load("gemma-3-270m"), probes, max_new_tokens=24)
pd.DataFrame({"评论": reviews.keys(), "标注": reviews.values(), "基座的回答": said})

# %% [markdown]
# 基座只学过“接着往下写”：它可能复述、换一种语言，或者答了还停不下来。这不是它笨，而是没有人告诉它，这里应该怎么答。四条评论存成了一个小数据集，训练完我们拿同样的四条再问一遍。
#
# ## 2　设置：改一改才懂
#
# 平台的表单上有七八个设置，每个旁边都有一句说明。光读说明很难懂，我们一个一个改，看什么变了。
#
# **最大长度**（max length）是一条数据最多多少个 token。太小，评论的结尾被截掉；太大，又慢又占内存。看看真实的评论有多长，再决定。**先猜一猜**：截到 64 个 token，会有百分之几的评论丢了结尾？ <!-- 固定 -->

# %%
from course_utils.data.lengths import token_lengths
from course_utils.models.encode import encode
from course_utils.models.load import load_tokenizer
from course_utils.plots import lengths_picture
from course_utils.training.recipe import parse_recipe

_, data, _ = parse_recipe({"data": "sentiment_predict"})
tokenizer = load_tokenizer("gemma-3-270m")
longest = max(data["train"], key=lambda record: len(record.input))
print("原来：", longest.input, "→", longest.output)
print("\n截到 64 个 token：", tokenizer.decode(encode(longest, tokenizer, max_length=64).input_ids))
lengths = [whole for whole, _ in token_lengths(data["train"], tokenizer)]
limits = {f"最大长度 {limit}": limit for limit in (64, 128, 256)}
lengths_picture(lengths, limits, title="评论连同指令和答案有多长")

# %% [markdown]
# 被截的总是评论的结尾，指令和答案都完整：答案要是被截，模型就学不会停。可是评论的反转常常就在结尾（“……可惜”），截掉它，等于教模型看一半就下结论。从图上看，多大的最大长度就够了？再大也没有坏处，只要内存够：短的行并不会变慢。
#
# **LoRA**：原来的权重 $W$ 一个也不动，只在旁边加一条小路 $\dfrac{\alpha}{r}BA$。$A$ 把宽度 $d_{in}$ 压到 $r$，$B$ 再展开到 $d_{out}$。表单上的四个设置都在这个式子里：**作用模块**（加在哪些层旁边）、**秩** $r$（rank，小路多宽）、**缩放系数** $\alpha$（alpha，输出乘以 $\alpha/r$）、**丢弃**（dropout，训练时随机丢掉小路的一点输入）。
#
# **练习 03-1**　写出 `lora_parameters`：这些层旁边的小路一共有多少个参数？

# %%
import pandas as pd

from course_utils.grading.checks import check
from course_utils.models.load import load
from course_utils.training.config import MODULES


def lora_parameters(layers, rank):
    """layers 是每一层的 (输入宽, 输出宽)。"""
    total = None
    ### BEGIN SOLUTION
    total = sum(rank * (wide + high) for wide, high in layers)
    ### END SOLUTION
    return total


model, _ = load("gemma-3-270m")
found = {path: m for path, m in model.named_modules() if hasattr(m, "in_features")}  # 全部线性层
sizes = [(path.split(".")[-1], m.in_features, m.out_features) for path, m in found.items()]
layers = {kind: [(wide, high) for name, wide, high in sizes if name in names] for kind, names in MODULES.items()}
counts = {rank: lora_parameters(layers["all"], rank) for rank in (1, 8, 64)}
check("03-1", None if counts[8] is None else {"layers": layers["all"], "parameters": counts})
pd.DataFrame({f"秩 {rank}": {k: lora_parameters(v, rank) for k, v in layers.items()} for rank in counts})

# %% [markdown]
# 表的每一行是一种作用模块：`all` 全部线性层，`attention` 注意力，`mlp` 前馈，`q_v` 只有 q 和 v。秩翻倍，参数翻倍；和整个模型的两亿多相比，都只是一小条。参数少，占内存就少，发布时要拷的文件也小。
#
# **数值精度**（precision）是一个数用几个字节存。`fp32` 四个，`bf16` 和 `fp16` 各两个，省一半内存，也快得多。省下的代价各不相同。**先猜一猜**：哪一种存得下七万？哪一种分得清 1 和 1.001？ <!-- 固定 -->

# %%
import torch

numbers = {"三分之一": 1 / 3, "1.001": 1.001, "七万": 70_000.0}
kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
stored = {k: [f"{torch.tensor(n, dtype=t).item():.7g}" for n in numbers.values()] for k, t in kinds.items()}
pd.DataFrame(stored, index=numbers)

# %% [markdown]
# `fp16` 放不下大数，变成了无穷（inf），训练里一出现就全毁了；`bf16` 放得下，只是粗，分不清挨得很近的两个数。所以默认的“自动”在处理器支持时用 `bf16`，而 LoRA 的小矩阵自己仍用 `fp32`：每一步只改一点点，太粗就改不动。
#
# **学习率**（learning rate）是每一步走多大，最要紧的一个。我们用同样的一小撮短评论训练几次，只改一样。先是三种学习率，再是 LoRA 的三样。**先画一画**：三条损失（loss）曲线各是什么样子？

# %%
from course_utils.plots import compare_curves
from course_utils.profiles import by_profile
from course_utils.training.config import TrainingConfig
from course_utils.training.history import trained

steps, shown = by_profile(ci=3, classroom=30, gpu=60), by_profile(ci=2, classroom=3, gpu=3)
short = {part: [r for r in data[part] if len(r.input) <= 40] for part in ("train", "validation")}
few = {"train": short["train"][: 4 * steps], "validation": short["validation"][:16]}
usual = {"batch_size": 4, "evaluations": 1}
rates = {"学习率太小": {"learning_rate": 2e-6}, "学习率合适": {}, "学习率太大": {"learning_rate": 1e-2}}
lora = {
    "秩 1": {"lora_rank": 1, "lora_alpha": 2},
    "只有 q 和 v": {"lora_modules": "q_v"},
    "缩放系数大十倍": {"lora_alpha": 160},
}
tried = {
    name: trained(TrainingConfig(**usual, **changed), few, f"试-{name}", log=lambda _: None).metrics
    for name, changed in [*rates.items()][:shown] + [*lora.items()][:shown]
}
display(compare_curves({name: tried[name] for name in tried if name in rates}, title="只改学习率"))
compare_curves({name: tried[name] for name in tried if name == "学习率合适" or name in lora}, title="只改 LoRA 的设置")

# %% [markdown]
# 怎么读：线是训练损失，末尾的圆点是验证损失，图例里是它的值。
#
# - **学习率太小**：一条几乎不动的线。常有人以为模型“学不会”，其实只是步子太小。
# - **太大**：一上来就跌跌撞撞，甚至猛地冲高：步子大到每一步都跨过了要去的地方。训练短时它可能侥幸走到低处，可是训练长了、换一个随机种子，就靠不住；冲得太高就再也回不来。
# - **LoRA 的设置**：“秩 1”和“只有 q 和 v”参数少，同样的步子走得没那么远，起步慢。到末尾追上来了吗？没有追上，也先别说它们“学不会”：**学得慢和学不会，要训练久一点才分得清**。“缩放系数大十倍”像把学习率调大了：走得快，也更晃。所以这两样不要一起改，不然说不清是谁的功劳。
#
# 丢弃没有单独试：它防的是背题，训练这么短还来不及背。背题（**过拟合**，overfitting）什么样？我们存心让它只能背：十六条评论，标签**胡乱抽签**，里面没有规律可学；再把**训练次数**（epochs）调得很大，一遍一遍地看。**先猜一猜**：这种毫无道理的训练集，它学得会吗？
#
# **练习 03-2**　曲线底下有每次验证的损失。写 `best_and_stop`：该留下哪一步（`best`）？要是连续 `patience` 次都没有比之前最低的更低就停，会停在哪一步（`stop`，一直没有停就是 `None`）？

# %%
import random
from dataclasses import replace

from course_utils.grading.checks import check
from course_utils.plots import loss_curve
from course_utils.training.diagnose import diagnose


def best_and_stop(checks, patience):  # checks 是 [[步数, 验证损失], ...]，从早到晚
    best = stop = None
    ### BEGIN SOLUTION
    best = min(checks, key=lambda line: line[1])[0]
    lowest, waited = float("inf"), 0
    for step, loss in checks:
        waited = 0 if loss < lowest else waited + 1
        lowest = min(lowest, loss)
        stop = step if waited == patience and stop is None else stop
    ### END SOLUTION
    return best, stop


draw = random.Random(1)
tiny = {"train": [replace(r, output=draw.choice(["积极", "消极"])) for r in few["train"][:16]]}
times = by_profile(ci=1, classroom=16, gpu=20)  # 训练次数
again = TrainingConfig(batch_size=4, learning_rate=2e-3, epochs=times, evaluations=by_profile(ci=1, classroom=8, gpu=8))
run = trained(again, tiny | {"validation": few["validation"]}, "试-背题", log=lambda _: None)
checks, patience = [[line["step"], round(line["eval_loss"], 4)] for line in run.metrics if "eval_loss" in line], 2
print("每次验证的 [步数, 验证损失]：", checks)
print(*(f"提醒：{notice.what}" for notice in diagnose(run.metrics, run.samples)), sep="\n")
best, stop = best_and_stop(checks, patience)
check("03-2", best and {"checks": checks, "patience": patience, "best": best, "stop": stop})
loss_curve(run.metrics, title="十六条评论，标签是抽签来的")

# %% [markdown]
# 训练损失一路到了零：没有道理的标签，它照样背得滚瓜烂熟。所以**训练损失低，什么也证明不了**。看两条线在哪里**分手**：验证损失停住或者抬头的地方，就是从“学”变成“背”的地方。课程每次验证都存检查点（checkpoint），最后**留下验证损失最低的那一次**；想早点停、省时间，就填「提前停止」。曲线坏成别的样子怎么办，写在 `docs/training_troubles.md`。
#
# ## 3　提交训练
#
# 现在真的训练一次。面板已经按我们的选择填好，你来核对三页：数据是预置的评论，「训练最多用几行」决定要等几分钟；先点「估算」，再点「提交训练」。想改就改，名字请留着“评论情感”，后面靠它找到你的训练。

# %%
from course_utils.profiles import by_profile
from course_utils.widgets import studio_panel

rows, checked = by_profile(ci=(32, 16), classroom=(800, 96), gpu=(6000, 480))
recipe = {"name": "评论情感", "data": "sentiment_predict", "rows": rows, "validation_rows": checked, "evaluations": 3}
studio_panel(**recipe)

# %% [markdown]
# 「估算」不是查表：它真的拿最长的几批数据训练几步，再推算全程。提交以后，训练在另一个进程里进行，关掉网页也不会停；几个人用一台机器时，自动排队。
#
# 下面这一格找到你提交的任务，没有就替你提交，然后打开观察面板：损失曲线、速度、剩余时间、同样几条评论在训练中怎样回答，每两秒更新。等的时候，做三道小测验。

# %%
from course_utils import pickup
from course_utils.grading.quiz import quiz
from course_utils.widgets import watch_panel

run = pickup.training(recipe)
watch_panel()
for name in ("03-q1", "03-q2", "03-q3"):
    quiz(name)

# %% [markdown]
# 训练好了就继续；没好也没关系，下面这一格会等它，等到以后给出最后的曲线，再拿**同样的四条评论**问一遍。

# %%
from course_utils import pickup
from course_utils.data.store import DataSet
from course_utils.evaluation.answering import before_after
from course_utils.plots import loss_curve

run = pickup.run("评论情感")
display(loss_curve(run.metrics, title="评论情感"))
before_after(run, DataSet.open("四条评论").records()["all"])

# %% [markdown]
# 先看**格式**：是不是只答两个字，答完就停？这是最先学会的，几十步就够。再看**对不对**：前两条直来直去；后两条一条是反话式的好评，一条先扬后抑，它读懂了吗？270M 的模型在这种评论上常常出错，第 5 节会数给你看。
#
# 曲线上，训练损失抖动是正常的：每一步只看一小批。验证损失跟着降，说明学到的东西在没见过的评论上也管用。下面的小图是学习率：先升后降，开头慢慢走，结尾轻轻收。
#
# 分类任务其实不必让它自由地写。更稳的问法是：几个标签，你认为哪个更可能？一个标签的概率，是它每个 token 的概率**连同结束标记**乘起来，取对数就是相加。模型给出的对数概率已经取出来了。
#
# **练习 03-3**　写 `probabilities`：从各个 token 的对数概率，算出每个标签的概率，加起来是 1。

# %%
from dataclasses import replace
from math import exp, isclose

import torch

from course_utils import pickup
from course_utils.data.store import DataSet
from course_utils.grading.checks import check
from course_utils.inference.choose import choose
from course_utils.models.encode import encode


def probabilities(parts):
    shares = None
    ### BEGIN SOLUTION
    likelihood = {label: exp(sum(logs)) for label, logs in parts.items()}
    shares = {label: value / sum(likelihood.values()) for label, value in likelihood.items()}
    ### END SOLUTION
    return shares


(model, tokenizer), record = pickup.run("评论情感").load(), DataSet.open("四条评论").records()["all"][3]
parts = {}
for label in ("积极", "消极"):
    row = encode(replace(record, output=label), tokenizer)  # 答案和结束标记的位置，supervised 是真
    logs = model(torch.tensor([row.input_ids]).to(model.device)).logits[0].float().log_softmax(-1)
    parts[label] = [logs[i - 1, token].item() for i, token in enumerate(row.input_ids) if row.supervised[i]]
mine, theirs = probabilities(parts), choose(model, tokenizer, [record], list(parts))[0].scores
right = check("03-3", mine and {"parts": parts, "probabilities": mine})
assert not right or isclose(mine["积极"], theirs["积极"], abs_tol=0.03), f"你算的是 {mine}，差得太多，不是舍入"
print(f"「{record.input}」\n库里的 choose：{theirs}")

# %% [markdown]
# 手算的和 `course_utils.inference.choose` 一致（差一点点是 `bf16` 的舍入）。为什么非要算上结束标记？没有它，“好”永远比“好评”更可能，因为后者就是前者再加一个字。
#
# 这个概率也叫**把握**。把握大不等于对；第 5 节我们专看最有把握的错误。
#
# ## 4　发布：让别的程序用上它
#
# 模型放在文件夹里，别人用不上。发布以后，它是一个有版本的**服务**；来调用的程序是一个**应用**，应用拿着**密钥**，密钥只打得开给它的那几个服务。在平台上：模型服务 → 发布，应用管理 → 新建。
#
# 先答一道题，复习刚才的“选标签”。然后把面板的四页依次做一遍：发布成“评论情感”，建应用“小程序”，建密钥，看看怎么调用。密钥只显示一次，不要写进笔记本。

# %%
from course_utils.grading.quiz import quiz
from course_utils.widgets import publish_panel

quiz("03-q5")
publish_panel()
quiz("03-q6")

# %% [markdown]
# 发布前程序会抽查训练数据，证明服务收到的请求和训练时编码得一模一样：差一个空格，分数就可能差一截。
#
# 下面真的启动一个服务，用官方的 `openai` 客户端去调用。服务在另一个进程里，端口是空着的随便一个；`with` 结束，它就停了。**先猜一猜**：请求里只写评论，不写指令，它知道要做什么吗？拿一把错的密钥去敲门，会听到什么？

# %%
import openai

from course_utils import pickup
from course_utils.data.store import DataSet
from course_utils.serving import keys
from course_utils.serving.local import local_server

version = pickup.service("评论情感", pickup.run("评论情感"))
print(version.proof)
if "小程序" not in [found.name for found in keys.applications()]:
    keys.create_application("小程序")
secret = keys.create_key("小程序", ["评论情感"], days=1)  # 不打印：打印的会留在笔记本里
with local_server() as address:
    client = openai.OpenAI(base_url=address, api_key=secret)
    print(f"服务在 {address}，这把密钥打得开：", [found.id for found in client.models.list()])
    for record in DataSet.open("四条评论").records()["all"]:
        ask = [{"role": "user", "content": record.input}]
        reply = client.chat.completions.create(model="评论情感", messages=ask, max_tokens=24)
        print(f"{reply.model}：{reply.choices[0].message.content}　← {record.input}")
    try:
        openai.OpenAI(base_url=address, api_key="sk-wrong").models.list()
    except openai.AuthenticationError as error:
        print("错的密钥：", error.status_code, error.body["message"])
used = keys.listed()[0]
print(f"服务停了。第 {used.key.id} 号密钥（{used.key.hint}……）用过 {used.requests} 次，共 {used.tokens} 个 token。")

# %% [markdown]
# 请求里没有指令，服务替我们加上了训练时的那一句。错的密钥什么也打不开，用量也一笔一笔记着。平台上微调好的服务是同样的协议：换掉地址、密钥和 `model`，这段程序就能调用平台。
#
# 程序用的是接口，人用的是对话框。下面打开两个面板，再让服务和基座各答一条：「对比体验」能盲评，先投票再揭晓；「在线体验」里可以改温度和系统提示。**拿你自己的三条评论去难为它**：一条反话，一条先扬后抑，一条方言。

# %%
from course_utils.serving.talk import speak
from course_utils.widgets import chat_panel, compare_chat_panel

compare_chat_panel()
chat_panel()
for name in ("评论情感", "基座:gemma-3-270m"):
    said = "".join(speak(name, "快递三天才到，盒子瘪了，里面倒是好好的", 32))
    print(f"{name}：{said or '（什么也没写）'}\n")

# %% [markdown]
# 同一个问题，前面是服务，后面是基座。对基座并不公平：服务替我们加上了指令，基座没有谁替它加，不知道要它做什么。在面板里把指令也写进问题，再比一次。
#
# 几条说明不了好坏，只说明它们不一样；要说好坏，得用它从没见过的一大批评论。
#
# ## 5　批量推理和客观评分
#
# 三个模型答同样的题：基座、刚才只学了一小撮评论的“试-学习率合适”，和“评论情感”。题目是训练时留下、谁也没见过的测试集。面板已经填好，点「提交」，它在后台排队；停了可以接着做，答过的不重答。**先猜一猜**三个准确率。

# %%
from course_utils import pickup
from course_utils.profiles import by_profile
from course_utils.widgets import batch_panel

run, n = pickup.run("评论情感"), by_profile(ci=24, classroom=300, gpu=2000)
models = ["gemma-3-270m", "试-学习率合适", run.folder.name]
batch_panel(models=models, run=run.folder.name, rows=n, name="情感评测")

# %% [markdown]
# 下面这一格取来你提交的“情感评测”，没有就替你做一次，然后打分。
#
# 再请来一位老对手：TF-IDF 加逻辑回归，十几年前的老办法，几秒钟训练完，用的是同样的训练数据。微调要是比不过它，就不值得做。

# %%
from course_utils.evaluation import baselines
from course_utils.evaluation.classification import paired_difference, score_labels, summary
from course_utils.evaluation.report import conclusion
from course_utils.evaluation.scoring import score_batch

test, train = run.records("test")[:n], run.records("train")
folder = pickup.batch("情感评测", models, test)
found = score_batch(folder)
display(found.table().round(3))
print(*(conclusion(found, name) for name in models[1:]), sep="\n")
truth, said = found.references, [row["prediction"] for row in found.rows[run.folder.name]]
old = baselines.tfidf([r.input for r in train], [r.output for r in train], [r.input for r in test])
print("\nTF-IDF：", summary(score_labels(old, truth)))
gap, (low, high) = (pair := paired_difference(said, old, truth)).difference, pair.interval
print(f"微调比 TF-IDF：{gap:+.1%}（95% 区间 {low:+.1%} 至 {high:+.1%}，p = {pair.p_value:.3f}）")

# %% [markdown]
# - **准确率**（accuracy）：答对的比例。**95% 区间**：换一批同样多的评论，大致会落在哪里。
# - **宏 F1**（macro-F1）：两类各算一个 F1 再平均，哪一类少都不会被忽视。
# - **校准误差 ECE**：说八成把握的时候，是不是真的对八成。
# - **配对检验**：两个模型答的是同一批题，逐题比较，比看两个区间重不重叠灵敏得多。区间含 0，诚实的说法是“这批题还分不出高下”。
#
# 留意基座：自由回答时它答非所问，可是从两个标签里选，常常比瞎猜好。它懂一些，只是不会照格式说。

# %%
from course_utils.grading.quiz import quiz
from course_utils.plots import confusion_picture
from course_utils.show import long_text

display(confusion_picture(found.classified[run.folder.name].confusion, title="评论情感"))
display(long_text(found.errors[run.folder.name].head(8)))
quiz("03-q4")

# %% [markdown]
# 左上到右下的对角线是答对的。另外两格里，哪一种错更多？
#
# 下面的表是**最有把握的错误**。逐条读，别跳，给每一条归个类：**标注错了**（模型是对的），**模型读不懂**（先扬后抑、反问、拿别家来比、要懂常识），还是**人也拿不准**（有褒有贬、只说事实）？
#
# 归完类你会发现，错误里有一部分是尺子的错：真实评论的标签是网上来的，没有谁逐条核对过。所以没有哪个模型能到百分之百；想知道上限，就随机抽一百条请两个人重标，他们一致的比例，差不多就是任何模型都越不过的线。
#
# 再想一步：你是商家，把差评当成好评，和把好评当成差评，哪一种代价大？要是怕漏掉差评，可以不选概率大的那个，而是消极的概率超过三成就交给人看。门槛在验证集上定，不在测试集上定。
#
# 数字都是库给的，库又是怎么算的？**练习 03-4**　从预测和标注两列，亲手算出准确率、每一类的 F1 和宏 F1，再和库对一对。先猜一猜：一个永远回答“积极”的模型，准确率大约一半，它的宏 F1 会是多少？

# %%
from course_utils.evaluation.classification import score_labels
from course_utils.grading.checks import check


def by_hand(said, truth):
    accuracy, f1 = None, {}
    ### BEGIN SOLUTION
    accuracy = sum(a == b for a, b in zip(said, truth, strict=True)) / len(truth)
    for label in set(truth):
        both = sum(a == b == label for a, b in zip(said, truth, strict=True))
        precision, recall = both / max(1, said.count(label)), both / truth.count(label)
        f1[label] = 2 * precision * recall / (precision + recall) if both else 0.0
    ### END SOLUTION
    return accuracy, f1


answers = {"评论情感": said, "永远积极": ["积极"] * len(truth)}
for name, answer in answers.items():
    (accuracy, f1), theirs = by_hand(answer, truth), score_labels(answer, truth)
    print(f"{name}：库里的准确率 {theirs.accuracy:.3f}，宏 F1 {theirs.macro_f1:.3f}；亲手算的 {accuracy}，{f1}")
accuracy, f1 = by_hand(said, truth)
scores = {"accuracy": accuracy, "f1": f1, "macro_f1": sum(f1.values()) / len(f1)} if f1 else None
check("03-4", scores and {"predictions": said, "references": truth, **scores})

# %% [markdown]
# 准确率说“永远积极”有一半对，宏 F1 却说它很差：另一类它一条也没找到，那一类的 F1 是零。这就是为什么两个数要一起看。它们住在 `course_utils.evaluation.classification`，空回答和标签以外的回答都算错，而且数出来。
#
# ## 6　主观评分：裁判和人
#
# 标签可以数，句子不行。“答得好不好”要有人看，或者请一个**裁判**（judge）看。裁判也会出错，所以要先考它：拿一批早就知道哪个更好的回答让它选，叫**校准**（calibration）。
#
# 这一节让两个模型**自由地写**，不给标签。平台上的主观评测也是这样：人看两个回答，不知道谁是谁。

# %%
from course_utils import pickup
from course_utils.evaluation.agreement import offline_judge
from course_utils.evaluation.scoring import judge_batch
from course_utils.profiles import by_profile
from course_utils.widgets import scores_panel

run = pickup.run("评论情感")
judge, agreement = offline_judge()
print(judge.what, agreement.text(), sep="\n")
rows = run.records("test")[: by_profile(ci=4, classroom=24, gpu=100)]
free = pickup.batch("自由回答", ["gemma-3-270m", run.folder.name], rows, labels=[], max_new_tokens=24)
for judged in judge_batch(free, judge):
    low, high = judged.verdicts.interval
    print(f"{judged.model} 对基座：胜率 {judged.verdicts.win_rate:.0%}（95% 区间 {low:.0%} 至 {high:.0%}）")
scores_panel()

# %% [markdown]
# 先读裁判的自我介绍：它不懂意思，只比文字，是拿**问答**的标准答案考出来的。拿它判两个字的答案，等于看谁写出了和标准答案相同的字。
#
# 再看看它会怎样上当：基座常常把指令抄一遍，指令里“积极”“消极”两个词都有，只比文字的裁判就以为它说中了。我们的模型答错时，输给的正是这样一句废话。校准时一致率很高的裁判，换一种题目就不可靠了：**用在哪里，就在哪里校准**。换成会读的大模型裁判（设好 `COURSE_LLM_BASE_URL` 等环境变量），同样要先校准再用。
#
# 最可靠的还是人。下面的面板是盲评：选“自由回答”，写上你的名字，左右是抽签定的，按 1、2、3 就行。请同桌也评一遍，才看得出两个人一不一致。

# %%
import pandas as pd

from course_utils.evaluation.batch import answers
from course_utils.widgets import rating_panel

rating_panel()
said = {name: [row["prediction"] for row in found] for name, found in answers(free).items()}
pd.DataFrame({"评论": [r.input for r in rows], "标注": [r.output for r in rows], **said}).head(6)

# %% [markdown]
# 评分一条一条存在工作区里，随时可以停。表里是其中几条，写明了谁答的，**评完再看**——看过再评，就不算盲评了。没有评也能往下走，报告会老实写上“没有人工评分”；程序不会替你评，替人评的分数不是人的分数。
#
# ## 7　报告，和带走模型
#
# 分数、区间、对比、最有把握的错误、裁判、人工，还有每个模型的设置和重做的命令，写成**一个网页文件**，可以发给没有装课程的人。
#
# %%
from course_utils import pickup
from course_utils.evaluation.report import write_report

run = pickup.run("评论情感")
for name in ("情感评测", "自由回答"):
    folder = pickup.batch(name, ["gemma-3-270m", run.folder.name], run.records("test")[:20])
    results = write_report(folder, folder / "report.html")
    print(f"　报告在 {folder.name}/report.html。没有测的：{' '.join(results.missing)}")

# %% [markdown]
# 在左边的文件栏里打开 `workspace/batches/` 下的报告，从“没有测的”那一段读起：一份报告诚不诚实，看它肯不肯写自己不知道什么。
#
# 模型也能带走。**适配器**（adapter）只有几 MB，要和基座一起用；**GGUF** 是一个文件，别的电脑上的 llama.cpp、Ollama 都能打开；要给 transformers 用，导出 `merged`。每种导出都把文件读回来，和原来的模型比过才算数。

# %%
from course_utils import pickup
from course_utils.profiles import by_profile

run = pickup.run("评论情感")
for way in by_profile(ci=["adapter"], classroom=["adapter", "gguf"], gpu=["adapter", "merged", "gguf"]):
    folder = pickup.export(run, way)
    print(*(f"{file.name}：{file.stat().st_size / 1e6:.1f} MB" for file in sorted(folder.iterdir())), sep="\n")

# %% [markdown]
# 文件夹里的 `README.md` 是模型卡：用什么数据、什么设置训练的，导出时怎么核对的，基座的许可是什么。把模型给别人，这一页要一起给。
#
# ## 小结
#
# - 先看基座会什么，训练后用同样的题再问：格式几十步就学会，读懂反话要更大的模型。
# - 最要紧的设置是学习率；太小是横线，太大跌跌撞撞，背题时验证损失抬头。要不要更大的秩，试几十步就看得出来，不用背口诀。
# - 选标签比的是整个标签连同结束标记的概率；把握大不等于对。
# - 服务有版本，应用有密钥；密钥露出去就吊销。
# - 分数要带区间，要和便宜的办法比，要亲眼读最有把握的错误。裁判先校准，人来盲评。
#
# ## 练习
#
# 1. 把第 3 节的 `rows` 减到一百、加到两千，各训练一次（名字改成“评论情感-一百”之类）。微调和 TF-IDF 谁掉得多？
# 2. 用第 2 章你自己写的“我的数据”训练一个模型，发布成第二个服务，给“小程序”一把两个服务都打得开的密钥。
# 3. 在“设置”里加 `split: harder` 再训练一次：测试集全是训练里没有的商品和服务，而且一半以上是难的。准确率掉到多少？掉在哪一类难处上？
#
# 终端里也能做同样的事：`course submit-job`、`course publish`、`course serve`、`course batch`、`course report`。下一章做商品分类，一行代码也不写。

# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 第 1 章　概念：拆开看
#
# 大语言模型（large language model，LLM）、微调（fine-tuning）、LoRA，这些词你大概都听过。这一章不给定义，把模型拆开，放在桌上看：它算的到底是什么，中文进去以后变成什么，训练的那一步改了哪些数，LoRA 为什么只改那么一点点就够。
#
# 每个要紧的东西，我们都用十来行代码写一遍，再证明它和库里的一样。没有哪一行是念咒。
#
# 在平台上，这些都藏在「模型精调」的那张表单后面；懂了这一章，表单上的每个格子你都知道在拧什么。
#
# ## 1　语言模型算的是什么
#
# 只算一件事：**下一个 token 是什么**。给它一段文字，它给词表里的每一个 token（文字的最小单位，下一节细说）打一个分数，再换成概率。没有别的了。聊天、翻译、写诗，都是这件事一遍一遍地做出来的。
#
# **先猜一猜**：下面六句话，每句后面它最想接什么？有几句它会让你吃惊。

# %%
from math import exp

import pandas as pd
import torch

from course_utils.grading.checks import check
from course_utils.grading.quiz import quiz
from course_utils.models.load import load
from course_utils.models.pictures import tokens_picture
from course_utils.widgets.live import live

model, tokenizer = load("gemma-3-270m")


def logits_after(ids):
    """接在 ids 后面的下一个 token 的分数，词表里每个 token 一个。"""
    with torch.inference_mode():
        return model(torch.tensor([ids]).to(model.device)).logits[0, -1].float()


def next_tokens(text, temperature=1.0, n=6):
    share, token = (logits_after(tokenizer.encode(text)) / temperature).softmax(-1).topk(n)
    return {tokenizer.decode([i]): p for i, p in zip(token.tolist(), share.tolist())}


texts = ["一月、二月、三月、", "地球绕着", "这家餐厅的菜又贵又", "中国的首都是", "二加三等于", "床前明月"]
table = {text: [f"{token!r} {p:.1%}" for token, p in next_tokens(text).items()] for text in texts}
display(pd.DataFrame(table).T.rename(columns=lambda i: f"第 {i + 1} 名"))
tokens_picture({text: next_tokens(text) for text in texts[:3]}, title="下一个 token 的概率")

# %% [markdown]
# 数月份，它稳得很；地球绕着什么转，它知道。可是“又贵又”后面，人会接“难吃”，它接的多半是好话：网上的餐厅文章，夸的比骂的多。“中国的首都是”它居然接不上，“床前明月”它宁可换行，也不接“光”。（`<start_of_image>` 是给会看图的同门模型留的位置，这一个用不上。）
#
# 这就是一个 270M 的模型：它记住的不是知识，是**哪些字常常跟在哪些字后面**。跟得特别多的，看起来就像知识。更大的模型读得更多、记得更细，所以“知道”北京；但做的还是同一件事。
#
# 一个 token 一个 token 接下去，就是**生成**（generation）。每次都取概率最大的，叫**贪心**（greedy decoding）；按概率抽签，叫**采样**（sampling）。**先猜一猜**：贪心每次都选最好的，写出来的会不会也是最好的？


# %%
torch.manual_seed(1)
for temperature in (0, 0.5, 1.0, 1.5):
    ids = tokenizer.encode("今天天气真")
    for _ in range(24):
        logits = logits_after(ids)
        share = (logits / (temperature or 1)).softmax(-1)
        ids.append(int(torch.multinomial(share, 1) if temperature else share.argmax()))
    print("温度", temperature or "0，贪心", repr(tokenizer.decode(ids, skip_special_tokens=True)))

# %% [markdown]
# 贪心掉进了复读机：每一步都是最可能的，合起来却没有人这样说话。采样活泼得多，可是温度一高，就开始说胡话。（`\n` 是换行。）
#
# **温度**（temperature）就是采样前把分数除以的那个数。小于 1，大的更大，几乎就是贪心；大于 1，强弱拉平，什么怪字都有机会。拖一拖下面的滑块，看同一句话的概率怎样变尖、变平；滑块下面是三种温度并排的图。

# %%
from ipywidgets import FloatSlider

prompt = "今天天气真"
slider = FloatSlider(value=1.0, min=0.1, max=3.0, step=0.1, description="温度", continuous_update=False)
live(lambda temperature: tokens_picture({prompt: next_tokens(prompt, temperature)}), temperature=slider)
quiz("01-q1")
tokens_picture({f"温度 {t}": next_tokens(prompt, t) for t in (0.3, 1.0, 2.0)}, title=f"「{prompt}」的下一个 token")

# %% [markdown]
# 名次没有变，变的是差距。要唯一答案的事（分类、从合同里找金额），温度用 0，也就是贪心；要花样的事（起名字、写文案），用高一点。
#
# **练习 01-1**　自己写一遍：分数除以温度，取指数，再除以总和。

# %%
logits, answers = [round(score, 3) for score in logits_after(tokenizer.encode(prompt)).topk(5).values.tolist()], {}
for temperature in (0.5, 1, 2):
    shares = None
    ### BEGIN SOLUTION
    parts = [exp(score / temperature) for score in logits]
    shares = [part / sum(parts) for part in parts]
    ### END SOLUTION
    answers[temperature] = shares
check("01-1", answers[1] and {"logits": logits, "probabilities": answers})

# %% [markdown]
# 这里只拿了分数最高的五个，所以概率比上面的图大一些：分母里少了二十多万个别的 token。 <!-- 固定 -->
#
# ## 2　中文怎样切成 token
#
# 模型不认识字，只认识编号。**分词器**（tokenizer）把文字切成词表（vocabulary）里有的块，每块一个编号。词表是从海量网页里统计出来的：常常一起出现的字，合成一块。
#
# **先猜一猜**，这些各切成几块：“中华人民共和国”“心满意足”“躺平”“龘”“1234567”？再猜一个难的：词表里最长的一块中文是什么？

# %%
import pandas as pd

from course_utils.models.load import load_tokenizer

tokenizer = load_tokenizer("gemma-3-270m")
words = ["中华人民共和国", "人工智能", "不知道", "心满意足", "躺平", "饕餮", "龘", "𰻝", "1234567", "😂", "apples"]  # fmt: skip
cut = {word: tokenizer.tokenize(word) for word in words}
pd.DataFrame([{"文字": w, "字符": len(w), "token": len(c), "切法": " | ".join(c)} for w, c in cut.items()])

# %% [markdown]
# “中华人民共和国”是一块，“心满意足”被拦腰切成了“心、满意、足”，而“躺平”要两块。分词器不懂中文，它只数过网页，谁常见谁合成一块。
#
# 生僻字词表里没有，就拆成几个字节，一个字要三四块；数字一位一块，所以它做算术像小学生掰手指。 <!-- 固定 -->
#
# 词表里最长的中文是哪几块？把你猜的写下来再运行。

# %%
import re

chinese = [piece for piece in tokenizer.get_vocab() if re.fullmatch("[一-鿿]+", piece)]
print(f"词表一共 {len(tokenizer):,} 块，全是汉字的有 {len(chinese):,} 块，最长的几块：")
print("，".join(sorted(chinese, key=len)[-8:]))

# %% [markdown]
# 这几块，你一辈子也没说过几回：基金公告、百科的页脚、公司名字。**词表是一份自白**：模型读过什么，没读过什么，都写在上面。（里面混着日文的汉字词，分词器分不清。）
#
# token 的个数就是钱和时间：平台按 token 收费，**最大长度**（max length）也按 token 算。同样一百个字，什么文字最费？**先猜一猜**：唐诗、法律咨询、营销文案、商品标题、基金公告，排个次序。 <!-- 固定 -->

# %%
from course_utils.data import presets

said = {c.title: "".join(r.output if len(r.output) > 9 else r.input for r in presets.load(c.name)[:99])
        for c in presets.catalogue().values()}  # fmt: skip
said["唐诗"] = "床前明月光，疑是地上霜。举头望明月，低头思故乡。白日依山尽，黄河入海流。欲穷千里目，更上一层楼。"
said["基金公告"] = "根据中国证券投资基金业协会的规定，私募基金管理人应当在完成工商变更登记后十个工作日内，向协会报告。"
cost = {kind: round(100 * len(tokenizer.tokenize(text)) / len(text)) for kind, text in said.items()}
pd.Series(cost, name="每 100 字多少 token").sort_values().to_frame()

# %% [markdown]
# 公告这样的套话最省，诗最费：诗里没有套话，几乎一字一块。（文字取自课程的预置数据集，诗和公告是另加的。）估算训练要多久、调用要多少钱时，先数 token，别数字。
#
# ## 3　预训练学的是什么
#
# **预训练**（pre-training）的卷子只有一种题：遮住下一个 token，猜。猜得多好，用**损失**（loss）算：给正确答案的概率取对数，添个负号，平均一下。概率是 1，损失是 0；概率越小，损失越大。
#
# **先猜一猜**：一句通顺的话，把字打乱，损失变大多少？倒过来写呢？再看每个 token 各让它多“吃惊”：小猫在沙发上做什么，它觉得不奇怪？

# %%
import random
from math import exp, log

import pandas as pd
import torch

from course_utils.grading.checks import check
from course_utils.models.load import load

model, tokenizer = load("gemma-3-270m")


def surprises(text):
    """每个 token 和它的 −log(概率)，开头的除外：它前面什么也没有。"""
    ids = tokenizer.encode(text)
    with torch.inference_mode():
        logs = model(torch.tensor([ids]).to(model.device)).logits[0].float().log_softmax(-1)
    return [(tokenizer.decode([token]), -logs[place, token].item()) for place, token in enumerate(ids[1:])]


def loss_of(text):
    return sum(loss for _, loss in surprises(text)) / len(surprises(text))


for s in ("今天下午我和妈妈去超市买了牛奶和面包。", "房间的隔音太差，半夜能听见隔壁打呼噜。"):
    mixed = "".join(random.Random(0).sample(s, len(s)))
    display(pd.DataFrame({"怎么写": ["原样", "打乱", "倒着"], "文字": [s, mixed, s[::-1]],
                          "损失": [loss_of(s), loss_of(mixed), loss_of(s[::-1])]}).round(2))  # fmt: skip
for text in ("小猫坐在沙发上打呼噜", "小猫坐在沙发上写论文"):
    print("　".join(f"{token}({loss:.1f})" for token, loss in surprises(text)))

# %% [markdown]
# 它从没见过这些句子，却分得出哪个像人话：打乱或者倒过来，损失高出一大截。
#
# 括号里是每个 token 让它吃惊的程度，句子的损失就是这些数的平均。“沙发”后面的“上”、“呼”后面的“噜”，它闭着眼睛也猜得到。可是比一比两行的结尾：小猫写论文，并没有比小猫打呼噜让它吃惊多少。这么小的模型会说话，却没有什么常识。
#
# 损失不好懂，就换成**困惑度**（perplexity）：`exp(损失)`。困惑度是 20，意思是它平均像在二十个一样可能的 token 里猜一个。 <!-- 固定 -->
#
# **练习 01-2**　下面是一句话里每个 token 的概率，求损失和困惑度。

# %%
probabilities = [float(f"{exp(-loss):.4g}") for _, loss in surprises("小猫坐在沙发上打呼噜")]
loss = perplexity = None
### BEGIN SOLUTION
loss = -sum(log(p) for p in probabilities) / len(probabilities)
perplexity = exp(loss)
### END SOLUTION
check("01-2", loss and {"probabilities": probabilities, "loss": loss, "perplexity": perplexity})

# %% [markdown]
# 预训练就是在海量的网页上，把这个数一点一点压低。微调用的是**同一个损失**，只换了两样：文字换成你的例子，算损失的地方只留回答（第 6 节）。
#
# ## 4　为什么要微调
#
# 能不能不训练，只把话说清楚？这叫写**提示词**（prompt）。再进一步，把几个例子写在问题前面，叫少样本（few-shot）。三种办法，同样的评论，比一比：
#
# - **只写指令**；
# - **四个例子**：两条好评两条差评，一条隔一条，排成“评论：…… 情感：积极”的样子，让它照着往下写； <!-- 固定 -->
# - **微调**：[第 0 章](00_start.ipynb)的那个模型，训练过就直接取出来，没有就现在训练。
#
# **先猜一猜**：四个例子顶得上几百个吗？“答得合格式”和“答得对”，哪个先学会？ <!-- 固定 -->

# %%
import pandas as pd

from course_utils.data import presets
from course_utils.inference.generate import generate
from course_utils.models.load import load
from course_utils.profiles import by_profile
from course_utils.training.config import TrainingConfig
from course_utils.training.history import trained

data = {part: [r for r in rows if len(r.input) <= 40] for part, rows in presets.parts("sentiment_predict").items()}
sizes = by_profile(ci=(24, 8, 24), classroom=(320, 48, 200), gpu=(2000, 160, 800))
data = {part: data[part][:n] for part, n in zip(("train", "validation", "test"), sizes)}
run = trained(TrainingConfig(batch_size=4, evaluations=2), data, "第一个模型", log=print)
(model, tokenizer), (tuned, _) = load("gemma-3-270m"), run.load()
labels, rows = ["积极", "消极"], data["test"][: by_profile(ci=8, classroom=32, gpu=200)]
good, bad = ([r for r in data["train"] if r.output == label][:2] for label in labels)
shown = "".join(f"评论：{r.input}\n情感：{r.output}\n\n" for pair in zip(good, bad) for r in pair)
longer, plain = [f"{shown}评论：{r.input}\n情感：" for r in rows], [r.prompt for r in rows]
said = {"只写指令": generate(model, tokenizer, rows, max_new_tokens=8), "四个例子": []}
for text in longer:
    ids = tokenizer.encode(text, return_tensors="pt").to(model.device)
    out = model.generate(ids, max_new_tokens=4, do_sample=False)[0, ids.shape[1] :]
    said["四个例子"].append(tokenizer.decode(out).split("\n")[0])
said["微调"], lines = generate(tuned, tokenizer, rows, max_new_tokens=8), []
for name, answers in said.items():
    shares = [sum(a in labels for a in answers), sum(a == r.output for a, r in zip(answers, rows))]
    read = sum(len(tokenizer.encode(text)) for text in (longer if name == "四个例子" else plain)) / len(rows)
    lines.append([name, *(f"{n / len(rows):.0%}" for n in shares), max(set(answers), key=answers.count), round(read)])
pd.DataFrame(lines, columns=["办法", "答得合格式", "答对", "最常见的回答", "每次要读的 token"])

# %% [markdown]
# 一列一列看。**合格式**：只写指令，它把指令念一遍；给了例子，它马上照着样子写。**答对**：格式对了不等于判断对了。看“四个例子”最常见的回答，再想想“永远答一个标签能对多少”：它照着葫芦画了瓢，却没有在读评论，也许只是看出了例子是一正一反地轮着来。**每次要读的 token**：例子不是白写的，每问一次都要连例子重读一遍，重付一遍钱；微调把例子变成了权重，问的时候不用再带。 <!-- 固定 -->
#
# 这里的题很少，相差几个百分点不算数。更大的模型，少样本会强得多；那时微调的理由是便宜、稳定、听你的格式。
#
# 微调的五步，每一步在平台上都有一页：**准备数据 → 选择模型 → 设置并训练 → 评估 → 发布使用**。难的一直是第一步和第四步。
#
# ## 5　LoRA：看得见的算术
#
# 模型里的一层，是一个大矩阵 $W$。全参微调（full fine-tuning）把 $W$ 的每一个数都改一改：$W + \Delta W$。LoRA（low-rank adaptation）说：$\Delta W$ 不必是任意的，让它等于两个窄矩阵的乘积就够了：
#
# $$\Delta W = \frac{\alpha}{r}\,B A, \qquad A: r \times d_{in}, \quad B: d_{out} \times r$$
#
# $r$ 叫**秩**（rank），$\alpha$ 叫**缩放系数**（alpha）；在平台上，它们是「模型精调」表单里的两个格子。看一个 6×8 的：秩是 1 时，$\Delta W$ 的每一行都是同一行的几倍；秩是 2 时，是两行掺在一起。 <!-- 固定 -->

# %%
import numpy as np

from course_utils.models.pictures import matrices_picture

for rank in (1, 2):
    A, B = (np.random.default_rng(sum(size)).normal(size=size) for size in ((rank, 8), (6, rank)))
    parts = {f"B　6×{rank}": B, f"A　{rank}×8": A, "ΔW = BA　6×8": B @ A}
    display(matrices_picture(parts, title=f"秩 {rank}：{B.size + A.size} 个数，写出 {(B @ A).size} 个数"))

# %% [markdown]
# 图里蓝的是正，橙的是负。横着看 $\Delta W$：秩 1 的时候，每一行的花纹一模一样，只是深浅和正负不同；秩 2 是两种花纹掺着来。这就是“低秩”的全部意思。
#
# **练习 01-3**　真实的一层：输入宽 640，输出宽 2048。LoRA 有多少个参数？秩最小是几，$A$ 和 $B$ 加起来就不比 $W$ 少，也就不省了？ <!-- 固定 -->

# %%
from course_utils.grading.checks import check

shape, rank = [640, 2048], 8  # 输入宽，输出宽
parameters = break_even = None  # LoRA 有几个参数；秩最小是几，A 和 B 就不比 W 少了
### BEGIN SOLUTION
parameters = rank * sum(shape)
break_even = -(-shape[0] * shape[1] // sum(shape))
### END SOLUTION
check("01-3", parameters and {"shape": shape, "rank": rank, "parameters": parameters, "break_even": break_even})

# %% [markdown]
# 看看那个不省的秩，离 8 有多远。 <!-- 固定 -->
#
# 凭什么敢让 $\Delta W$ 这么简单？我们去看一个真的。下面提交两次真正的微调，一次全参，一次 LoRA，都只有很少的几步；它们在后台各自的进程里跑（所以内存也量得准）。跑完，用**奇异值分解**（SVD）问两个矩阵同一个问题：只许用秩 $r$，最多能留下多少？**先猜一猜**：原来的 $W$ 和改动 $\Delta W$，哪个更容易压？

# %%
from ipywidgets import SelectionSlider

from course_utils import pickup
from course_utils.models.load import load
from course_utils.models.pictures import kept, matrices_picture, rank_picture
from course_utils.profiles import by_profile
from course_utils.widgets.live import live

common = {"data": "sentiment_predict", "rows": by_profile(ci=16, classroom=96, gpu=400), "batch_size": 4,
          "max_length": 128, "validation_rows": 16, "evaluations": 1}  # fmt: skip
pickup.training({"name": "概念-全参", "method": "full", "learning_rate": 5e-5, **common})
pickup.training({"name": "概念-LoRA", **common})
full, _ = pickup.run("概念-全参").load()
base, tokenizer = load("gemma-3-270m")
place = "model.layers.8.mlp.up_proj"
weight = base.get_submodule(place).weight.detach().float().cpu()
change = full.get_submodule(place).weight.detach().float().cpu() - weight
ranks = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


def show(rank):
    closest, lost = kept(change, rank)
    corner = {"真的 ΔW（一角）": change[:48, :64], f"只用秩 {rank}": closest[:48, :64]}
    return matrices_picture(corner, title=f"秩 {rank}：留下 {1 - lost:.0%}")


live(show, rank=SelectionSlider(options=ranks, value=8, description="秩"))
display(show(8))
rank_picture({"原来的 W": weight, "全参微调的改动 ΔW": change}, ranks, title="只用秩 r，留下多少")

# %% [markdown]
# 两条线，一条是原来的权重，一条是全参微调改动的部分。看秩是 8 的地方：改动已经留下一大半，原来的 $W$ 只留下零头。$W$ 装着它读过的一切，压不动；而“学会答积极和消极”这件事，用不多的几个方向就说得差不多了。LoRA 赌的就是这个。（左边图里的白格是一点没动的数：改动太小，存成两个字节时舍掉了。）
#
# 这是一层、很少几步的情形。任务越难、训练越久，需要的秩越大，所以秩是表单上的一个设置，不是一个常数。
#
# 下面把 LoRA 写出来，一共十行，再请出大家都用的 PEFT 库，给两边同样的 $W$、$A$、$B$ 和输入，看结果是不是一样。 <!-- 固定 -->

# %%
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from course_utils.grading.quiz import quiz
from course_utils.models.load import load
from course_utils.training.config import MODULES


class MyLoRA(nn.Module):
    def __init__(self, layer, rank, alpha):
        super().__init__()
        self.layer, self.scale = layer.requires_grad_(False), alpha / rank
        self.A = nn.Parameter(torch.randn(rank, layer.in_features) / rank)
        self.B = nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self, x):
        return self.layer(x) + self.scale * (x @ self.A.T) @ self.B.T


layer = load("gemma-3-270m", "fp32")[0].model.layers[8].mlp.up_proj.cpu()
x, mine = torch.randn(5, layer.in_features), MyLoRA(layer, rank=8, alpha=16)
theirs = get_peft_model(nn.Sequential(layer), LoraConfig(r=8, lora_alpha=16, target_modules=["0"]))
lora = theirs.base_model.model[0]
print("刚装上，B 全是 0，输出和原来分毫不差：", torch.equal(mine(x), layer(x)))
with torch.no_grad():
    lora.lora_A.default.weight.copy_(mine.A)
    lora.lora_B.default.weight.copy_(mine.B.normal_())
print("换上随机的 B，两边最多相差：", (mine(x) - theirs(x)).abs().max().item())
assert torch.allclose(mine(x), theirs(x), rtol=1e-4, atol=1e-4), "手写的和 PEFT 的不一样：看看 alpha / rank 乘了没有"

# %% [markdown]
# 剩下的一丁点差别是浮点数的舍入。要紧的是第一行：$B$ 一开始全是 0，所以装上 LoRA 的那一刻，模型**一点也没有变**。训练从原来的模型出发，走到哪里，全靠 $B$ 和 $A$ 一步步长出来。
#
# 真的给整个模型装上也是这样吗？同一句话，装之前和装之后，二十多万个分数一个一个比。它住在 `course_utils.training.build`。 <!-- 固定 -->

# %%
base, tokenizer = load("gemma-3-270m")
ids = torch.tensor([tokenizer.encode("地球绕着")]).to(base.device)
before = base(ids).logits
wrapped = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules=MODULES["all"])).eval()
assert torch.equal(before, wrapped(ids).logits), "装上 LoRA 以后输出变了，B 不是全 0"
count = sum(p.numel() for p in wrapped.parameters() if p.requires_grad)
print(f"比了 {before.numel():,} 个分数，全部相等。要训练的参数 {count:,} 个，占 {count / base.num_parameters():.1%}。")
quiz("01-q2")

# %% [markdown]
# 每个线性层旁边都多了一对 $A$、$B$，原来的权重冻住不动。存下来的也只有 $A$ 和 $B$，叫**适配器**（adapter），所以一个微调好的模型只是一个小文件。
#
# ## 6　损失看见哪些字
#
# 一条训练数据里有指令、有问题、有回答。要是连问题也算进损失，模型就会学着自己出题。所以有**损失掩码**（loss mask）：只有回答那一段算数，别的标成 −100，跳过。
#
# 下面绿色的是要学的。选一条数据，拖一拖最大长度，看截断（truncation）截掉了什么。**先猜一猜**：有历史（history）的那条，前面几轮的回答算不算？回答后面的 `<end_of_turn>` 算不算？

# %%
from ipywidgets import Dropdown, IntSlider

from course_utils.data.records import Record
from course_utils.models.load import load_tokenizer
from course_utils.models.preview import preview
from course_utils.widgets.live import live

tokenizer = load_tokenizer("gemma-3-270m")
cases = {
    "一问一答": Record("判断情感，只答积极或消极。", "面料厚实，穿了一冬天没起球，洗了也不变形，很满意", "积极"),
    "有历史": Record("那运费谁出？", output="质量问题我们出，不喜欢的您出。", system="你是女装店的客服。",
                  history=[("衣服能退吗？", "签收后七天内，吊牌还在就能退。")]),
    "只有指令": Record("给一款不起球的毛衣写一句广告。", output="穿三个冬天，它还像第一天。"),
}  # fmt: skip


def show(case, max_length):
    return preview(cases[case], tokenizer, max_length)


limit = IntSlider(value=96, min=20, max=96, step=4, description="最大长度", continuous_update=False)
live(show, case=Dropdown(options=list(cases), description="数据"), max_length=limit)
print(show("有历史", 96).summary)
show("有历史", 96)

# %% [markdown]
# 两轮回答都是绿的，连同各自的 `<end_of_turn>`：不学它，模型就不知道停。问题、角色名、换行都不是绿的，那些由程序写好。最大长度变小，先丢最早的历史，再截问题的末尾，回答从来不截；截不下去了，它会直说。
#
# −100 真的等于“不看”吗？用库给的损失，和只在绿色位置上手算的损失，比一比。再证明一件事：把问题里的标签随便怎么改，只要还是 −100，损失不变。它住在 `course_utils.models.encode`。

# %%
import torch

from course_utils.grading.checks import check
from course_utils.models.encode import encode
from course_utils.models.load import load

model, tokenizer = load("gemma-3-270m")
row = encode(cases["有历史"], tokenizer)
ids, labels = (torch.tensor([values]).to(model.device) for values in (row.input_ids, row.labels))
out = model(input_ids=ids, labels=labels)
logs = out.logits[0].float().log_softmax(-1)
by_hand = [-logs[i - 1, token].item() for i, token in enumerate(row.input_ids) if row.supervised[i]]
print(f"库：{out.loss.item():.4f}　只在 {len(by_hand)} 个绿色位置上手算：{sum(by_hand) / len(by_hand):.4f}")
assert abs(out.loss.item() - sum(by_hand) / len(by_hand)) < 1e-3, "两个损失不一样：位置是不是错开了一个？"


def mark(pieces):
    """pieces 是一个个 token 的文字；返回一样长的真假，要学的是 True。"""
    marks = None
    ### BEGIN SOLUTION
    marks, speaking = [], False
    for i, piece in enumerate(pieces):
        speaking = speaking or pieces[max(0, i - 3) : i] == ["<start_of_turn>", "model", "\n"]
        marks.append(speaking)
        speaking = speaking and piece != "<end_of_turn>"
    ### END SOLUTION
    return marks


pieces = tokenizer.convert_ids_to_tokens(row.input_ids)
print(pieces)
check("01-4", mark(pieces) and {"pieces": pieces, "marks": mark(pieces)})

# %% [markdown]
# 手算时 `logs[i - 1]` 里的 −1 是初学者最常踩的坑：第 i 个 token 的概率，是**站在它前一个位置**猜出来的。
#
# **练习 01-4** 就在那一格：写 `mark`，从一串 token 里标出要学的。规则是：`<start_of_turn>`、`model`、换行之后开始，到 `<end_of_turn>` 为止，它也要学；有几轮，标几轮。
#
# ## 7　训练一步
#
# 现在可以把训练写出来了。一步就四件事：**前向**（算出损失）、**反向**（算出每个参数往哪边动损失降得快，叫梯度 gradient）、**优化器**（optimizer）改参数、把梯度清零。我们对着一条数据走六步。 <!-- 固定 -->
#
# **先猜一猜**：第一步之后，$A$ 和 $B$ 哪个动了？动了多少？

# %%
import torch

from course_utils.data.records import Record
from course_utils.grading.quiz import quiz
from course_utils.models.encode import encode
from course_utils.models.load import load
from course_utils.training.build import in_precision, prepare_model
from course_utils.training.config import TrainingConfig

config = TrainingConfig(lora_dropout=0)
base, tokenizer = load(config.base_model)
model = prepare_model(base, config, fused=False)
row = encode(Record("判断情感，只答积极或消极。", "用了三天就坏了，客服一直不回", "消极"), tokenizer)
ids, labels = (torch.tensor([values]).to(model.device) for values in (row.input_ids, row.labels))
weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
start = {name: p.detach().clone() for name, p in weights.items()}
optimizer = torch.optim.AdamW(weights.values(), lr=config.learning_rate, weight_decay=0)
for step in range(1, 7):
    with in_precision(model, config):
        loss = model(input_ids=ids, labels=labels).loss  # 前向
    loss.backward()  # 反向
    optimizer.step()  # 改参数
    optimizer.zero_grad()
    moved = {kind: max((p - start[n]).abs().max().item() for n, p in weights.items() if kind in n)
             for kind in ("lora_A", "lora_B")}  # fmt: skip
    print(f"第 {step} 步　损失 {loss.item():.3f}　A 最多动了 {moved['lora_A']:.1e}　B 最多动了 {moved['lora_B']:.1e}")
    assert step > 1 or (moved["lora_A"] == 0 and moved["lora_B"] > 0), "第一步应当只有 B 动"
print("学习率是", config.learning_rate)
quiz("01-q3")

# %% [markdown]
# 第一步，$A$ 一动不动：$B$ 全是 0，$A$ 怎么变都传不到输出，梯度就是 0。$B$ 最多动了整整一个**学习率**（learning rate）：AdamW 的第一步只看梯度的方向，不看大小。从第二步起，两个一起动，损失往下走。
#
# 六步，损失掉了一大截，可它背的只是这一条：背会一条不等于学会一件事。真的训练一步看好几条，换着看，还要拿没见过的来验证。这四行加上断点续训、验证、记录、几处让 CPU 快起来的办法，住在 `course_utils.training.train`。 <!-- 固定 -->
#
# ## 8　全参还是 LoRA
#
# 在平台上，这是表单里的「微调方法」。比三样：多少参数，多少内存，**忘了多少**（遗忘，forgetting）。忘了多少怎么量？拿几句和评论毫不相干的普通中文，量训练前后的损失：升得越多，忘得越多。用的是第 5 节那两次训练。**先猜一猜**谁忘得多。

# %%
import pandas as pd
import torch

from course_utils import pickup
from course_utils.grading.quiz import quiz
from course_utils.models.load import load

general = ["地球绕着太阳转，月亮绕着地球转。", "火车晚点了半个小时，大家都很着急。", "学而时习之，不亦说乎？"]


def general_loss(model, tokenizer):
    rows = [torch.tensor([tokenizer.encode(text)]).to(model.device) for text in general]
    with torch.inference_mode():
        return sum(model(input_ids=ids, labels=ids).loss.item() for ids in rows) / len(rows)


base, tokenizer = load("gemma-3-270m")
total, lines = base.num_parameters(), [["不训练", 0, "", "", "", "", f"{general_loss(base, tokenizer):.2f}"]]
for name in ("概念-LoRA", "概念-全参"):
    run = pickup.run(name, log=lambda _: None)
    trained, size = run.load(merge=False)[0], sum(f.stat().st_size for f in run.weights.glob("*.safetensors")) / 2**20
    learnt = "lora_" if run.config.method == "lora" else "layers"  # 全参微调不训练词嵌入，除非要它训练
    count = sum(p.numel() for n, p in trained.named_parameters() if learnt in n)
    needed = (2 * total + 16 * count) / 2**20  # 权重两字节；训练的每个参数另要十六：原件、梯度、两个动量，各四字节
    costs = [count, round(needed), run.facts["peak_mb"], round(size)]
    losses = run.facts["best_eval_loss"], general_loss(trained, tokenizer)
    lines.append([name, *costs, *(f"{loss:.2f}" for loss in losses)])
columns = ["方法", "训练的参数", "算出来 MB", "量出来 MB", "存盘 MB", "评论的验证损失", "普通中文的损失"]
display(pd.DataFrame(lines, columns=columns))
quiz("01-q4")

# %% [markdown]
# **参数**差几十倍。**内存**（“算出来”是权重和优化器，“量出来”是整个进程）：全参微调要为每个参数备四份东西，LoRA 只为那一小条备；量出来的比算出来的多，多的是中间结果、Python 和库自己。**存盘**：全参每次都是一个完整的模型，LoRA 是一个小文件，一台机器上放一百个也不怕。 <!-- 固定 -->
#
# **遗忘**在最后两列：评论上的验证损失，两个都降下来了；普通中文的损失，两个都升了，谁升得多？才训练了几十步，训练时又只看评论，它就开始把原来的本事挤掉。全参的学习率已经比 LoRA 小一个量级，还是这样：它能动的地方太多。小模型、数据多、要学的很新，全参值得一试；别的时候，先用 LoRA。 <!-- 固定 -->
#
# ## 9　好不好，谁说了算
#
# **客观评测**（objective evaluation）按公式打分：分类看准确率，文字看和标准答案有多像。**完全一致**（exact match）一个标点不同就是零分；**ROUGE-L** 看两句话的最长公共子序列（可以跳字，不能颠倒）占多少：2 × 公共的字数 ÷ 两句的字数之和。
#
# **练习 01-5**　用手（或者用眼睛）算一算下面这一对，再和库比。

# %%
from course_utils.evaluation.similarity import similarity
from course_utils.grading.checks import check

pair, common, score = ("签收后七天内可以退货", "签收七天内能退"), None, None  # common：公共子序列几个字；score：ROUGE-L
### BEGIN SOLUTION
common, score = 6, 2 * 6 / sum(map(len, pair))
### END SOLUTION
check("01-5", common and {"answer": pair[0], "reference": pair[1], "common": common, "rouge_l": score})
table = similarity([pair[0], "签收后七天内不可以退货"], [pair[1]] * 2).rows
table[["完全一致", "ROUGE-L（字）", "BLEU-4（字）"]].round(3)

# %% [markdown]
# 表的第一行是你刚算的那一对，库里的 ROUGE-L 和你的应当一样。第二行的回答是“签收后七天内**不**可以退货”，意思全反了，分数几乎没少。公式只数字，不读意思。所以还要**主观评测**（subjective evaluation）：人读，或者请一个裁判模型（LLM judge）读。
#
# 人也有毛病：知道哪个是“自己的模型”，就会偏心；总爱选左边的。所以要**盲评**：不说是谁写的，左右抽签。下面是同一个模型的两种写法，一个贪心，一个采样，开头一样。点一个你觉得更像人写的，再运行下一格揭晓。

# %%
import tempfile

import ipywidgets as widgets
import torch

from course_utils.evaluation.human import make_sheet, rate, sheet, tally
from course_utils.grading.quiz import quiz
from course_utils.models.load import load

model, tokenizer = load("gemma-3-270m")
opening = "从前，山里住着一个老人，"
ids = torch.tensor([tokenizer.encode(opening)]).to(model.device)
torch.manual_seed(7)
ways = {"贪心": {"do_sample": False}, "采样": {"do_sample": True, "temperature": 0.8, "top_k": None, "top_p": None}}
said = [model.generate(ids, max_new_tokens=40, **way)[0] for way in ways.values()]
written = [[tokenizer.decode(tokens, skip_special_tokens=True)] for tokens in said]
folder = make_sheet(tempfile.mkdtemp(), [opening], *written, tuple(ways))  # 每次都是一张新的评分表
line = sheet(folder, "我")[0]
print("左：", line["left"], "\n\n右：", line["right"])
vote = widgets.ToggleButtons(options=["左", "平", "右"], value=None, description="更像人写的")
display(vote)

# %% [markdown]
# 两段都不怎么样，这是 270M 的真实水平。比的就是哪个“没那么不像”。没有点也没关系，下一格会替你投一票，并且说明是替你投的：它选重复少的那一段。 <!-- 固定 -->

# %%
variety = {side: len(set(line[text])) for side, text in (("左", "left"), ("右", "right"))}  # 用了多少个不同的字
choice = vote.value or max(variety, key=variety.get)
print(f"你投了：{choice}" if vote.value else f"你没有投票，替你投给用的字更多的一边：{choice}")
rate(folder, "我", line["id"], choice)
found = tally(folder)
print(f"{found.a} 赢 {found.wins_a} 票，{found.b} 赢 {found.wins_b} 票，平 {found.ties} 票；一共 {found.rows} 题。")
quiz("01-q5")

# %% [markdown]
# 一题一人一票，当然什么也证明不了。第 3 章会用几十题，几个人评，还要看人和人之间一致不一致；工具就是这里用的 `course_utils.evaluation.human`。
#
# ## 小结
#
# - 模型只算一件事：下一个 token 的概率。温度把它压平或拉尖。
# - 中文按词表切块，常见的省，生僻的费；钱和长度都按 token 算。
# - 损失是“给正确答案的概率”取对数的相反数；预训练和微调用同一个损失，微调只看回答那一段。
# - LoRA 只训练 $\frac{\alpha}{r}BA$，刚装上时模型一点没变；训练一步是前向、反向、改参数。
# - 公式数字不读意思，人会偏心：两样都要，都要老实。
#
# ## 练习
#
# 1. 把第 1 节的句子换成你专业里的话，找一句它接得对的，一句它接得荒唐的。荒唐在哪里？（常见的是：套话接得对，数字和专名接得荒唐：它要的是像，不是准。）
# 2. 第 5 节里把 `place` 换成另一层（例如 `model.layers.0.self_attn.q_proj`），曲线变了吗？哪一层的改动最难压？（别从一次这么短的训练下结论。）
# 3. 有人说：“微调能让模型学会新知识。”用这一章看到的，说说你同意几分。（微调很会教“怎么说”，教“知道什么”要很多例子，还会顺便教它不知道的时候也说得很像。要新知识，先想想把资料放进提示词。）

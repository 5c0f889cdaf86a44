# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 第 0 章　开始：十五分钟，你的第一个模型
#
# 这门课不教你怎么和大语言模型（large language model，LLM）聊天，教你怎么**改**它：给它看几百条例子，让它变成只替你做一件事的模型。这件事叫**微调**（fine-tuning），平台上叫“精调”。
#
# 不用显卡，不用注册账号，不用联网：模型已经跟着课程装在这台电脑里了。这一章结束的时候，你会有一个自己训练的模型，能读一句评论，告诉你写的人是满意还是不满意。它还很笨，我们也会亲手把它骗倒一次。
#
# 怎么用这一页：灰底的是代码格，点中一格，按 `Shift + Enter`，它就运行，光标跳到下一格。从上往下一格一格来，不要跳。左边方括号里是 `*` 说明正在算，变成数字就是算完了。
#
# ## 1　这台电脑行不行
#
# 先体检。下面这一格检查 Python、课程用的包、内存、磁盘、中文字体、模型文件，每项一行。

# %%
import pandas as pd

from course_utils import environment
from course_utils.show import long_text

lines = environment.report()
long_text(pd.DataFrame([{"": x.level, "项目": x.name, "结果": x.detail, "怎么修": x.repair} for x in lines]))

# %% [markdown]
# 三种结果：`OK` 不用管；`注意` 能用，只是慢一点或者少点方便，比如连不上模型站，这门课自带的模型就不受影响；`失败` 要先修好，修法写在最右边。
#
# 下面这一格是一道会失败的检查。课程里每讲完一件要紧的事，都有这样一格：我们不说“应该没问题”，让电脑自己证明。

# %%
broken = [f"{line.name}：{line.detail}。{line.repair}" for line in lines if line.level == environment.FAILED]
assert not broken, "先修好这些，再往下走。\n" + "\n".join(broken)
print("体检通过，可以开始。")

# %% [markdown]
# 看见最后一句，说明没有一项“失败”。要是出现一片红字也别慌：只看最后几行，那里写着哪一项、怎么修。修好以后，从菜单选“内核 → 重启内核”，再从这一节的第一格运行起。
#
# ## 2　怎么学：先猜，再跑，再比
#
# 读懂和会做之间隔着一样东西：猜错。猜错一次，比读对十次记得牢。所以课程里到处写着“**先猜一猜**”，请真的猜一个，写下来，再运行。
#
# 现在就来一次。这个模型叫 Gemma 3 270M，读过海量网页。**先猜一猜**：它在磁盘上有多大？一首歌是几 MB，一部电影是几千 MB。把你的数写在下面。

# %%
guess_mb = 3000  # 改成你猜的数

from course_utils.models import catalogue, weights

card = catalogue.card("gemma-3-270m")
real_mb = sum(f.stat().st_size for f in weights.prepare(card.name).glob("*.safetensors")) / 1e6
print(f"你猜 {guess_mb:.0f} MB，实际 {real_mb:.0f} MB，猜的是实际的 {guess_mb / real_mb:.2g} 倍。")
print(f"它有 {card.parameters / 1e6:.0f} 百万个参数，每个 2 字节：{card.parameters * 2 / 1e6:.0f} MB。")

# %% [markdown]
# 实际的大小和“参数个数乘以两个字节”对得上：模型就是一大堆数，没有别的。这些数叫**参数**（parameter），合起来叫**权重**（weights）。微调，就是把这堆数改一改。
#
# 名字里的 270M 是两亿七千万个参数。大名鼎鼎的那些模型有几千亿。我们用小的，是因为它在你的电脑上几分钟就能训练一遍，而道理一样。
#
# 再看三样东西：这一次运行的**规模**、你的**工作区**（workspace），和出错时的话。

# %%
from course_utils import paths, profiles
from course_utils.errors import CourseError
from course_utils.training.config import build_config

print("规模：", profiles.profile(), "　工作区：", paths.workspace())
try:
    build_config({"learning_rate": 5, "epochs": -1})
except CourseError as error:
    print("故意写错两个设置，听听它怎么说：", error)

# %% [markdown]
# - **规模**：同一本笔记本有三种，`ci` 只证明它能跑，`classroom` 给普通电脑，`gpu` 给有显卡的机器。自动选好，你不用管。
# - **工作区**：你的数据、训练好的模型、改过的笔记本都在那个文件夹里，课程更新不会碰它。删掉它，就是从头再来。
# - **出错时**：说清楚是哪个设置、你写了什么、应该是什么。遇到英文的红字，也先看最后一行。
#
# **卡住了怎么办**，按这个顺序试：
#
# 1. 重新运行这一格；还不行，重启内核，从**这一节**的第一格运行起。每一节都能单独开始，不必从头再来。
# 2. 训练好的东西按名字存着，重新运行时直接取出来，不会再等一遍。训练到一半断了，也会接着来。
# 3. 在函数名后面加一个问号再运行，例如 `build_config?`，看它的说明。
# 4. 终端里运行 `course check`，再体检一次。
#
# 下面是一道小测验。点一个选项试试，每个选项都有回话，选错了不扣分。

# %%
from course_utils.grading.quiz import quiz

quiz("00-q1")

# %% [markdown]
# 每一章都有几道这样的题。把错的选项也点一点：知道一件事为什么不对，常常比知道为什么对更有用。
#
# ## 3　六本笔记本和平台
#
# 讯飞星辰 MaaS 这样的平台，把微调做成了几个网页：上传数据，点几下，等着。我们在自己的电脑上把同样的步骤走一遍，看得见每一步里面发生了什么。平台上哪个页面对应哪一章：
#
# | 笔记本 | 你做什么 | 平台上 |
# |---|---|---|
# | `00_start` | 装好，训练第一个模型 | 看一眼全貌 |
# | `01_concepts` | 拆开模型看：它算什么，LoRA 改了什么 | 表单上每个格子的意思 |
# | `02_data_building` | 造数据：导入、检查、切分、抽取、增强 | 数据管理 → 数据集 |
# | `03_sentiment_model` | 情感分类，从调参数到发布服务 | 模型精调、模型服务 |
# | `04_product_classification` | 五步无代码流程，商品分到类目 | 模型广场、模型精调、在线体验 |
# | `05_legal_qa_exercise` | 自己做一个法律助手，写报告，交作业 | 批量推理、模型评测 |
#
# 每本要让电脑算多久？下面的数是在两个 CPU 核心上量出来的，不算你读和想的时间。

# %%
import json

import pandas as pd

from course_utils import paths

measured = json.loads((paths.ROOT / "docs" / "timing.json").read_text(encoding="utf-8"))["notebooks"]
seconds = {name: [part["classroom"]["seconds"] for part in parts.values() if "classroom" in part]
           for name, parts in sorted(measured.items())}  # fmt: skip
pd.DataFrame([{"笔记本": name, "计算（分钟）": round(sum(s) / 60, 1) if s else "未测"} for name, s in seconds.items()])

# %% [markdown]
# 电脑算的时间远比你想的时间短，这是故意的。想快点看到成果，做完这一章可以直接去[第 4 章](04_product_classification.ipynb)，全程用鼠标；想知道为什么，就按顺序来。
#
# ## 4　第一个模型
#
# 任务：读一句商品评论，只回答“积极”或“消极”。先看例子，也就是**数据**。它们是真实的网络评论，**标签**（label）是人标的。

# %%
import pandas as pd

from course_utils.data import presets
from course_utils.profiles import by_profile
from course_utils.show import long_text

data = {part: [r for r in rows if len(r.input) <= 40] for part, rows in presets.parts("sentiment_predict").items()}
sizes = by_profile(ci=(24, 8, 24), classroom=(320, 48, 200), gpu=(2000, 160, 800))
data = {part: data[part][:n] for part, n in zip(("train", "validation", "test"), sizes, strict=True)}
ask = data["train"][0].instruction
print("指令：", ask, "\n", {part: len(rows) for part, rows in data.items()})
long_text(pd.DataFrame([{"评论（input）": r.input, "答案（output）": r.output} for r in data["train"][:6]]))

# %% [markdown]
# 数据分成三份：**训练集**给模型学，**验证集**在训练途中看学得怎样，**测试集**（`test`）锁起来，最后只用一次。为什么要锁？你要是考前见过卷子，考一百分也说明不了什么。
#
# 现在挑三句，拿去问还没微调的模型，也就是**基座模型**（base model）。**先猜一猜**：它会回答什么？

# %%
import pandas as pd

from course_utils.data.records import Record
from course_utils.inference.generate import generate
from course_utils.models.load import load
from course_utils.show import long_text

model, tokenizer = load("gemma-3-270m")
three = [Record(ask, said) for said in ("面料厚实，穿了一冬天没起球，很满意", "用了三天就坏了，客服一直不回，太差了",
                                        "老板人很好，还送了一盘水果，下次还来")]  # fmt: skip
before = generate(model, tokenizer, three, max_new_tokens=20)
long_text(pd.DataFrame({"评论": [r.input for r in three], "微调前": before}))

# %% [markdown]
# 像不像一个没听懂、只好把你的话再念一遍的新同事？它不是读不懂，是不知道你在等什么：它读网页长大，只会把一段文字**接着往下写**，最省事的接法，就是重复。（为什么是这样，[第 1 章](01_concepts.ipynb)会拆开看。）
#
# 那就教它。下面两行是全部的设置和全部的训练：把训练集给它看一遍，每一步看四条，看完改一改参数。**先猜一猜**：一句评论平均二十来个字，看几百句，够它学会吗？ <!-- 固定 -->

# %%
from course_utils.plots import loss_curve
from course_utils.training.config import TrainingConfig
from course_utils.training.history import trained

config = TrainingConfig(batch_size=4, evaluations=2)
run = trained(config, data, "第一个模型", log=print)
loss_curve(run.metrics, title="第一个模型")

# %% [markdown]
# 这条往下走的线叫**损失**（loss）：模型离标准答案有多远，越小越好。开头陡降的那一段，它在学“只答两个字，答完就停”；后面慢慢磨的那一段，才在学“哪两个字”。橙色的是验证集上的损失：没学过的题，它也答得更好了吗？
#
# 同样的三句，再问一遍。

# %%
import pandas as pd

from course_utils.inference.generate import generate
from course_utils.show import long_text

tuned, tokenizer = run.load()
after = generate(tuned, tokenizer, three, max_new_tokens=20)
long_text(pd.DataFrame({"评论": [r.input for r in three], "微调前": before, "微调后": after}))

# %% [markdown]
# 同一个模型，同样的三句话，几分钟前它还在念你的指令。这三句不在训练集里，它没有背过答案。
#
# 可是三句算不得证据。拿锁着的测试集来考，并且请两位陪考：
#
# - **多数类**：不看评论，永远答训练集里最多的那个标签。连它都赢不了，就白忙了。
# - **基座模型，二选一**：不许它自由发挥，只比较“积极”和“消极”两个答案哪个它觉得更可能。
#
# **先猜一猜**三者各对百分之几。

# %%
import pandas as pd

from course_utils.evaluation import baselines
from course_utils.evaluation.classification import score_labels
from course_utils.evaluation.pictures import scores_picture
from course_utils.inference.predict import predict

labels, truth = ["积极", "消极"], [r.output for r in data["test"]]
answers = {"多数类": baselines.majority([r.output for r in data["train"]], len(truth))}
for name, asked in {"基座模型，二选一": model, "第一个模型": tuned}.items():
    answers[name] = [row["prediction"] for row in predict(asked, tokenizer, data["test"], labels, title=name)]
scores = {name: score_labels(said, truth) for name, said in answers.items()}
display(scores_picture({"": [(name, s.accuracy, s.interval) for name, s in scores.items()]}, title="测试集上的准确率"))
pd.DataFrame([{"谁": name, "准确率": f"{s.accuracy:.1%}", "95% 区间": f"{s.interval[0]:.1%} 到 {s.interval[1]:.1%}"}
              for name, s in scores.items()])  # fmt: skip

# %% [markdown]
# 三个点，三条横线。点是**准确率**（accuracy），答对的占多少；横线是 95% 的**置信区间**（confidence interval）：换一批差不多的评论来考，成绩大概会落在这段里。两条线要是大半重叠，就不能说谁比谁强。
#
# 看第二条线：逼着它二选一，基座模型比闭着眼睛答好一些。它读得懂一点，只是不会按你要的样子说出来。微调的头几十步教会它怎么说，之后才让它懂得更多。
#
# **练习 00-1**　自己算一遍：这个模型的准确率，和“多数类”的准确率。下面给了前二十条，用 Python 数，别用眼睛数。 <!-- 固定 -->

# %%
from course_utils.grading.checks import check

references, predictions = truth[:20], answers["第一个模型"][:20]
accuracy = majority = None  # majority：每一条都答这二十条里最多的标签，能对多少
### BEGIN SOLUTION
accuracy = sum(said == right for said, right in zip(predictions, references, strict=True)) / len(references)
majority = max(references.count(label) for label in set(references)) / len(references)
### END SOLUTION
given = {"references": references, "predictions": predictions}
check("00-1", accuracy and given | {"accuracy": accuracy, "majority": majority})

# %% [markdown]
# 准确率就这么简单：相等的条数除以总条数。要紧的是旁边站着谁：只报“对了八成”，不说不看题能对几成，是外行和骗子的报法。
#
# 现在轮到你。把引号里的话换成你自己的，运行，看它怎么想；多换几句。

# %%
from course_utils.data.records import Record
from course_utils.inference.choose import choose

mine = "外卖送到的时候汤还是烫的，给骑手点赞"  # 换成你自己的话

found = choose(tuned, tokenizer, [Record(ask, mine)], labels)[0]
print(f"「{mine}」\n模型说：{found.label}，把握 {found.scores[found.label]:.0%}")

# %% [markdown]
# “把握”是模型自己给的概率。给出的那一句，人一看就是夸；它有没有被一个“烫”字带偏？多试几句你会发现：直来直去的话，它又对又有把握；话里有话，它就露馅，而且常常错得很有把握。
#
# **练习 00-2**　骗倒它。写一句人一看就明白、模型却答错的评论。提示：反话（“好得很，修了三次还没好”），先扬后抑，全是坏词的好评，都值得一试。找到一句算过关。

# %%
import pandas as pd

from course_utils.data.records import Record
from course_utils.grading.checks import check
from course_utils.inference.choose import choose

tricks = {}  # 写成 {"你的评论": "积极" 或 "消极"}，可以写好几句，标签是人的看法
### BEGIN SOLUTION
tricks = {
    "不推荐给别人，不然下次我就抢不到了": "积极",
    "前台很热情，可惜房间里的蟑螂也很热情": "消极",
    "好吃到停不下来，减肥计划彻底毁了，都怪你们": "积极",
    "感谢商家，让我又学会了怎么修洗衣机": "消极",
    "快递慢得像蜗牛，拆开一看，一点都不后悔等": "积极",
    "质量真好，好到第二天就散架了": "消极",
}
### END SOLUTION
said = [c.label for c in choose(tuned, tokenizer, [Record(ask, t) for t in tricks], labels)] if tricks else []
tried = [{"sentence": s, "human": h, "model": m} for (s, h), m in zip(tricks.items(), said, strict=True)]
check("00-2", tried or None)
pd.DataFrame([{"评论": x["sentence"], "人": x["human"], "模型": x["model"],
               "骗倒了吗": "骗倒了" if x["human"] != x["model"] else "没有"} for x in tried])  # fmt: skip

# %% [markdown]
# 别笑它：它只有两亿多个参数，又只看了几百句话。请记住你骗倒它的这一句，第 3 章用更多数据训练以后，再拿来试一次。测试集上的分数很好看，和“这种话它读不懂”，可以同时是真的：分数只说明它在**和测试集相像的**评论上怎么样。
#
# ## 5　刚才做了什么：五步
#
# 下面这一格从存下来的训练里，把刚才的每一步翻出来：它们没有随着网页关掉而消失。

# %%
import pandas as pd

from course_utils.grading.quiz import quiz
from course_utils.show import long_text
from course_utils.training.history import find_run

run = find_run("第一个模型")
facts, config = run.facts, run.config
steps = [
    ("1 准备数据", f"训练集 {facts['data']['train']['rows']} 条，问题和答案各一列", "数据管理"),
    ("2 选择模型", config.base_model, "模型广场"),
    (
        "3 设置并训练",
        f"LoRA，学习率 {config.learning_rate}，共 {facts['steps']} 步，{facts['seconds']:.0f} 秒",
        "模型精调",
    ),
    ("4 评估", f"验证损失 {facts['best_eval_loss']:.3f}；测试集上和多数类、基座模型比", "模型评测"),
    ("5 使用", f"权重在 {run.folder.name}/{run.weights.name}，你问过它自己的话", "在线体验、模型服务"),
]
display(long_text(pd.DataFrame(steps, columns=["步骤", "刚才", "平台上"])))
for name in ("00-q2", "00-q3", "00-q4"):
    quiz(name)

# %% [markdown]
# 这五步就是整门课，后面每一章都是其中一步或几步的放大：[第 1 章](01_concepts.ipynb)讲第三步里面发生了什么，[第 2 章](02_data_building.ipynb)讲第一步，[第 3 章](03_sentiment_model.ipynb)把五步都做扎实，[第 4 章](04_product_classification.ipynb)和[第 5 章](05_legal_qa_exercise.ipynb)换成你自己来。
#
# ## 小结
#
# - 模型是一大堆数，微调是用例子把这堆数改一改。
# - 基座模型只会接着往下写；看过几百条例子，它学会了按你要的样子回答。
# - 好不好，要拿没见过的题考，旁边站着不看题的“多数类”，分数带上区间。
# - 分数不错的模型，照样会被一句反话骗倒。
#
# ## 练习
#
# 1. 把第 4 节训练集的条数（`sizes` 的第一个数）减半，再训练一次。先猜准确率会掉多少，再看两个区间重叠不重叠。
# 2. 把 `ask` 换成英文的指令，训练好的模型还答得对吗？为什么？
# 3. 问身边的人要三句真实的评论，人先说是积极还是消极，再问模型。有没有一句，人和人都说不到一起？

# %% [markdown] tags=["answer:00-3"]
# 1. 条数减半，点会动一点，但两条区间大半重叠：两百条考题看不出这么小的差别。要分辨，就要更多考题，或者把两个模型在同一批题上一条一条地比（第 3 章）。
# 2. 多半还能答，但把握变小，错的变多：它学的是“这条指令后面跟这两个词”。训练和使用时指令要一样，这是最常见的一个坑。
# 3. 总会有的。“还行”“一般般”这样的话，人和人之间也不一致；标签有多一致，是模型成绩的天花板。

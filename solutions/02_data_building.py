# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 第 2 章　数据构建：从手边的文件到可以训练的数据
#
# 微调（fine-tuning）的效果，一大半在训练之前就定下了：数据里有什么，模型才能学到什么。平台的“数据管理”有好几个入口：预置数据集、上传文件、问答对抽取、数据增强、提示词模板。这一章我们在本地把它们都走一遍。
#
# 每个入口都有一个面板。面板下面那一格代码会**用你在面板里做好的**；你没有做，它就调用同样的函数替你做，并且说一声是哪一种。所以从上往下一直运行也行，动手做更好。
#
# 你会做什么：
#
# 1. 看懂一条数据的五个字段，和数据集的说明卡
# 2. 把一个有毛病的文件变成干净的数据集
# 3. 从文档里抽取问答对（question-answer pair），再挑出不该留的
# 4. 数据增强（data augmentation）：变多，但不能变坏
# 5. 提示词模板（prompt template）：同一件事，换个问法
# 6. 切分，并确认测试集没有泄漏
# 7. **从零写一份你自己的数据集**
#
# 每一节都可以单独重新开始；做出来的数据集都在工作区里，带着版本，不会丢。
#
# ## 1　一条数据长什么样
#
# 不管从哪里来，数据最后都变成五个字段，这是业界通行的 Alpaca 格式。先看“客服问答”里完整的一条，再看课程自带了哪些数据集。

# %%
import pandas as pd

from course_utils.data import presets

row = next(row for row in presets.rows("customer_service") if row["history"])
for field in ("system", "instruction", "history", "input", "output"):
    print(f"{field}：{row[field] or '（空）'}\n")
pd.DataFrame([{"名字": c.name, "标题": c.title, "任务": c.task, "行数": c.rows} for c in presets.catalogue().values()])

# %% [markdown]
# | 字段 | 含义 | 这一条里 |
# |---|---|---|
# | `system` | 系统提示：模型是谁 | 空着 |
# | `instruction` | 指令：要模型做什么 | 客服的身份和店里的规矩 |
# | `history` | 之前的对话，一问一答 | 买家前面说过的话 |
# | `input` | 输入：这一次要处理的内容 | 买家最新的一句 |
# | `output` | 输出：希望模型怎么答 | 客服的回答 |
#
# 注意回答里的每个事实，指令里都有。数据的作者答应过这一点：要是回答常常说些规矩里没有的话，模型学到的就是**编**。
#
# 下面的面板就是平台的“预置数据集”页面。选“客服问答”，读一读说明，把它复制到工作区。**先读局限，再用数据**。

# %%
from course_utils.grading.quiz import quiz
from course_utils.widgets import presets_panel

presets_panel()
quiz("02-q1")

# %% [markdown]
# 复制以后，你改的是自己那一份，预置的不动。下面这一格取来你复制的，看看它的**来历**（lineage）：每个数据集都记着自己从哪里来、什么时候做的。

# %%
from course_utils import pickup

copied = pickup.dataset("客服问答", "customer_service")
print("说明卡里的局限：", presets.card("customer_service").limits)
pd.Series({"名字": copied.name, "版本": copied.version, **copied.lineage}, name="来历").to_frame()

# %% [markdown]
# 半年以后有人问“这个模型是用什么训练的”，答案就在这张表里。没有来历的数据，和没有标签的药差不多。
#
# ## 2　自己的文件：导入、映射、检查
#
# 真实的文件总有毛病。我们先造一个小的，像店长随手导出来的那样：
#
# | 评论内容 | 情感 | 时间 |
# |---|---|---|
# | 面料厚实，穿了一冬天没起球 | 积极 | 周一 |
# | 拉链第三天就坏了 | 消极 | 周一 |
# | 拉链第三天就坏了 | 消极 | 周二 |
# | （空） | 积极 | 周二 |
# | 尺码偏小一号，换货倒是很快 | “积极”后面多一个空格 | 周三 |
# | 打电话 13812345678 问客服，没人接 | 消极 | 周三 |
# | 颜色和图上一个样 | 正面 | 周四 |
# | 袖口线头一堆 | 消极 | 周四 |
#
# **先猜一猜**：八行里，有几行会被指出问题？哪一个毛病程序修得了，哪一个必须由人来定？

# %%
import csv

from course_utils import paths
from course_utils.data.formats import read_rows

lines = [
    ("评论内容", "情感", "时间"),
    ("面料厚实，穿了一冬天没起球", "积极", "周一"),
    ("拉链第三天就坏了", "消极", "周一"),
    ("拉链第三天就坏了", "消极", "周二"),
    ("", "积极", "周二"),
    ("尺码偏小一号，换货倒是很快", "积极 ", "周三"),
    ("打电话 13812345678 问客服，没人接", "消极", "周三"),
    ("颜色和图上一个样", "正面", "周四"),
    ("袖口线头一堆", "消极", "周四"),
]
file = paths.workspace() / "uploads" / "店铺评论.csv"
file.parent.mkdir(exist_ok=True)
with file.open("w", encoding="utf-8", newline="") as out:
    csv.writer(out).writerows(lines)
rows = read_rows(file)
assert len(rows) == len(lines) - 1, f"写了 {len(lines) - 1} 行，却读到 {len(rows)} 行：看看引号和换行"
print(f"{file.name}：写了 {len(lines) - 1} 行，读到 {len(rows)} 行。")

# %% [markdown]
# 一行不少。刚才那个 `assert` 是本章第一个**可能失败的检查**：导入绝不能悄悄丢掉数据。
#
# 接着猜出**映射**（mapping），也就是哪一列是哪个字段，再逐行检查。

# %%
from course_utils.data.doctor import check as look_at
from course_utils.data.mapping import suggest

mapping = suggest(rows)
print(mapping.explain())
look_at(rows, mapping, task_labels=["积极", "消极"]).table()

# %% [markdown]
# 每个问题都写明第几行、哪个字段、怎么改。对照你刚才的猜测：哪一个是你没想到的？
#
# 手机号不影响分类，但它不该留在训练数据里：模型会记住它，哪天在别人的对话里说出来。“正面”则只有人能定：它是“积极”的另一种写法，还是店长另有意思？
#
# 现在在面板里做同样的事：从“或写路径”的下拉框里选 `店铺评论.csv`，核对映射，点一点修复，预览模型看到的样子，最后切分、保存成“店铺评论”。“正面”要先在文件里改好再读。

# %%
from course_utils.grading.quiz import quiz
from course_utils.widgets import import_panel

import_panel()
quiz("02-q2")

# %% [markdown]
# 五页做完了吗？下面这一格取来你保存的“店铺评论”。没有的话，它替你做：先替店长把“正面”定为“积极”，修复能修的，去掉修不了的那一行。

# %%
import pandas as pd

from course_utils import pickup
from course_utils.data.building import import_rows

decided = [row | {"情感": "积极"} if row["情感"] == "正面" else row for row in rows]  # 替店长定的
repairs = ["首尾空白", "个人信息", "重复"]
made = pickup.made("店铺评论", lambda: import_rows(decided, mapping, "店铺评论", file, repairs, drop=True))
kept = made.all()
strange = {row["output"] for row in kept} - {"积极", "消极"}
assert not strange, f"还有别的标签：{strange}。请在文件里改好，再到面板里重新读取、保存"
pd.DataFrame(kept)[["source_row", "input", "output"]].sort_values("source_row")

# %% [markdown]
# 只剩两种标签，手机号换成了【手机号】。`source_row` 是它在原来文件里的行号：少了哪几行，一眼看得出来；为什么少，写在数据集文件夹的 `dropped.jsonl` 里。
#
# **练习 02-1**　店长的文件有几万行，标签的写法五花八门。写一个 `clean`，把它们统一成“积极”“消极”，拿不准的返回 `None` 留给人看。想一想“不积极”该怎么办。

# %%
from course_utils.grading.checks import check
from course_utils.grading.exercises.ch02 import WRITTEN


def clean(label):
    meaning = None
    ### BEGIN SOLUTION
    known = {"积极": "积极", "正面": "积极", "好评": "积极", "positive": "积极"}
    known |= {"消极": "消极", "负面": "消极", "差评": "消极", "negative": "消极"}
    meaning = known.get(label.strip(" 。").lower())
    ### END SOLUTION
    return meaning


check("02-1", {label: clean(label) for label in WRITTEN})

# %% [markdown]
# 一张查得到的表，比一个“聪明”的规则可靠：表里没有的就说不知道。课程的修复也是这样，它住在 `course_utils.data.repair`，只修有把握的，每一处都能撤销。
#
# ## 3　从文档里抽取问答对
#
# 很多知识不在表格里，而在说明书、规章、常见问题里。平台能从文档里抽取问答对；我们的默认做法不用大模型，靠读懂结构：标题、编号、表格，“是指”“应当”“因为”这样的句式。

# %%
from course_utils.data import presets
from course_utils.data.documents import chunks, read_document

document = read_document(presets.FOLDER / "qa_extraction" / "documents" / "dev_return_policy.md")
print(document.text)
print("……自动分成", len(chunks(document)), "段")

# %% [markdown]
# 这是一家家具店的退货政策。**先猜一猜**：表格、“是指”、“因为”这几处，各能问出什么问题？
#
# 抽取得好不好，要用标准答案来量。课程为这篇文档写过一份标准事实，看看覆盖了多少，再读几对。

# %%
from course_utils.data import extract_score
from course_utils.data.extract import extract

found = extract(document)
gold = extract_score.read_gold(presets.FOLDER / "qa_extraction" / "gold.jsonl")
print(extract_score.score(found.pairs, gold["dev_return_policy.md"], document).summary())
for pair in found.pairs[1:9]:
    print(f"\n【{pair.kind}】{pair.question}\n　→ {pair.answer}")

# %% [markdown]
# **读三对，再往下。** 把问题单独念给同桌听：听得懂在问什么吗？那么长的“按照《……》的……部分”，就是为了离开原文也听得懂。规则写的问题啰嗦，但不会编。
#
# “按规则正确”只是一条底线：答案确实在原文里，问法说得通。它不等于老师会收。所以平台和我们都要人再过一遍：面板把每一对和原文并排放着，不想要的去掉勾选，然后保存成“退换货问答”。
#
# 文档可以用上面这一篇，路径是课程文件夹里的 `datasets/qa_extraction/documents/dev_return_policy.md`；也可以上传你自己的：班规、产品说明、社团章程都行。

# %%
from course_utils.widgets import extract_panel

extract_panel()

# %% [markdown]
# 下面这一格取来你保存的“退换货问答”，没有就替你保存。第二个可能失败的检查：每个答案都要在它标明的那一段原文里找得到。不管是规则抽的还是大模型写的，都逃不过这一条。

# %%
import re
from functools import partial

from course_utils import pickup
from course_utils.data.versions import save_pairs

made = pickup.made("退换货问答", lambda: save_pairs(document, found, "退换货问答", method="离线抽取"))
pairs, letters = made.all(), partial(re.sub, r"[\W_]+", "")  # 只比字，不比标点
made_up = [r for r in pairs if any(letters(part) not in letters(r["evidence"]) for part in r["output"].split("；"))]
assert not made_up, f"有 {len(made_up)} 个答案不在原文里，例如：{made_up[0]['instruction']}"
print(f"{len(pairs)} 个答案都能在自己的那一段原文里找到，例如：\n{pairs[-1]['evidence']}\n→ {pairs[-1]['output']}")

# %% [markdown]
# 这个检查挡得住凭空编的答案，挡不住“原文有这句话，但答的不是这个问题”。那要靠人读。
#
# **练习 02-2**　同一篇文档，假设下面八对是一个大模型抽取的，读起来都很顺。其中有**不止一对**不能留：有的编造，有的张冠李戴，有的丢了条件，有的离开原文看不懂。把它们的号码填进 `answer`。原文在这一节的开头。

# %%
from course_utils.grading.checks import check
from course_utils.grading.exercises.ch02 import PAIRS

for number, pair in enumerate(PAIRS, 1):
    print(f"{number}　{pair['question']}\n　→ {pair['answer']}\n")
answer = None
### BEGIN SOLUTION
answer = [3, 4, 6, 8]
### END SOLUTION
check("02-2", answer)

# %% [markdown]
# 丢条件的那一对最危险：它有原文、有数字、语气肯定，只是少了半句。训练出来的客服会用同样肯定的语气，答应不该答应的事。
#
# ## 4　数据增强：变多，但不能变坏
#
# 数据少的时候，可以把一条改写成几条：换近义词、口语和书面语互换、调换分句、写错个把字。关键不是能变多少，而是变完还对不对。拿六十条养宠物的人写的评论试试。

# %%
from course_utils import pickup
from course_utils.data import presets
from course_utils.data.augment import augment
from course_utils.data.store import ALL, DataSet

pets = [row for row in presets.rows("sentiment_predict") if row.get("kind") == "宠物"][:60]
pickup.made("宠物评论", lambda: DataSet.create("宠物评论", {ALL: pets}, {"tool": "preset", "source": "评论情感"}))
bigger = augment(pets, multiplier=1, quality="标准", seed=1)
print(bigger.summary())
for row in bigger.new[:6]:
    print(f"\n原文：{pets[row['source_row'] - 1]['input']}\n改写：{row['input']}　（{row['made_by']}）")

# %% [markdown]
# 逐条读：你会收下几条？再看被拒绝的那些：和原文太像、太不像、标签可能变了……每一种都数了出来。宁可少一些，也不要坏的。
#
# 面板里可以批量做，也可以在“单条在线”里一次只改一条，看得更清楚。数据集选“我的：宠物评论”，做完保存成“宠物评论-增强”。

# %%
from course_utils.grading.quiz import quiz
from course_utils.widgets import augment_panel

augment_panel()
quiz("02-q3")

# %% [markdown]
# 下面这一格取来你保存的“宠物评论-增强”，没有就替你存。第三个可能失败的检查：增强只能改问的话，不能碰答案；而且每一条都要记得自己从哪里来。

# %%
from course_utils import pickup
from course_utils.data.augment import MADE
from course_utils.data.versions import open_source, save_augmented

made = pickup.made("宠物评论-增强", lambda: save_augmented(open_source("宠物评论"), bigger, "宠物评论-增强"))
rows = made.all()
label_of = {row["source_row"]: row["output"] for row in rows if not row["made_by"].startswith(MADE)}
turned = [row for row in rows if row["output"] != label_of[row["source_row"]]]
assert not turned, f"有 {len(turned)} 条的标签和原文不同，例如：{turned[0]['input']}"
print(f"共 {len(rows)} 行，其中 {len(rows) - len(label_of)} 行是增强来的，标签都和原文相同。")

# %% [markdown]
# 标签没有变，不等于意思没有变：“不掉毛”写成“掉毛”，标签不动，这一行就成了教错的例子。所以质量检查之外，还要抽几条读。
#
# 增强真的有用吗？课程量过，写在 `benchmarks/README.md`：数据很少时它甚至帮倒忙，某些数据上多了才有一点好处。**没有量过的“有用”，不算有用。**
#
# ## 5　提示词模板：同一件事，换个问法
#
# 指令怎么写，模型就怎么答。课程写了几十个模板，`{花括号}` 里是要填的空。模板还记着答案该是什么**格式**，可以拿来查回答。

# %%
from course_utils.data import prompts

template = prompts.get("review-sentiment")
print(template.fill(评论="面料厚实，{真}的没起球"))
for said in ("积极", "这条评论是积极的。", "Positive", ""):
    print(f"\n回答「{said}」：", "；".join(template.misfits(said)) or "格式合格", end="")

# %% [markdown]
# 评论里出现花括号也不要紧：填空时只看模板里的空，不看你填的内容。格式合格不等于答对，但格式不合格，程序就用不了。
#
# 面板里可以搜索、预览，套用到数据集，还可以让一个模型在同样的几行上比较两个模板。搜“评论”，选“评论情感二分类”，套用到“我的：宠物评论”，保存成“宠物评论-模板”。

# %%
from course_utils.grading.quiz import quiz
from course_utils.widgets import prompts_panel

prompts_panel()
quiz("02-q4")

# %% [markdown]
# 取来你套用的结果，没有就替你套一次，看看第一行套用之前和之后，模型眼里各是什么样子。绿色是它要学着说的，竖线隔开 token。

# %%
from course_utils import pickup
from course_utils.data.records import to_records
from course_utils.data.versions import open_source, save_prompted
from course_utils.models.load import load_tokenizer
from course_utils.models.preview import preview

before, name = open_source("宠物评论"), "宠物评论-模板"
after = pickup.made(name, lambda: save_prompted(before, template, {"评论": "input"}, "instruction", name))
for rows in (before.rows, after.all()):
    display(preview(to_records(rows[:1])[0], load_tokenizer("gemma-3-270m")))

# %% [markdown]
# 评论没有问两遍：它进了指令里的空位，`input` 就空了。要学的那几个 token 一个也没变，变的只是前面怎么问。**训练用哪一种问法，使用时就要用同一种。**
#
# ## 6　切分：70 / 15 / 15
#
# 最后一步，把数据切成训练、验证、测试三份。同一来源的行、几乎相同的行，必须在同一份里。第四个可能失败的检查：有没有哪条评论在训练集里，它的改写却跑到了测试集里？

# %%
from course_utils.data.building import split_dataset
from course_utils.data.store import DataSet

saved, parts = split_dataset(DataSet.open("宠物评论-增强"))
print(parts.summary())
sources = {part: {row["source_row"] for row in rows} for part, rows in saved.rows().items()}
assert not sources["train"] & sources["test"], "有的测试题只是训练题换了个说法：切分时要按来源分组"
parts.report()

# %% [markdown]
# 没有泄漏。三份的大小和标签比例在上面；因为一组一组地分，比例会和 70、15、15 差一点点，这是应该的。
#
# 同一来源好认，有号码。**几乎相同**怎么认？把句子切成连着的三个字，各成一个集合，看两个集合有多大一部分是共有的，这叫 Jaccard 相似度：$J=\dfrac{|A\cap B|}{|A\cup B|}$。
#
# **练习 02-3**　写出 `likeness`。先猜一猜：“拉链第三天就坏了”和“拉链三天就坏了”只差一个字，相似度有九成吗？

# %%
from course_utils.grading.checks import check


def likeness(one, two):
    share = None
    ### BEGIN SOLUTION
    first, second = ({text[i : i + 3] for i in range(max(1, len(text) - 2))} for text in (one, two))
    share = len(first & second) / len(first | second)
    ### END SOLUTION
    return share


sentences = ["拉链三天就坏了", "拉链第三天才坏", "袖口线头一堆", "拉链第三天就坏了"]
answer = [["拉链第三天就坏了", sentence, likeness("拉链第三天就坏了", sentence)] for sentence in sentences]
print(*(f"{share}　{two}" for _, two, share in answer), sep="\n")
check("02-3", answer)

# %% [markdown]
# 改一个字，会碰坏挨着它的三个片段，所以短句子改一点点，相似度就掉很多。课程把门槛定在七成，住在 `course_utils.data.split.near_duplicates`；它先用 MinHash 挑出可能相像的，再逐对算你刚才写的这个数，几万行也只要几秒。
#
# ## 7　从零写一份你自己的数据
#
# 前面的数据都是别人的。现在轮到你：定一个**真有人需要**的小任务，两三种标签，自己写至少十二行。想不出来？挑一个：
#
# - 家长群的消息：**要回复** / **不用回**
# - 室友的话：**在夸我** / **在催我**
# - 外卖备注：**厨房要看** / **骑手要看** / **谁看都行**
#
# **练习 02-4**　填好 `mine`。检查会看：够不够十二行，每种标签够不够四行，有没有重复和几乎相同的，有没有电话，话里有没有直接写着答案。标签最好不要是一个词的有无，否则数关键词就够了，用不着模型。

# %%
from course_utils.data.building import import_rows, split_dataset
from course_utils.data.mapping import Mapping
from course_utils.grading.checks import check

instruction = "判断这条家长群消息要不要家长回复，只回答“要回复”或“不用回”。"  # 换成你的任务
mine = None
### BEGIN SOLUTION
need = ["明天下午谁能来帮忙搬桌子", "请把孩子的疫苗本拍照发到群里", "周五秋游去不去，今晚九点前告诉我", "没交餐费的还有三位，抓紧",
        "同意参加兴趣班的在下面签个名", "请确认一下孩子的身高，订校服用", "小宇今天没来，是生病了吗", "家委会选谁，大家都说说"]  # fmt: skip
free = ["今天的作业我写在黑板上了", "孩子们午睡都很乖", "运动会的照片已经传到相册", "天冷了，早晚加件衣服",
        "校车晚到十分钟，大家放心", "谢谢王老师，辛苦了", "门口在修路，请走西门", "本周食谱见附件"]  # fmt: skip
mine = [{"input": text, "output": "要回复"} for text in need] + [{"input": text, "output": "不用回"} for text in free]
### END SOLUTION
if check("02-4", mine):
    columns = Mapping({"input": "input", "output": "output"}, {"instruction": instruction})
    saved, parts = split_dataset(import_rows(mine, columns, "我的数据", "我自己写的"))
    print(f"存成了数据集「{saved.name}」第 {saved.version} 版。{parts.summary()}")

# %% [markdown]
# 十几行当然训练不出好模型，但整条路是真的：明天再写二十行，重新运行这一格，就是第二版。第 3 章和第 4 章的「模型精调」面板里，都能选到“我的：我的数据”。
#
# 写的时候你多半已经碰到那个最难的问题：**有些话，你自己也拿不准算哪一类**。把它们记下来，写成一条规则，再去改数据。课程的每份数据都有这样一份规则，叫 `GUIDE.md`，在 `datasets/` 的各个文件夹里。
#
# ## 小结
#
# - 一条数据是五个字段；说明卡里的“局限”比行数更重要。
# - 导入时，每个问题都要有行号、字段和改法；拿不准的留给人，不悄悄丢数据。
# - 抽取和增强都要量：先用程序查，再用眼睛读。
# - 切分看的是“来源”和“有多像”，不只看文字相不相同。
# - 训练怎么问，使用就怎么问。
#
# ## 练习
#
# 1. 把第 4 节的 `quality` 改成“宽松”再运行，被拒绝的少了多少？多出来的那些，你收不收？
# 2. 找一份你自己的文档，在第 3 节的面板里抽取。配置了 `COURSE_LLM_BASE_URL` 等环境变量的话，也让大模型抽一次：它编造了吗？
# 3. 请一位同学照着你的规则，给“我的数据”重新标一遍标签。你们有几行不一样？不一样的那几行，就是规则里没写清楚的地方。
#
# 终端里也能做同样的事：`course data check`、`course data import`、`course data split`、`course data extract`、`course data augment`。下一章，我们用一万多条评论训练第一个模型。

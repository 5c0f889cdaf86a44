# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 第 4 章　商品分类：不写代码，五步走完
#
# 一家网店每天上新几百件商品，店员要把每一件放进十六个货架中的一个。标题是店家随手写的：“【次日达】亮亮拉拉裤 XL 码 男女通用 透气”——拉拉裤该去“服饰内衣”，还是“母婴用品”？
#
# 这一章我们像在平台上那样做：**只点面板，五步走完**，十五分钟之内把模型交到别人手里。
#
# | 步骤 | 平台上的页面 | 这里的面板 |
# |---|---|---|
# | 1 数据 | 数据管理 | 预置数据集 |
# | 2 模型与参数 | 模型精调 → 新建任务 | 模型精调 |
# | 3 提交训练 | 模型精调 → 任务列表 | 任务与训练过程 |
# | 4 评估 | 批量推理、模型评估 | 批量推理、模型评估 |
# | 5 发布体验 | 发布服务、在线体验 | 发布服务、在线体验 |
#
# 每个面板下面都有一格代码：你在面板里做好了，它就**用你做的**；没有做，它就调用同样的函数替你做，并且说一声是哪一种。走完五步以后，我们再做平台不会替你做的事：换一种更难的切分（split），把错误一条一条读完。八道思考题散在各处，写在题目下面的空格里，没有唯一的答案。
#
# ## 1　数据
#
# 面板里已经选好了“商品分类”。读一读右边的说明和下面的样例，再点「复制到工作区」。**先读“局限”和“错在哪里”**，它们比行数更要紧。

# %%
from course_utils.widgets import presets_panel

presets_panel("product_classification")

# %% [markdown]
# 复制以后这份数据就是你的，改坏了也不影响预置的那一份。下面这一格把它拿来，并做一个**可能失败的检查**：写数据的人答应过，标题里不出现类别的名字。要是出现了，模型抄一遍就能得分，我们却以为它懂了。

# %%
import pandas as pd

from course_utils import pickup

goods = pickup.dataset("商品分类", "product_classification")
rows = [row for part in goods.rows().values() for row in part]
told = [row["input"] for row in rows if row["output"] in row["input"]]
assert not told, f"有 {len(told)} 条标题里写着类别的名字，例如：{told[0]}"
print(f"{len(rows)} 件商品，{len({row['output'] for row in rows})} 个类别，标题里都没有写类别的名字。")
pd.DataFrame(rows)[["input", "output", "noun"]].iloc[:: len(rows) // 8]

# %% [markdown]
# `input` 是标题，有的下面还有一行描述；`output` 是类别；`noun` 是作者记下的**中心词**，也就是这件商品到底是什么。模型看不到中心词，我们在第 6 节要用它来出更难的题。
#
# 读一读“家用电器”和“家居家具”的商品：电饭锅算前者，不插电的炒锅算后者。这条界线是人定的，写在 `datasets/product_classification/GUIDE.md` 里。
#
# ## 2　模型与参数
#
# 面板已经按本章的设置填好，你来核对三页：
#
# - **1 数据**：你刚才复制的“商品分类”；「训练最多用几行」决定要等几分钟。
# - **2 设置**：任务类型是**文本分类**，就是在基座上接一个**分类头**（classification head）：读完标题，一次给出十六个类别的概率，不用一个字一个字地写类别名。**极速模式**（turbo）只训练最上面的几层，下面的层每条只算一次，存起来给各遍训练共用。
# - **3 估算与提交**：先点「估算」，看看时间和内存，再点「提交训练」。
#
# 想改别的设置就改，下面都会用你提交的那一次；只是名字请留着“商品分类”，后面靠它找到你的训练。

# %%
from course_utils.profiles import by_profile
from course_utils.widgets import studio_panel

recipe = {"name": "商品分类", "data": "商品分类", "task": "classification", "turbo": True}
recipe |= {"learning_rate": 4e-4, "lora_rank": 16, "lora_alpha": 32}
rows, epochs, validation_rows = by_profile(ci=(96, 1, 16), classroom=(1000, 3, 120), gpu=(3000, 3, 500))
recipe |= {"rows": rows, "epochs": epochs, "evaluations": epochs, "validation_rows": validation_rows}
studio_panel(**recipe)

# %% [markdown]
# 「估算」不是查表：它真的拿最长的几批数据训练几步，再推算出全程。提交以后，训练在另一个进程里进行，关掉网页也不会停。
#
# 提交好了吗？运行下面这一格：它找到你的任务，没有的话替你提交。

# %%
from course_utils import pickup

run = pickup.training(recipe)
run.config.changed

# %% [markdown]
# 上面是这次训练和默认不同的设置；每一项是什么意思，面板里有说明。它们也原样写在训练文件夹的 `config.yaml` 里，一年以后还说得清这个模型是怎么来的。
#
# **思考题 1**　假如标注的人里有一个粗心的，把百分之五的商品随手标成了别的类别。训练集里的这些错，和测试集里的这些错，影响有什么不同？你会怎样把它们找出来，而不是重新标一遍？
#
# **思考题 2**　把秩（rank）从 16 改成 2，或者改成 64，你预计随机切分和较难切分的准确率各怎么变？为什么？你会怎样安排一次对照，让自己相信看到的差别不是运气？
#
# **思考题 3**　不用 LoRA，改成全参微调（full fine-tuning），代价是什么？从训练时的内存、每发布一版要存的东西、和“忘掉别的本事”三方面说。

# %% [markdown] tags=["answer:04-1"]
# 训练集里的错是“噪声”：模型要花力气去记没有规律的东西。错得随机、比例又不高时，多数正确的例子会盖过它，准确率只掉一点；但训练次数一多，模型会开始背这些错，验证损失先降后升。如果错得有规律（比如总把猫砂标成家庭清洁），模型学到的就是这条错的规律，它在验证集上看着还很好，因为验证集错得一样。
#
# 测试集里的错不伤模型，伤的是尺子：百分之五的题答案就错了，再好的模型也到不了百分之百，而两个模型之间的差别可能还没有尺子的误差大。
#
# 找的办法：看模型最有把握却“答错”的那些，先看那里；把训练集分成几折，轮流用其余的训练、在这一折上预测，标签和预测一致不了的挑出来让人看。这样看一小部分，就能找到大部分错。改的时候只改看明白的，并且要测试集也一起查，不能只查模型答错的——否则测试集会变得偏向这个模型。

# %% [markdown] tags=["answer:04-2"]
# 秩是旁路小矩阵的宽度，决定这次训练能在多少个方向上改动原来的权重。十六个类别、短短的标题，需要的新方向不多，所以秩 2 多半只差一点，秩 64 多半不会更好，还多占内存；数据少的时候，太宽反而容易背题。要分两种切分看：背住见过的词对随机切分有用，对较难切分没有用，所以秩变大时如果有好处，更可能出现在随机切分上。
#
# 对照：只改秩（缩放系数 alpha 跟着按比例改，让 alpha/r 不变，否则等于同时改了步子的大小），同样的数据、步数和验证办法，每个秩用三个以上的随机种子，比较平均数和种子之间的波动；在同一批测试题上逐题比较。差别比种子的波动小，就说分不出。

# %% [markdown] tags=["answer:04-3"]
# 内存：LoRA 只给很小的旁路留梯度和优化器状态；全参时每个参数都要，AdamW 混合精度大约每个参数再加十几个字节，几亿参数就是几个 GB，大模型要几十张卡。
#
# 存储和发布：LoRA 一版是几到几十 MB，许多版本可以挂在同一个基座上一起服务，退回一版只是换一个小文件；全参一版就是整个模型，一版一份，换版要重新装载。
#
# 遗忘：全参改动所有的权重，在窄的任务上容易把原来会的东西冲掉，要配更小的学习率、混入别的数据；LoRA 拿掉旁路就回到基座。换来的好处是容量大：数据很多、任务离基座很远时（新的语言、新的领域），全参才可能明显更好。给商品分类，不值得。

# %% [markdown]
# ## 3　提交训练
#
# 任务在排队或者运行。面板每两秒更新一次：损失曲线、验证准确率、同样几条商品在训练中怎样回答。等的时候，把下面几道小测验做了。

# %%
from course_utils.grading.quiz import quiz
from course_utils.widgets import watch_panel

watch_panel()
quiz("04-q1")
quiz("04-q2")
quiz("04-q3")
quiz("04-q4")

# %% [markdown]
# 训练停了、失败了也不要紧：检查点都在，点「继续」就从最近的一个接着走。下面这一格一直等到训练完，再把曲线画出来。

# %%
from IPython.display import Image

from course_utils import pickup
from course_utils.training.history import table

run = pickup.run("商品分类")
display(table([run]))
Image(run.folder / "curve.png", width=680)

# %% [markdown]
# 看曲线：训练损失先陡后缓；验证损失的几个点如果最后还在降，说明再训练一会儿还有得学；如果抬头了，就是开始背题。留下来的是验证损失最低的那一次，不一定是最后一次。
#
# 验证准确率可不是成绩单：我们正是按验证集挑的检查点，它总是偏乐观。成绩要在没碰过的测试集上量。
#
# ## 4　评估
#
# 先**批量推理**：让基座和你的模型回答同样的题。面板已经选好了两个模型和这次训练留下的测试集，点「提交」就行。基座没有分类头，让它从十六个类别名里挑概率最大的一个，这样它也不会答出格，比较才公平。
#
# **先猜一猜**：十六选一，闭着眼睛猜大约对百分之六。没训练过的基座，能对多少？

# %%
from course_utils import pickup
from course_utils.profiles import by_profile
from course_utils.widgets import batch_panel

run = pickup.run("商品分类")
models, most = ["gemma-3-270m", run.folder.name], by_profile(ci=24, classroom=160, gpu=500)
batch_panel(models=models, run=run.folder.name, rows=most, name="商品分类-评估")

# %% [markdown]
# 批量推理也是后台任务，停了可以接着做，答过的不重答。下面这一格拿来答案，看头几条。

# %%
import pandas as pd

from course_utils.evaluation.batch import answers

folder = pickup.batch("商品分类-评估", models, run.records("test")[:most])
base, tuned = answers(folder).values()
before, after = ([row["prediction"] for row in rows] for rows in (base, tuned))
pd.DataFrame(tuned)[["input", "output"]].assign(基座=before, 微调后=after).head(8)

# %% [markdown]
# 基座并不是一无所知，它只是不知道这家店怎么分：它常常偏爱某一两个类别名。微调没有教它新的中文，教的是“在这里，该怎么分”。
#
# 八条说明不了什么，要看整份测试题，还要看区间。下面这一格算分，再打开「模型评估」面板：在那里点「算分」能看图和最有把握的错误，「3 报告」把它写成一页可以发给别人的网页。

# %%
from course_utils.evaluation.report import conclusion, scores_table
from course_utils.evaluation.scoring import score_batch
from course_utils.widgets import scores_panel

found = score_batch(folder)
print(conclusion(found, run.folder.name))
display(scores_table(found))
scores_panel()

# %% [markdown]
# 上面那句话是程序按同一批题逐条比较后写的：差多少、区间多宽。表里括号中是 95% 区间。测试题少，区间就宽；所以下一个人换一批题，数字不会和你的一样。
#
# 表里还有**校准误差**（expected calibration error，ECE）：模型说“八成把握”的题，是不是真的对八成？越小，它的“把握”越可信。我们在第 7 节要靠这个把握，决定哪些商品交给人看。
#
# ## 5　发布体验
#
# 在「发布服务」面板的第 1 页选中你的训练，名字写“商品分类”，点「发布」。发布前程序会抽查训练数据，证明服务收到的请求和训练时编码得一个 token 都不差。再看看第 2 页（更新与退回）、第 3 页（密钥）和第 4 页（调用的代码）。

# %%
from course_utils.widgets import publish_panel

publish_panel()

# %% [markdown]
# 权重是复制过去的：以后你再怎么训练，第 1 版还是第 1 版。给别人调用要启动服务（终端里 `course serve`）；自己先试不用启动。
#
# 下面这一格拿三个课程里没有的标题，用**同样的提示**问基座和你发布的服务；表的下面是「在线体验」，选“商品分类@1”，写一个你自己编的、想难住它的标题。

# %%
import pandas as pd

from course_utils import pickup
from course_utils.serving.talk import ask
from course_utils.widgets import chat_panel

version = pickup.service("商品分类", pickup.run("商品分类"))
titles = ["禾小满 手工挂面 细圆 900 克 煮不糊", "云朵 宝宝学步鞋 软底防滑 13 码", "极光 溜溜球 金属轴承 比赛款"]
said = {
    speaker: [ask(speaker, f"{version.instruction}\n{title}", max_tokens=16) for title in titles]
    for speaker in ("基座:gemma-3-270m", f"商品分类@{version.number}")
}
display(pd.DataFrame(said, index=titles))
chat_panel()

# %% [markdown]
# 基座多半只是把题目抄一遍，或者接着往下编；服务只答一个类别就停。三条里你的模型答对几条？第三条故意用了一个“字面像运动”的词。
#
# 五步到这里走完了。看一眼表：从第 1 步到现在，用了多少分钟？其中你真正动手的，又有几分钟？
#
# **思考题 4**　这个服务明天上线。每一次调用，你要记下什么？什么**不能**记？记下来的东西打算怎么用？
#
# **思考题 5**　明天店里新开一个货架“宠物用品”。分类头的模型要改什么？让模型写出类别名的（生成式）呢？以前放在“家庭清洁”里的猫砂怎么办？
#
# **思考题 6**　三个月以后，怎样**不等店长来骂**就发现模型变差了（漂移，drift）？写出你每周要看的两三个数，和看到什么就动手。

# %% [markdown] tags=["answer:04-4"]
# 要记：时间、请求编号、服务和版本号、输入的标题（或者它的指纹）、答案、各类的概率（至少最高的两个）、耗时、是否出错；以及后来的事：店员有没有改掉这个类别、改成了什么。最后一项最值钱，它就是新的标注数据。
#
# 不能记：密钥，买家的姓名、电话、地址——标题里一般没有，可店家有时会把它们粘进来，进日志前要过滤；没有说明用途、没有期限地保存也不行。谁能看日志要有名单。
#
# 怎么用：按版本统计准确率（用店员改过的当标注）和低把握的比例；出了问题按请求编号找到那一条重放；把改得多的商品放进下一版的训练集，而且另留一部分做测试。

# %% [markdown] tags=["answer:04-5"]
# 分类头的输出固定是十六个，多一类就要换成十七个输出，重新训练（旧的十六行可以拿来当起点）；不重新训练，它永远不会说“宠物用品”，只会很有把握地放错。生成式的标签是写出来的，训练里加上新类别的例子再训练一次就行，结构不用改；用“从给定的标签里选”的方式，甚至不训练也能选到它，只是没学过，选得不准。
#
# 猫砂：先改规则（指南里写明猫砂、猫粮归宠物用品），再按规则把旧数据里所有这样的商品改标，训练集、验证集、测试集都要改。只加新的、不改旧的，同一种东西就有两个标签，模型学到的是矛盾。改完发布成第 2 版，先在旧测试题上确认其他十五类没有变差，再更新服务；旧版留着，随时可以退回。

# %% [markdown] tags=["answer:04-6"]
# 每周看：一、低于门槛的商品占多大比例，它不需要标注，新品一多就会先升上去；二、各类别占的比例和把握的分布，与上线第一周的比（突然多出一倍“办公文具”，要么是开学了，要么是模型疯了）；三、随机抽五十条请店员标，算准确率和区间，这是唯一的真成绩，前两个只是烟雾报警器。还可以看店员的改动率，以及标题里从没见过的字词占多少。
#
# 动手的线要事先写下来，例如低把握比例连续两周比基线高一半，或者抽查的准确率区间上限低于要求。动手的次序：先读错误（是新品、新写法，还是上游把标题格式改了），再决定补数据重训、改指南，还是退回上一版。每次重训都在老的和新的两份测试集上比。

# %% [markdown]
# ## 6　两种切分：换一批没见过的词
#
# 随机切分的测试题里，“电饭煲”“拉拉裤”这些中心词，训练时大多见过。真实的店天天上新，明天来的可能是一种从没见过的东西。**较难的切分**把商品按中心词分开：测试集里的中心词，训练里一次也没有出现。
#
# **练习一**　数一数：两种切分里，测试集的商品有多大比例，中心词在**整个训练集**里出现过？把 `share` 写完。`noun_of` 由 `input` 查到中心词。

# %%
from course_utils.data import presets
from course_utils.grading.checks import check

noun_of = {row["input"]: row["noun"] for row in presets.rows("product_classification")}
splits = {"随机": presets.parts("product_classification"), "较难": presets.parts("product_classification", harder=True)}


def share(parts):
    """测试集里，中心词在训练集出现过的商品占多大比例（0 到 1）。"""
    answer = None
    ### BEGIN SOLUTION
    seen = {noun_of[record.input] for record in parts["train"]}
    answer = sum(noun_of[record.input] in seen for record in parts["test"]) / len(parts["test"])
    ### END SOLUTION
    return answer


answer = {name: share(parts) for name, parts in splits.items()}
print(answer)
check("04-1", answer)

# %% [markdown]
# 这就是两种切分的全部区别：商品来自同一份数据，行数几乎一样，只是“词见没见过”不同。
#
# **先猜一猜**，写下你的预测再训练：你的模型在两种测试题上各能对多少？TF-IDF 加逻辑回归（只数字词，见过才认得）呢？把 `guess` 里的数改成你的，再运行。训练用的是你那一次的设置，只换数据。

# %%
from course_utils import pickup
from course_utils.evaluation.batch import answers
from course_utils.profiles import by_profile
from course_utils.training.history import trained

guess = {"TF-IDF": None, "分类头": None}  # 各写两个 0 到 1 的数，例如 (0.8, 0.6)：随机，较难
### BEGIN SOLUTION
guess = {"TF-IDF": (0.75, 0.5), "分类头": (0.85, 0.75)}
### END SOLUTION
run, harder = pickup.run("商品分类"), presets.parts("product_classification", harder=True)
size, most = len(run.records("train")), by_profile(ci=48, classroom=600, gpu=600)
hard_run = trained(run.config, harder | {"train": harder["train"][:size]}, "商品分类-较难", print)
folders = {
    "随机": pickup.batch("商品分类-随机切分", [run.folder.name], run.records("test")[:most]),
    "较难": pickup.batch("商品分类-较难切分", [hard_run.folder.name], hard_run.records("test")[:most]),
}

# %% [markdown]
# 两次训练，两份测试题，都答完了。下面把 TF-IDF 放在旁边：**同样的训练行、同样的测试题**。它几秒钟就训练完，不用任何大模型，是你的模型必须赢过的底线。

# %%
import pandas as pd

from course_utils.evaluation.baselines import beside_tfidf
from course_utils.evaluation.pictures import scores_picture

lines, bars = [], {"TF-IDF": [], "分类头": []}
for place, (split, model) in enumerate({"随机": run, "较难": hard_run}.items()):
    (rows,) = answers(folders[split]).values()
    found = beside_tfidf(model.records("train"), rows)
    print(f"{split}切分，分类头减 TF-IDF：{found.text()}")
    for name, score in {"TF-IDF": found.tfidf, "分类头": found.model}.items():
        bars[name].append((f"{split}切分", score.accuracy, score.interval))
        mine = guess[name][place] if guess[name] else None
        lines.append({"切分": split, "方法": name, "准确率": score.accuracy, "宏 F1": score.macro_f1, "你猜的": mine})
display(pd.DataFrame(lines).round(3))
scores_picture(bars)

# %% [markdown]
# 图里每个点是准确率，横线是 95% 区间。两个问题，对着图回答：从随机切分到较难切分，谁掉得多？在你的店里，哪一种切分更像明天？
#
# 老老实实地说：如果上面写着“分不出高下”或者“TF-IDF 赢”，那就是这么多训练数据还不够微调显出好处。课程用全部训练数据量过一次，结果写在数据集的说明卡里（第 1 步的面板，「实测」那一行）。
#
# **思考题 7**　较难切分为什么低？低的这一截，上线以后会以什么样子出现？报告里只写随机切分的成绩，错在哪里？
#
# **思考题 8**　什么时候 TF-IDF 就够了？说三个你会选它而不选微调的情形，再说一个相反的。

# %% [markdown] tags=["answer:04-7"]
# 随机切分里，测试的中心词大多在训练里见过，模型可以靠“见过这个词，它归这一类”答对；较难切分把这条路堵死了，只能靠词的意思、靠上下文（“煮不糊”“900 克”像粮油），也就是靠基座在预训练里学到的东西。TF-IDF 没有这些，只剩下零星的字和搭配，所以掉得更多。
#
# 上线以后，它不是均匀地错，而是集中在新品上：新到的一种货，整批一起错，而且模型往往很有把握。随机切分的成绩假定“明天和今天一样”，新品多的店，这个假定不成立，报出来的数就偏高。报告里两种都要写，并且说清楚各自回答的是什么问题。

# %% [markdown] tags=["answer:04-8"]
# 够用的情形：训练数据多、测试的词基本都见过（成熟的、少上新的类目）；一个字词就能定类别，不需要理解句子；要求几毫秒一条、只有普通 CPU，或者要能向人解释“因为出现了哪几个字”；每天重新训练，数据天天变。它还是最好的第一步：半小时做出来，知道底线在哪里。
#
# 相反的情形：标注很少，而且要认没见过的词；或者意思靠语序、否定、反话（评论情感），字词一样而答案相反。这时预训练带来的东西才值那几分钟训练和更贵的推理。

# %% [markdown]
# ## 7　读错误
#
# 分数告诉你错了多少，只有读错误才告诉你**为什么**。先看较难切分上最有把握的错误，再看混淆矩阵（confusion matrix）：每一行是标注，每一列是模型的回答，颜色按行算。

# %%
import pandas as pd

from course_utils import paths
from course_utils.evaluation.batch import answers
from course_utils.evaluation.classification import score_labels
from course_utils.evaluation.labels import worst_errors
from course_utils.plots import confusion_picture

folder = max((paths.workspace() / "batches").glob("商品分类-较难切分*"), key=lambda found: found.stat().st_mtime)
(rows,) = answers(folder).values()
truth = [row["output"] for row in rows]
display(worst_errors(rows, truth, 10).round({"把握": 4}))
confusion_picture(score_labels([row["prediction"] for row in rows], truth).confusion, title="较难的切分")

# %% [markdown]
# 每读一条，在心里给它归个类：
#
# - **被字面带走**：“奶糖”有“奶”字，就进了饮料；“拉拉裤”有“裤”字，就进了服饰。
# - **真正的边界**：坚果和生鲜、干货和零食，两个人标也会吵。
# - **标错的**：你同意模型，不同意标注。
#
# 第一类要补数据（多写“字面与类别相反”的商品），第二类要改指南，第三类要改标注。三种药不能混着吃。
#
# 再看“把握”一列：排在最前面的错误，把握往往接近一。训练损失降到接近零的模型，学会的不只是答案，还有**说得斩钉截铁**。所以把握的数字不能当真，能用的是它的**次序**：把握低的那些，错的确实更多。
#
# **练习二**　没有哪个模型全对，好在可以分工：把握高的自动上架，把握低的交给店员。店长的要求是：自动上架的那部分，准确率不低于 `goal`。请找出**最低**的门槛 `threshold`，把握大于等于它的商品里至少有这么多是对的，这样放行的最多。

# %%
from course_utils.grading.checks import check

goal = 0.95
sure = [[round(row["scores"][row["prediction"]], 4), row["prediction"] == row["output"]] for row in rows]
threshold = None
### BEGIN SOLUTION
for candidate in sorted({confidence for confidence, _ in sure}):
    passed = [right for confidence, right in sure if confidence >= candidate]
    if sum(passed) >= goal * len(passed):
        threshold = candidate
        break
### END SOLUTION
answer = None if threshold is None else {"sure": sure, "goal": goal, "threshold": threshold}
if threshold is not None:
    passed = [right for confidence, right in sure if confidence >= threshold]
    print(f"门槛 {threshold}：自动上架 {len(passed) / len(sure):.0%}，其中对 {sum(passed) / len(passed):.1%}。")
check("04-2", answer)

# %% [markdown]
# 同一个模型，加一道门槛，就从“不敢用”变成“省下了上面打印的那一份人工”——这才是店长看得懂的成绩。门槛如果高得吓人，别奇怪，那就是上面说的斩钉截铁。还要注意，门槛是在这批题上挑的，换一批会差一点；真要用，应当在验证集上挑，再拿测试集核实。
#
# ## 小结
#
# - 五步走完一个能用的分类服务：数据、模型与参数、提交训练、评估、发布体验；每一步都是后台任务，断了能续。
# - 成绩取决于怎样切分。随机切分问的是“和今天一样的明天”，较难切分问的是“没见过的新品”。
# - TF-IDF 是底线；赢不了它的微调，不值它的钱。
# - 读错误才知道该补数据、改指南还是改标注；把握加一道门槛，模型和人就能分工。
#
# ## 练习
#
# 1. 回到第 2 步，在面板里把任务类型改成“文本生成”，名字改成“商品分类-生成”，再训练一次，在「批量推理」里和分类头比。类别名有好几个字，写第一个字时就已经选了边——看看它在哪些类别上吃亏。
# 2. 在「训练历史」面板（`history_panel()`）里把两次训练的曲线放在一起，读一读不同的设置。
# 3. 写二十条“字面与类别相反”的商品，加进训练集再训练一次，看看最有把握的错误少了没有。

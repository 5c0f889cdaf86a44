"""Documents are read with their structure, pairs stand alone and are found in their spans, and no address is trusted."""

import http.server
import json
import re
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from course_utils import llm
from course_utils.data import fetch as web
from course_utils.data.documents import chunks, read_document
from course_utils.data.extract import extract
from course_utils.data.extract_llm import extract_llm
from course_utils.data.extract_score import Fact, score, total
from course_utils.data.outline import parse
from course_utils.data.wording import interrogate
from course_utils.errors import ConfigError, DataError

MANUAL = """# 青岚 H-2 加湿器使用说明书

感谢您选用本产品。

## 1 放置

- 离墙至少 30 厘米，离地至少 60 厘米。
- “静音湿度”指风机停转时的湿度。

## 2 模式

| 模式 | 风速 | 时长 |
| --- | --- | --- |
| 夜间 | 低速 | 8 小时 |
| 强力 | 高速 | 2 小时 |

## 3 换芯步骤

1. 拔下插头。
2. 按住卡扣，向上取出滤芯。
3. 装上新滤芯，再通电。

## 4 保养

不可用热水冲洗水箱，因为高温会使水箱变形。水箱漏水的，应当停止使用并联系售后。
机身由售后部负责检修，人为损坏除外。
"""


def found(text, separator=None):
    """`question -> answer` of all pairs; every answer stands in its span, whatever the marks between."""
    document = parse(text, "文档.md")
    result = extract(document, separator)
    for pair in result.pairs:
        span = re.sub(r"\W", "", document.text[pair.start : pair.end])
        assert all(re.sub(r"\W", "", part) in span for part in re.split("[；。]", pair.answer)), pair
    return {pair.question: pair.answer for pair in result.pairs}, result


def answer(pairs, *words):
    """The answers of the pairs whose question holds all `words`."""
    return [a for q, a in pairs.items() if all(word in q for word in words)]


def test_every_kind_of_structure():
    pairs, result = found(MANUAL)
    assert all(q.endswith("？") and "青岚 H-2 加湿器" in q for q in pairs)
    assert answer(pairs, "离墙至少多少厘米，离地至少多少厘米") == ["离墙至少 30 厘米，离地至少 60 厘米"]
    assert answer(pairs, "“静音湿度”是指什么") == ["风机停转时的湿度"]
    assert answer(pairs, "“夜间”", "风速、时长分别") == ["低速；8 小时"]
    assert answer(pairs, "“强力”的时长是多久") == ["2 小时"]
    assert answer(pairs, "换芯步骤的第 2 步") == ["按住卡扣，向上取出滤芯"]
    assert answer(pairs, "为什么不可用热水冲洗水箱") == ["高温会使水箱变形"]
    assert answer(pairs, "水箱漏水的", "应当怎么做") == ["应当停止使用并联系售后"]
    assert answer(pairs, "机身由谁负责检修") == ["由售后部负责检修"]
    assert answer(pairs, "有什么例外") == ["人为损坏除外"]
    kinds = {pair.kind for pair in result.pairs}
    assert {"数字", "定义", "表格", "步骤", "原因", "条件", "责任"} <= kinds


def test_faq_keeps_its_question_and_names_the_thing():
    pairs, _ = found(
        "云帆书店 常见问题\n\n问：几点关门？\n答：每天 21:30 关门。\n\nQ：能退书吗？ 答：七天内可以退，拆封的除外。\n"
    )
    assert pairs["关于云帆书店，几点关门？"] == "每天 21:30 关门。"
    assert pairs["关于云帆书店，能退书吗？"] == "七天内可以退，拆封的除外。"


@pytest.mark.parametrize(
    ("statement", "question"),
    [
        ("整机保修 2 年", "整机保修多少年"),
        ("每天 8:00 至 17:30 开放", "每天几点开放"),
        ("自 2026 年 7 月 1 日起至 2028 年 6 月 30 日止", "自什么时候起至什么时候止"),
        ("第 5 步改成 35 分钟", "第 5 步改成多少分钟"),
        ("1 汤匙是 15 毫升", "1 汤匙是多少毫升"),
        ("除载明本法第十七条规定的事项外", "除载明本法第十七条规定的事项外"),
        ("由市、区按 6 比 4 分担", "由市、区按 6 比 4 分担"),
        ("处三年以上十年以下有期徒刑", "处多少年有期徒刑"),
        ("它是一座桥", "它是一座桥"),
        ("超过部分退 70%", "超过部分退百分之多少"),
    ],
)
def test_a_question_word_takes_the_place_of_what_is_asked(statement, question):
    assert interrogate(statement)[0] == question


def test_rules_become_conditions_duties_and_lists():
    text = """星河小学门禁管理规定

一、来访

家长来访的，应当在门卫处登记；未登记的，不得入校。
学生有下列情形之一的，班主任应当通知家长：
（一）迟到三次；
（二）无故缺课。

二、附则

本规定由教务处负责解释。
"""
    pairs, _ = found(text)
    assert answer(pairs, "家长来访的", "应当怎么做") == ["应当在门卫处登记；未登记的，不得入校"]
    assert answer(pairs, "学生有哪些情形") == ["迟到三次；无故缺课"]
    assert answer(pairs, "由谁负责解释") == ["由教务处负责解释"]
    assert all(q.startswith("按照《星河小学门禁管理规定》") for q in pairs)


def test_a_statute_is_asked_for_its_duty_not_recited():
    from course_utils.data.statutes import articles

    law = articles("民法典")["第五百七十七条"]
    pairs, _ = found(f"# 民法典\n\n{law.number} {law.text}")
    [(question, duty)] = [(q, a) for q, a in pairs.items() if "应当怎么做" in q]
    assert question.startswith("按照《民法典》第五百七十七条，当事人一方不履行合同义务")
    assert duty == "应当承担继续履行、采取补救措施或者赔偿损失等违约责任"


def test_what_cannot_stand_alone_is_dropped_with_its_reason():
    text = """# 望山亭

感谢大家的支持。

它建于 1986 年，高 12 米。

望山亭高 12 米。

望山亭高 12 米。

风景很好，值得一看。

问：开放
答：是的。

| 项目 | 票价 | 备注 |
| --- | --- | --- |
| 成人 | 12 元 | 无 |
"""
    _, result = found(text)
    reasons = {dropped.reason for dropped in result.dropped}
    assert {"套话", "指代不明", "重复", "没有可问的信息", "不是问题", "答案太短"} <= reasons
    assert [d.reason for d in extract(parse("\n\n最多可容纳 12 人。\n")).dropped] == ["没有主语"]
    assert all(text[d.start : d.end] for d in result.dropped)


def test_chunks_cover_the_text_and_separators_split_it():
    document = parse("# 甲\n\n第一段。\n\n### 乙\n\n第二段。\n\n---\n\n第三段。\n")
    for separator, number in ((None, 1), ("###", 2), ("---", 2), ("空行", 6), (r"re:^第.段", 4)):
        pieces = chunks(document, separator)
        assert len(pieces) == number, separator
        assert all(document.text[c.start : c.end] == c.text for c in pieces)
        assert [c.number for c in pieces] == list(range(1, number + 1))
    for bad in ("", "  ", "re:", "re:(", "re:x*"):
        with pytest.raises(DataError, match="分隔符"):
            chunks(document, bad)
    long = parse("# 甲\n\n" + "\n\n".join(f"## 节{i}\n\n{'字' * 300}。" for i in range(9)))
    assert all(chunk.text.startswith(("# 甲", "## 节")) and len(chunk.text) < 1100 for chunk in chunks(long))


def test_with_a_separator_each_chunk_has_its_own_heading():
    text = "客房须知\n\n退房：中午 12:00 前。\n@@@\n健身房\n\n住客可以免费使用，未满 16 周岁的，不得入内。\n"
    _, result = found(text, "@@@")
    assert {pair.chunk for pair in result.pairs} == {1, 2}
    assert any("健身房" in pair.question and pair.answer == "不得入内" for pair in result.pairs)


# Three odd pages: a table for a layout, a definition list without headings, and sections that are only divs.
PAGES = {
    "table.htm": """<html><head><title>蓝鲸号渡轮-海港网</title></head><body><table><tr><td><a href=/>首页</a></td></tr></table>
<h1>蓝鲸号渡轮</h1><table border=1><tr><th>航线</th><th>开船</th><th>票价</th></tr>
<tr><td>北线</td><td>9:30</td><td>48 元</td></tr><tr><td>南线</td><td>14:00</td><td>52 元</td></tr></table>
<p>风力达到 7 级的，停航。</p><footer>版权所有 2026</footer><script>alert("12 元")</script></body></html>""",
    "list.html": """<!doctype html><title>竹影茶壶 | 手作铺</title><nav>首页 购物车</nav><main><p>竹影茶壶是一把紫砂壶，出自青陶镇。</p>
<dl><dt>容量</dt><dd>220 毫升</dd><dt>重量</dt><dd>310 克</dd></dl><p>开壶不要用洗洁精，因为泥料会吸味。</p></main>""",
    "divs.html": """<html><meta charset=gbk><body><div id=m>登录 注册</div><div><h1>松溪县图书馆</h1><div>松溪县图书馆每周一闭馆，
其余各天 9:00 至 20:00 开放。</div><div>每张借书证最多借 8 册图书，借期为 30 天。</div></div></body></html>""",
}


@pytest.mark.parametrize(
    ("name", "words", "expected"),
    [
        ("table.htm", ("北线", "票价"), "48 元"),
        ("table.htm", ("风力达到 7 级的",), "停航"),
        ("list.html", ("容量是多少",), "220 毫升"),
        ("list.html", ("为什么", "洗洁精"), "泥料会吸味"),
        ("divs.html", ("最多借几册",), "每张借书证最多借 8 册图书，借期为 30 天"),
    ],
)
def test_odd_pages(tmp_path, name, words, expected):
    (tmp_path / name).write_bytes(PAGES[name].encode("gbk" if "gbk" in PAGES[name] else "utf-8"))
    document = read_document(tmp_path / name)
    pairs = {pair.question: pair.answer for pair in extract(document).pairs}
    assert document.title in ("蓝鲸号渡轮", "竹影茶壶", "松溪县图书馆")
    assert any(expected == a or expected in a for a in answer(pairs, *words)), pairs
    assert not re.search("首页|登录|版权|alert", document.text)


def word_file(path):
    import docx

    document = docx.Document()
    document.add_heading("云栖露营地须知", 0)
    document.add_heading("费用", 1)
    table = document.add_table(3, 2)
    for row, cells in zip(table.rows, [("营位", "价格"), ("草坪区", "80 元"), ("林间区", "120 元")], strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text
    document.add_heading("搭帐篷步骤", 1)
    for step in ("铺好地布。", "撑起帐杆。"):
        document.add_paragraph(step, style="List Number")
    document.add_heading("其他", 1)
    document.add_paragraph("携带宠物的，应当牵绳。")
    document.save(path)


def test_word_keeps_headings_lists_and_tables(tmp_path):
    word_file(tmp_path / "a.docx")
    document = read_document(tmp_path / "a.docx")
    pairs = {pair.question: pair.answer for pair in extract(document).pairs}
    assert document.title == "云栖露营地须知"
    assert answer(pairs, "“林间区”", "价格是多少") == ["120 元"]
    assert answer(pairs, "搭帐篷步骤的第 2 步") == ["撑起帐杆"]
    assert answer(pairs, "携带宠物的") == ["应当牵绳"]


def pdf_file(path, lines):
    """A page of `(x, y, size, text)` in the course's own font."""
    import matplotlib.pyplot as plt
    from matplotlib import font_manager

    from course_utils.paths import ROOT

    font = font_manager.FontProperties(fname=ROOT / "course_utils" / "fonts" / "CourseSansSC-Regular.otf")
    with plt.rc_context({"pdf.fonttype": 42}):
        figure = plt.figure(figsize=(6, 8))
        for x, y, size, text in lines:
            figure.text(x, y, text, fontsize=size, fontproperties=font)
        figure.savefig(path)
        plt.close(figure)


def test_pdf_keeps_headings_and_tables(tmp_path):
    rows = [("机型", "容量", "保修"), ("小号", "3 升", "1 年"), ("大号", "5 升", "2 年")]
    lines = [(0.1, 0.9, 24, "水壶说明书"), (0.1, 0.82, 16, "规格")]
    lines += [
        (x, 0.76 - 0.05 * r, 10, cell)
        for r, row in enumerate(rows)
        for x, cell in zip((0.1, 0.3, 0.5), row, strict=True)
    ]
    lines += [(0.1, 0.5, 16, "保养"), (0.1, 0.44, 10, "水垢超过 2 毫米的，应当用柠檬酸清洗。")]
    pdf_file(tmp_path / "a.pdf", lines)
    document = read_document(tmp_path / "a.pdf")
    pairs = {pair.question: pair.answer for pair in extract(document).pairs}
    assert document.title == "水壶说明书"
    assert answer(pairs, "“大号”", "容量是多少") == ["5 升"]
    assert "应当用柠檬酸清洗" in answer(pairs, "水垢超过 2 毫米的")


def blank_pdf(path, password=None):
    import pypdf

    writer = pypdf.PdfWriter()
    writer.add_blank_page(200, 200)
    if password:
        writer.encrypt(password)
    writer.write(path)


def test_bad_files_are_named_with_their_fix(tmp_path, monkeypatch):
    blank_pdf(tmp_path / "扫描.pdf")
    blank_pdf(tmp_path / "加密.pdf", "secret")
    for name, data in {
        "空.txt": b" \n", "二进制.txt": b"\x00\x01\x02" * 40, "假.docx": b"%PDF-1.4", "坏.docx": b"PK\x03\x04" + b"x" * 50,
        "坏.pdf": b"%PDF-1.7\n" + b"x" * 50, "旧.doc": b"\xd0\xcf\x11\xe0", "脚本.html": b"<html><script>a()</script></html>",
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(data)
    (tmp_path / "夹.txt").mkdir()
    expected = {
        "扫描.pdf": "扫描件", "加密.pdf": "密码", "空.txt": "是空的", "二进制.txt": "NUL", "假.docx": "不是这种格式", "坏.docx": "损坏",
        "坏.pdf": "损坏", "旧.doc": "另存为 .docx", "脚本.html": "没有文字", "夹.txt": "打不开", "缺.txt": "找不到文件",
    }  # fmt: skip
    for name, words in expected.items():
        with pytest.raises(DataError, match=re.escape(words)) as caught:
            read_document(tmp_path / name)
        assert name in str(caught.value) and "请" in str(caught.value)
    (tmp_path / "大.txt").write_text("字" * 100, encoding="utf-8")
    monkeypatch.setattr("course_utils.data.documents.LIMIT", 99)
    with pytest.raises(DataError, match=r"大\.txt"):
        read_document(tmp_path / "大.txt")


# The web ---------------------------------------------------------------------------------------------------------


@contextmanager
def serving(answer_request):
    """A server on loopback; `answer_request(handler)` writes the answer. Gives its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            answer_request(self)

        do_POST = do_GET

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def reply(handler, body=b"", status=200, kind="text/html", **headers):
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1/", "http://10.0.0.1/", "http://169.254.169.254/latest", "http://[::1]/", "http://0.0.0.0/",
        "http://[::ffff:127.0.0.1]/", "http://2130706433/", "http://localhost/", "http://100.64.0.1/", "http://224.0.0.1/",
    ],
)  # fmt: skip
def test_addresses_inside_are_refused(address):
    with pytest.raises(DataError, match=r"内网地址|找不到网站"):
        read_document(address)


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://example.com/a", "gopher://example.com", "http:///a"])
def test_only_http_is_read(address):
    with pytest.raises(DataError, match="只能读 http"):
        read_document(address)


def test_a_name_that_stands_for_loopback_is_refused_even_beside_a_public_address(monkeypatch):
    both = [(2, 1, 6, "", ("93.184.216.34", 80)), (2, 1, 6, "", ("127.0.0.1", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: both)
    with pytest.raises(DataError, match=r"内网地址 127\.0\.0\.1"):
        read_document("http://evil.example/")


def test_a_redirect_is_checked_anew(monkeypatch):
    """The first name is public as far as the check can see; the page sends on to the loopback address."""
    public = web._public

    def check(host, port, allow_private):
        return "127.0.0.1" if host == "public.example" else public(host, port, allow_private)

    monkeypatch.setattr(web, "_public", check)
    for target, words in (("http://127.0.0.1:1/inside", "内网地址"), ("file:///etc/passwd", "只能读 http")):
        with (
            serving(lambda h, target=target: reply(h, status=302, Location=target)) as port,
            pytest.raises(DataError, match=words),
        ):
            read_document(f"http://public.example:{port}/")


def test_a_page_is_read_with_limits_on_size_time_kind_and_redirects(monkeypatch):
    page = "<html><h1>竹溪剧场</h1><p>竹溪剧场每晚 19:30 开演，共有 420 个座位。</p></html>".encode()
    with serving(lambda h: reply(h, page, kind="text/html; charset=utf-8")) as port:
        document = read_document(f"http://127.0.0.1:{port}/看", allow_private=True)
        assert document.title == "竹溪剧场" and document.source.endswith("看")
        monkeypatch.setattr(web, "LIMIT", 20)
        with pytest.raises(DataError, match="超过"):
            read_document(f"http://127.0.0.1:{port}/", allow_private=True)
        monkeypatch.undo()
        monkeypatch.setattr(web, "DEADLINE", -1)
        with pytest.raises(DataError, match="没有读完"):
            read_document(f"http://127.0.0.1:{port}/", allow_private=True)
        monkeypatch.undo()
    for answering, words in [
        (lambda h: reply(h, b"x", kind="image/png"), "image/png"),
        (lambda h: reply(h, b"x", 404), "404"),
        (lambda h: reply(h, status=301, Location="/again"), "跳转"),
        (lambda h: h.wfile.write(b"nonsense\r\n\r\n"), "打不开"),
    ]:
        with serving(answering) as port, pytest.raises(DataError, match=words):
            read_document(f"http://127.0.0.1:{port}/", allow_private=True)


# The score -------------------------------------------------------------------------------------------------------


def test_score_counts_what_is_covered_and_what_is_wrong():
    from dataclasses import replace

    document = parse(MANUAL, "a.md")
    pairs = extract(document).pairs
    facts = [
        Fact("a.md", "数字", "离墙多远？", "30 厘米", "离墙至少 30 厘米，离地至少 60 厘米", ["30 厘米", "60厘米"]),
        Fact("a.md", "数字", "多久？", "9 年", "人为损坏除外", ["9 年"]),
    ]
    result = score(pairs, facts, document)
    assert result.covered == 0.5 and result.missed == facts[1:] and result.correct == 1.0
    assert "覆盖 50.0%" in total([result, result]).summary()
    number = next(pair for pair in pairs if "多少厘米" in pair.question)
    bad = [
        replace(number, answer="离墙 99 厘米"),
        replace(number, question="离墙至少 30 厘米，离地至少 60 厘米。"),
        replace(number, question="青岚 H-2 加湿器离墙至少 30 厘米，离地至少 60 厘米，对吗？"),
        replace(number, answer="风机停转", start=0, end=len(document.text)),
    ]
    reasons = [reason for _, reason in score(bad, facts, document).wrong]
    assert reasons == ["答案不是原文", "不是问题", "答案就在问题里", "答案与疑问词不合"]
    with pytest.raises(DataError, match="没有"):
        score(pairs, [], document)


# The model -------------------------------------------------------------------------------------------------------

GOOD = {
    "pairs": [
        {"question": "青岚 H-2 离墙至少多远？", "answer": "30 厘米", "kind": "数字", "evidence": "离墙至少 30 厘米"}
    ]
}


def completion(content, finish="stop"):
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return json.dumps(
        {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    ).encode()


@pytest.fixture
def model(monkeypatch):
    """A fake OpenAI server that answers with the next of `script`, the last again and again; `asked` counts."""

    class Model:
        script, asked = [], 0

    def respond(handler):
        handler.rfile.read(int(handler.headers["Content-Length"]))
        step = Model.script[min(Model.asked, len(Model.script) - 1)]
        Model.asked += 1
        if callable(step):
            step(handler)
        else:
            reply(handler, completion(step if isinstance(step, str) else json.dumps(step)), kind="application/json")

    with serving(respond) as port:
        for name, value in zip(llm.VARIABLES, (f"http://127.0.0.1:{port}/v1", "key", "m"), strict=True):
            monkeypatch.setenv(name, value)
        yield Model


def failing(status, **headers):
    return lambda handler: reply(handler, b"{}", status, "application/json", **headers)


def test_a_model_writes_pairs_with_verbatim_evidence(model):
    invented = {"question": "青岚 H-2 多重？", "answer": "9 千克", "kind": "数字", "evidence": "重 9 千克"}
    model.script = [{"pairs": [*GOOD["pairs"], invented, *GOOD["pairs"]]}]
    document = parse(MANUAL, "a.md")
    result = extract_llm(document)
    [pair] = result.pairs
    assert document.text[pair.start : pair.end] == "离墙至少 30 厘米"
    assert [dropped.reason for dropped in result.dropped] == ["证据不是原文", "重复"]


@pytest.mark.parametrize(
    "trouble",
    [
        failing(429, Retry_After="0"),
        failing(500),
        "没有 JSON",
        '{"pairs": [{"question": "缺字段"}]}',
        '{"pairs": []} 附言',
    ],
)
def test_after_trouble_it_asks_again(model, trouble):
    model.script = [trouble, GOOD]
    assert len(extract_llm(parse(MANUAL), wait=0.01).pairs) == 1
    assert model.asked == 2


def test_a_slow_model_is_not_waited_for(model):
    model.script = [lambda handler: time.sleep(0.6), GOOD]
    assert len(extract_llm(parse(MANUAL), wait=0.01, timeout=0.2).pairs) == 1


def test_a_refused_key_stops_at_once_and_without_settings_it_says_which(model, monkeypatch):
    model.script = [failing(401)]
    with pytest.raises(ConfigError, match="401"):
        extract_llm(parse(MANUAL), wait=0.01)
    assert model.asked == 1
    monkeypatch.delenv("COURSE_LLM_MODEL")
    assert not llm.configured()
    with pytest.raises(ConfigError, match="COURSE_LLM_MODEL"):
        extract_llm(parse(MANUAL))


def test_failed_chunks_are_counted_never_saved_as_success_and_taken_up_again(model, tmp_path):
    document = parse("甲馆每天 9:00 开门。\n@@\n乙馆每天 8:00 开门。\n@@\n丙馆每天 7:00 开门。")
    pairs = [
        {
            "pairs": [
                {
                    "question": f"{name}几点开门？",
                    "answer": f"{hour}:00",
                    "kind": "时间",
                    "evidence": f"每天 {hour}:00 开门",
                }
            ]
        }
        for name, hour in (("甲馆", 9), ("乙馆", 8), ("丙馆", 7))
    ]
    model.script = [pairs[0], failing(500), failing(500), pairs[2]]
    progress = tmp_path / "progress.json"
    first = extract_llm(document, "@@", progress, wait=0.01, attempts=2)
    assert sorted(first.failed) == [2] and not first.complete and len(first.pairs) == 2
    with pytest.raises(DataError, match=r"第 2 段.*没有保存"):
        first.save(tmp_path / "pairs.jsonl")
    assert not (tmp_path / "pairs.jsonl").exists()
    first.save(tmp_path / "part.jsonl", allow_partial=True)
    model.script, model.asked = [pairs[1]], 0
    second = extract_llm(document, "@@", progress, wait=0.01)
    assert model.asked == 1 and second.complete and len(second.pairs) == 3
    second.save(tmp_path / "pairs.jsonl")
    assert len((tmp_path / "pairs.jsonl").read_text("utf-8").splitlines()) == 3
    progress.write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="进度文件"):
        extract_llm(document, "@@", progress)

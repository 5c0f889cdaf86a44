"""What can be wrong with one text, and how to mend it: invisible characters, mojibake, personal data, label variants."""

import re
import unicodedata

# C0 and C1 controls but tab and newline, soft hyphen, zero-width and direction marks, byte order mark, and U+E000,
# which `encode` needs for itself. U+200D stays between the parts of an emoji, and U+200C is spelling in some scripts.
CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ue000]"
    "|\u200d(?![\u2600-\u27bf\U0001f000-\U0001faff])"
)
LINE_BREAKS = str.maketrans(dict.fromkeys("\x0b\x0c\x85\u2028\u2029", "\n"))  # they part words, so a newline stays


def strip_control(text: str) -> str:
    """`text` without invisible characters. Mojibake is left as it is: there these are halves of characters."""
    return text if is_mojibake(text) else CONTROL.sub("", text.translate(LINE_BREAKS))


# --- mojibake ---

# Every byte above 127 as Latin-1 shows it, and as Windows-1252 does.
BYTES = {b: b for b in range(128, 256)}
BYTES |= {ord(bytes([b]).decode("cp1252")): b for b in range(128, 160) if b not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)}
_HIGH = "".join(map(re.escape, map(chr, BYTES)))
AS_LATIN = re.compile(f"[{_HIGH}]{{3,}}")
# The GBK characters that begin a UTF-8 character's three bytes read in pairs: E3 (。、), E4-E9 (Chinese) and EF (，！).
_FIRST = "".join(
    bytes([lead, trail]).decode("gbk", "ignore")
    for lead in (0xE3, *range(0xE4, 0xEA), 0xEF)
    for trail in range(128, 192)
)
AS_GBK = re.compile(f"[{_FIRST}][^\x00-\x7f]+")
LOST = re.compile("\ufffd|锟斤|斤拷|ï¿½|烫烫烫烫|屯屯屯屯")  # marks of what no decoding brings back
CHINESE = re.compile("[\u4e00-\u9fff]")
CHINESE_OR_POINT = re.compile("[\u3000-\u30ff\u4e00-\u9fff\uff00-\uffef]")
EAST_ASIAN = re.compile("[\u2010-\u2027\u3000-\u30ff\u4e00-\u9fff\uff00-\uffef\x20-\x7e\\s]+")


def is_mojibake(text: str) -> bool:
    """Whether `text`, or part of it, is text in one encoding read in another.

    A heuristic with few false alarms: U+FFFD and 锟斤拷; or a run of characters that are, read back as Latin-1,
    Windows-1252 or GBK, valid UTF-8 of nothing but Chinese, kana and their punctuation (by chance almost impossible:
    UTF-8 is strict about the order of bytes); or a run of four and more accented letters that are common GBK Chinese.
    """
    if LOST.search(text):
        return True
    if any(_sensible(_latin_bytes(run), "utf-8") or _is_gbk_as_latin(run) for run in AS_LATIN.findall(text)):
        return True
    return any(_sensible(run.encode("gb18030"), "utf-8", fewest=2) for run in AS_GBK.findall(text))


def fix_mojibake(text: str) -> str | None:
    """`text` decoded as it should have been; None where that is not certain: the way there and back must give every
    character again, and the outcome must be Chinese without a trace of mojibake.
    """
    if text.isascii() or not is_mojibake(text):
        return None
    for read_as, encoding in (("gb18030", "utf-8"), ("latin", "utf-8"), ("latin", "gb18030")):
        try:
            data = text.encode("gb18030") if read_as == "gb18030" else _latin_bytes(text)
            fixed = data.decode(encoding)
        except UnicodeError:
            continue
        if CHINESE.search(fixed) and not is_mojibake(fixed) and fixed.encode(encoding) == data:
            return fixed
    return None


def _latin_bytes(text: str) -> bytes:
    """The bytes that Latin-1 or Windows-1252 showed as `text`. Raises `UnicodeEncodeError`."""
    return text.translate(BYTES).encode("latin-1")


def _sensible(data: bytes, encoding: str, fewest: int = 1) -> bool:
    """Whether the bytes are at least `fewest` East Asian characters; the last one may be incomplete."""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if error.reason != "unexpected end of data" and len(data) - error.start > 3:
            return False
        text = data[: error.start].decode(encoding)
    return len(text) >= fewest and EAST_ASIAN.fullmatch(text) is not None and CHINESE_OR_POINT.search(text) is not None


def _is_gbk_as_latin(run: str) -> bool:
    data = _latin_bytes(run)
    pairs = [data[i : i + 2] for i in range(0, len(data), 2)]
    # GB2312's common characters lie at B0 to D7, its punctuation and full-width letters at A1 to A3.
    common = sum(0xB0 <= pair[0] <= 0xD7 for pair in pairs)
    others = sum(0xA1 <= pair[0] <= 0xA3 for pair in pairs)
    return common >= 2 and common + others == len(pairs) and all(len(pair) == 2 and pair[1] >= 0xA1 for pair in pairs)


# --- personal data ---

PERSONAL = {
    "身份证号": re.compile(r"(?<![0-9A-Za-z])[1-9]\d{5}(?:19|20)\d{2}[01]\d[0-3]\d{4}[\dXx](?![0-9A-Za-z])", re.ASCII),
    "手机号": re.compile(r"(?<![0-9A-Za-z])(?:\+?86[- ]?)?1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?![0-9A-Za-z])", re.ASCII),
    "邮箱": re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}"),
}
_DIGITS = re.compile(r"\d{4}", re.ASCII)


def personal_data(text: str) -> list[str]:
    """What kinds of personal data stand in `text`: 身份证号 (with a right check digit), 手机号, 邮箱."""
    found = []
    if _DIGITS.search(text):
        if any(_valid_id(match) for match in PERSONAL["身份证号"].findall(text)):
            found.append("身份证号")
        if PERSONAL["手机号"].search(text):
            found.append("手机号")
    if "@" in text and PERSONAL["邮箱"].search(text):
        found.append("邮箱")
    return found


def mask_personal(text: str) -> str:
    """`text` with 【身份证号】, 【手机号】 and 【邮箱】 in the place of these."""
    for kind in personal_data(text):
        mask = f"【{kind}】"
        if kind == "身份证号":
            text = PERSONAL[kind].sub(lambda match, mask=mask: mask if _valid_id(match[0]) else match[0], text)
        else:
            text = PERSONAL[kind].sub(mask, text)
    return text


def _valid_id(number: str) -> bool:
    """The check digit of GB 11643-1999 (ISO 7064 MOD 11-2)."""
    total = sum(int(digit) * pow(2, 17 - i, 11) for i, digit in enumerate(number[:17]))
    return "10X98765432"[total % 11] == number[17].upper()


# --- labels ---

# Traditional and variant characters that labels are made of; a label is a word or two, so a short list does.
_VARIANTS = str.maketrans(
    (
        "極積負評論價類別體驗觀產業務經濟財際國軍聞視聽樂遊戲電腦機車術學醫藥療環線網絡訊資請問題詢訴謝讚贊歡愛惡憤驚懼"
        "傷滿無關開閉進遠還過運動勞優壞較個們從來對錯確實虛偽裝緊廣歷書語說話讀寫譯單雙複雜簡買賣貨質數據圖畫聲響證許則"
        "險銀錢錄鐵長門時間陽陰風飛飯飲館魚鳥點黨齊龍農歲東兩義藝節藍營檢權標準備報場處號虧顏紅綠黃純細組織紙級約給統續"
        "維綜緣縣縮總績繳轉輕輸辦邊邏釋鐘針鈕銷錦鎖鍵閱隊隨隱離難雲靜韓頁項順預領頭顧顯飾養騎騙魯鮮麥臺萬與並亂亞傳債僅"
        "億儲兒內兇凍劇創勝勢協卻參吳員嗎啟喪嚴囉園圓團執堅塊壓壯壽夢奪奮婦媽孫寧審寬寶將專尋導屬島幣帳幫庫廠廢強彈彙後"
        "徑徵恆態慘慣慮慶憂憶應懷懶戀戰戶擇擊擔擁擴擠擺攝攤敗敵斷暫曆曉條棄構樣樓樹橋櫃歐殺氣決沒況洩淚淨減湯測溫溝滅漲"
        "漸潔澤濕濱灣災為煙煩燈燒爾牆獎獨獲獻現瑪畢異當癡癢盜盡監盤眾矯礎禮禍種稱穩窮競筆範築篩籌糧納紛"
    ),
    (
        "极积负评论价类别体验观产业务经济财际国军闻视听乐游戏电脑机车术学医药疗环线网络讯资请问题询诉谢赞赞欢爱恶愤惊惧"
        "伤满无关开闭进远还过运动劳优坏较个们从来对错确实虚伪装紧广历书语说话读写译单双复杂简买卖货质数据图画声响证许则"
        "险银钱录铁长门时间阳阴风飞饭饮馆鱼鸟点党齐龙农岁东两义艺节蓝营检权标准备报场处号亏颜红绿黄纯细组织纸级约给统续"
        "维综缘县缩总绩缴转轻输办边逻释钟针钮销锦锁键阅队随隐离难云静韩页项顺预领头顾显饰养骑骗鲁鲜麦台万与并乱亚传债仅"
        "亿储儿内凶冻剧创胜势协却参吴员吗启丧严啰园圆团执坚块压壮寿梦夺奋妇妈孙宁审宽宝将专寻导属岛币帐帮库厂废强弹汇后"
        "径征恒态惨惯虑庆忧忆应怀懒恋战户择击担拥扩挤摆摄摊败敌断暂历晓条弃构样楼树桥柜欧杀气决没况泄泪净减汤测温沟灭涨"
        "渐洁泽湿滨湾灾为烟烦灯烧尔墙奖独获献现玛毕异当痴痒盗尽监盘众矫础礼祸种称稳穷竞笔范筑筛筹粮纳纷"
    ),
)


def label_key(label: str) -> str:
    """What is the same for labels that differ only by blanks, case, full or half width, a traditional or variant
    character, invisible characters, or a full stop.
    """
    folded = unicodedata.normalize("NFKC", CONTROL.sub("", label)).casefold()
    return "".join(folded.split()).translate(_VARIANTS).strip("。")

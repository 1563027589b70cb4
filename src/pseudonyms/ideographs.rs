//! Names of persons in Chinese characters, kana and hangul: a run of two to four characters that begins with a common surname, and stands
//! alone. Words of sentences stand in longer runs.

use std::ops::Range;

/// Korean surnames of one syllable, and Chinese ones of one character, of which few begin a word.
const ONE: &str = "김이박최정강조윤장임한오서신권황안송류홍王李张張刘劉陈陳杨楊赵趙吴吳周徐孙孫朱胡郭林罗羅郑鄭梁谢謝宋唐许許韩韓冯馮邓鄧曹彭曾萧蕭蔡潘董袁蒋杜苏魏薛阎黄黃";
/// Japanese surnames.
const TWO: &str = "佐藤 鈴木 高橋 田中 伊藤 渡辺 渡邊 山本 中村 小林 加藤 吉田 山田 山口 松本 井上 木村 斎藤 斉藤 清水 山崎 池田 橋本 阿部 石川 中島 前田 藤田 小川 後藤 \
    岡田 長谷 村上 近藤 石井 坂本 遠藤 青木 藤井 西村 福田 太田 三浦 藤原 岡本 松田 中川 中野 原田 小野 田村 竹内 金子 和田 中山 石田 上田 森田 小島 柴田 酒井 宮崎 横山 \
    内田 高木 安藤 谷口 大野 丸山 今井 高田 藤本 武田 村田 上野 杉山 増田 平野 大塚 千葉 久保 松井 野口 菊地";

/// The names in a text.
pub fn names(text: &str) -> Vec<Range<usize>> {
    let (mut found, mut start) = (Vec::new(), None);
    let mut end = |begin: usize, at: usize| {
        if let Some(length) = name(&text[begin..at], &text[at..]) {
            found.push(begin..begin + length);
        }
    };
    for (at, c) in text.char_indices() {
        match (is_ideograph(c), start) {
            (true, None) => start = Some(at),
            (false, Some(begin)) => {
                end(begin, at);
                start = None;
            }
            _ => {}
        }
    }
    if let Some(begin) = start {
        end(begin, text.len());
    }
    found
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' | '\u{3041}'..='\u{30ff}' | '々')
}

/// The length of the name that the run is, with a given name that may follow after a blank.
fn name(run: &str, after: &str) -> Option<usize> {
    let count = run.chars().count();
    let first = run.chars().next()?;
    let hangul = matches!(first, '\u{ac00}'..='\u{d7a3}');
    let two = TWO.split(' ').any(|surname| run.starts_with(surname));
    let short = ONE.contains(first) && if hangul { count == 3 } else { (2..=3).contains(&count) };
    if two && count == 2 {
        let given = after.strip_prefix(' ')?;
        let length = given.find(|c: char| !is_ideograph(c)).unwrap_or(given.len());
        return (1..=3).contains(&given[..length].chars().count()).then_some(run.len() + 1 + length);
    }
    (short || two && (3..=5).contains(&count)).then_some(run.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_alone_and_begin_with_a_surname() {
        let found = |text: &'static str| names(text).into_iter().map(|place| &text[place]).collect::<Vec<_>>();
        assert_eq!(
            found("D:/x/김민준.docx, 張偉 (x) 鈴木 一郎 and 渡辺健太.xlsx"),
            ["김민준", "張偉", "鈴木 一郎", "渡辺健太"]
        );
        assert_eq!(found("王国维护管理系统 文件 成功, 오류가발생 鈴木 x"), [""; 0]);
    }
}

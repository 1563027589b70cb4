//! The members of an object in a learnt grammar: mostly in one order, some of them optional, some in any order, and others
//! between them where the object is open.

use super::writer::Writer;

pub(super) struct Member {
    pub name: String,
    /// A regular expression for what stands between the quotes of the name.
    pub spelling: String,
    /// Name, colon and value as an expression; None where nothing fits, so that the name is only taken.
    pub text: Option<String>,
    pub is_required: bool,
}

pub(super) struct Object {
    /// What stands behind the opening bracket, as a regular expression.
    pub mark: &'static str,
    /// In their usual order.
    pub members: Vec<Member>,
    /// Names that follow each other in any order.
    pub groups: Vec<Vec<String>>,
    /// Whether the members that are not required stand anywhere.
    pub any_order: bool,
    /// The value of members with other names, if there may be some.
    pub rest: Option<String>,
    /// The most names of a group of which all orders are listed.
    pub most_ordered: usize,
}

/// One member, or a group of members in any order.
struct Item {
    text: String,
    is_required: bool,
}

impl Object {
    /// The expression of the object; `around` are regular expressions before and behind its brackets.
    pub fn write(&self, writer: &mut Writer, around: [&str; 2]) -> String {
        let [open, close, empty] = writer.brackets([&format!(r"\{{{}", self.mark), r"\}"], around);
        let comma = writer.comma();
        let mut anywhere: Vec<String> = Vec::new();
        if self.any_order {
            anywhere.extend(self.members.iter().filter(|member| !member.is_required).filter_map(|m| m.text.clone()));
        }
        if let Some(value) = &self.rest {
            let taken: Vec<&str> = self.members.iter().map(|member| member.spelling.as_str()).collect();
            anywhere.push(format!("{} {value}", writer.other_names(&taken)));
        }
        let others = (!anywhere.is_empty()).then(|| {
            let other = writer.rule(&anywhere.join(" | "));
            writer.rule(&format!("{other} ({comma} {other})*"))
        });
        let mut items = self.items(&comma, writer);
        if let Some(others) = &others {
            // Behind the member that they follow, so that each text has one reading.
            items.iter_mut().for_each(|item| item.text = format!("{} ({comma} {others})?", item.text));
        }
        let front = others.as_ref().map(|others| format!("({others} {comma})?")).unwrap_or_default();
        let body = match items.iter().position(|item| item.is_required) {
            Some(first) => {
                let before: Vec<String> =
                    items[..first].iter().map(|item| format!("({} {comma})?", item.text)).collect();
                let behind = items[first + 1..].iter().map(|item| match item.is_required {
                    true => format!("{comma} {}", item.text),
                    false => format!("({comma} {})?", item.text),
                });
                let behind: Vec<String> = behind.collect();
                format!("{open} {front} {} {} {} {close}", before.join(" "), items[first].text, behind.join(" "))
            }
            None => {
                let some = (!items.is_empty()).then(|| format!("{front} {}", some_of(&items, &comma, writer)));
                let bodies: Vec<String> = some.into_iter().chain(others).collect();
                match bodies.is_empty() {
                    true => empty,
                    false => format!("{empty} | {open} ({}) {close}", bodies.join(" | ")),
                }
            }
        };
        writer.rule(&body)
    }

    /// The members as items in order.
    fn items(&self, comma: &str, writer: &mut Writer) -> Vec<Item> {
        let mut items = Vec::new();
        let mut done: Vec<&str> = Vec::new();
        for member in &self.members {
            let Some(text) = member.text.as_ref().filter(|_| member.is_required || !self.any_order) else { continue };
            let Some(group) = self.groups.iter().find(|group| group.contains(&member.name)) else {
                items.push(Item { text: text.clone(), is_required: member.is_required });
                continue;
            };
            if done.contains(&member.name.as_str()) {
                continue;
            }
            done.extend(group.iter().map(String::as_str));
            let group: Vec<(&str, bool)> = self
                .members
                .iter()
                .filter(|member| group.contains(&member.name))
                .filter_map(|member| Some((member.text.as_deref()?, member.is_required)))
                .collect();
            let is_required = group.len() <= self.most_ordered && group.iter().any(|(_, is_required)| *is_required);
            let text = if group.len() <= self.most_ordered {
                orders(&group, comma).join(" | ")
            } else {
                let one: Vec<&str> = group.iter().map(|(text, _)| *text).collect();
                let one = writer.rule(&one.join(" | "));
                format!("{one} ({comma} {one}){{0,{}}}", group.len() - 1)
            };
            items.push(Item { text: writer.rule(&text), is_required });
        }
        items
    }
}

/// All orders of the members that have every required one, and at least one.
fn orders(members: &[(&str, bool)], comma: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut begun: Vec<Vec<usize>> = (0..members.len()).map(|first| vec![first]).collect();
    while let Some(order) = begun.pop() {
        let left = (0..members.len()).filter(|member| !order.contains(member));
        if left.clone().all(|member| !members[member].1) {
            let texts: Vec<&str> = order.iter().map(|&member| members[member].0).collect();
            found.push(texts.join(&format!(" {comma} ")));
        }
        begun.extend(left.map(|next| [&order[..], &[next]].concat()));
    }
    found
}

/// At least one of the items, in order. Halves of halves, so that rules are few and hardly nested.
fn some_of(items: &[Item], comma: &str, writer: &mut Writer) -> String {
    if let [one] = items {
        return one.text.clone();
    }
    let (first, second) = items.split_at(items.len() / 2);
    let [first, second] = [first, second].map(|half| some_of(half, comma, writer));
    let second = writer.rule(&second);
    writer.rule(&format!("{first} ({comma} {second})? | {second}"))
}

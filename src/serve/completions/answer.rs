//! Answers in OpenAI's shape: `text_completion` objects, whole or in pieces as server-sent events.

use super::shown::Piece;
use crate::sample::Finish;
use serde_json::{Map, Value, json};

/// What every object of one answer says.
pub struct AnswerHead {
    pub id: String,
    /// In seconds since 1970.
    pub created: u64,
    pub model: String,
    /// The seed that gives the same records again.
    pub seed: u64,
}

/// Tokens of all prompts, and tokens drawn for all records.
#[derive(Clone, Copy, Default)]
pub struct Usage {
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
}

impl Usage {
    fn to_json(self) -> Value {
        let Usage { prompt_tokens, completion_tokens } = self;
        let total_tokens = prompt_tokens + completion_tokens;
        json!({ "prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total_tokens })
    }
}

/// The last of the pieces of a streamed answer.
pub const DONE: &str = "data: [DONE]\n\n";

impl AnswerHead {
    fn object(&self, choices: Vec<Value>) -> Value {
        let AnswerHead { id, created, model, seed } = self;
        json!({ "id": id, "object": "text_completion", "created": created, "model": model, "seed": seed, "choices": choices })
    }

    /// The whole answer.
    pub fn whole(&self, choices: Vec<Value>, usage: Usage) -> String {
        let mut object = self.object(choices);
        object["usage"] = usage.to_json();
        format!("{object}\n")
    }

    /// A piece of the answer. Where usage is asked for, every piece has the member, and only the last one, without choices, its
    /// value.
    pub fn piece(&self, choice: Value, include_usage: bool) -> String {
        let mut object = self.object(vec![choice]);
        if include_usage {
            object["usage"] = Value::Null;
        }
        event(&object)
    }

    pub fn usage_piece(&self, usage: Usage) -> String {
        let mut object = self.object(Vec::new());
        object["usage"] = usage.to_json();
        event(&object)
    }
}

/// A server-sent event.
pub fn event(object: &Value) -> String {
    format!("data: {object}\n\n")
}

/// A record, or a piece of it. `has_logprobs`: log probabilities were asked for.
pub fn choice(index: usize, piece: &Piece, has_logprobs: bool, finish: Option<Finish>) -> Value {
    let reason = finish.map(|finish| match finish {
        Finish::Ended | Finish::StopSequence => "stop",
        // Clients know no other reason for a record that is not whole; `stuck` tells the two apart.
        Finish::Length | Finish::DeadEnd(_) => "length",
    });
    let logprobs = if has_logprobs { logprobs(piece) } else { Value::Null };
    let mut choice = json!({ "text": piece.text, "index": index, "logprobs": logprobs, "finish_reason": reason });
    if let Some(Finish::DeadEnd(dead_end)) = finish {
        choice["stuck"] = json!(dead_end);
    }
    choice
}

fn logprobs(piece: &Piece) -> Value {
    let of = |member: &dyn Fn(&super::shown::ShownToken) -> Value| piece.tokens.iter().map(member).collect::<Value>();
    json!({
        "tokens": of(&|token| token.text.clone().into()),
        "token_logprobs": of(&|token| token.logprob.into()),
        "top_logprobs": of(&|token| {
            let mut top: Map<String, Value> = token.top.iter().map(|(text, logprob)| (text.clone(), (*logprob).into())).collect();
            top.entry(token.text.clone()).or_insert(token.logprob.into());
            top.into()
        }),
        "text_offset": of(&|token| token.offset.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::super::shown::ShownToken;
    use super::*;
    use crate::sample::DeadEnd;

    fn head() -> AnswerHead {
        AnswerHead { id: "cmpl-1".into(), created: 7, model: "m".into(), seed: 5 }
    }

    fn piece() -> Piece {
        let token = |text: &str, offset, top: &[(&str, f64)]| {
            let top = top.iter().map(|(text, logprob)| (text.to_string(), *logprob)).collect();
            ShownToken { text: text.into(), logprob: -1.5, top, offset }
        };
        Piece {
            text: "ab".into(),
            tokens: vec![token("a", 3, &[("a", -1.5), ("x", -2.0)]), token("b", 4, &[("y", -0.5)])],
        }
    }

    #[test]
    fn a_whole_answer_is_as_openai_documents_it() {
        let usage = Usage { prompt_tokens: 2, completion_tokens: 3 };
        let answer: Value =
            serde_json::from_str(&head().whole(vec![choice(0, &piece(), false, Some(Finish::Ended))], usage)).unwrap();
        assert_eq!(
            answer,
            json!({
                "id": "cmpl-1", "object": "text_completion", "created": 7, "model": "m", "seed": 5,
                "choices": [{ "text": "ab", "index": 0, "logprobs": null, "finish_reason": "stop" }],
                "usage": { "prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5 }
            })
        );
    }

    #[test]
    fn log_probabilities_stand_beside_their_tokens() {
        let choice = choice(1, &piece(), true, Some(Finish::Length));
        assert_eq!(
            choice["logprobs"],
            json!({
                "tokens": ["a", "b"], "token_logprobs": [-1.5, -1.5],
                "top_logprobs": [{ "a": -1.5, "x": -2.0 }, { "y": -0.5, "b": -1.5 }], "text_offset": [3, 4]
            })
        );
        assert_eq!((&choice["index"], &choice["finish_reason"]), (&1.into(), &"length".into()));
    }

    #[test]
    fn pieces_are_events() {
        let piece = head().piece(choice(0, &piece(), false, None), false);
        let object: Value =
            serde_json::from_str(piece.strip_prefix("data: ").unwrap().strip_suffix("\n\n").unwrap()).unwrap();
        assert_eq!((&object["choices"][0]["finish_reason"], object.get("usage")), (&Value::Null, None));
        let with_usage = head().piece(choice(0, &self::piece(), false, Some(Finish::StopSequence)), true);
        assert!(
            with_usage.contains("\"finish_reason\":\"stop\"") && with_usage.contains("\"usage\":null"),
            "{with_usage}"
        );
        let last = head().usage_piece(Usage::default());
        assert!(last.contains("\"choices\":[]") && last.contains("\"total_tokens\":0"), "{last}");
    }

    #[test]
    fn a_dead_end_is_told_from_a_limit() {
        let choice = choice(0, &Piece::default(), false, Some(Finish::DeadEnd(DeadEnd::NoToken)));
        assert_eq!((&choice["finish_reason"], &choice["stuck"]), (&"length".into(), &"no_token".into()));
    }
}

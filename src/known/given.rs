//! A finding or an alert as it was printed -> what is to be known.

use super::entry::{Scope, What};
use crate::alerts::{Kind, compared};
use serde_json::Value;

/// What a printed finding or alert says in this scope: of a field that at `path`, else its most unusual one. The error says what
/// it lacks.
pub fn given(printed: &Value, scope: Scope, path: Option<&str>) -> Result<What, String> {
    if !printed.is_object() {
        return Err("expected a JSON object, a finding or an alert as score prints it".to_string());
    }
    // A session shows its worst record.
    let finding = printed.get("finding").or(printed.get("worst")).unwrap_or(printed);
    match scope {
        Scope::Field => field(finding, path),
        Scope::Record => match finding["digest"].as_str() {
            Some(digest) => Ok(What::Record { digest: digest.to_string() }),
            None => Err("it has no digest, which every finding of this version has".to_string()),
        },
        Scope::Template => template(printed),
    }
}

fn field(finding: &Value, path: Option<&str>) -> Result<What, String> {
    let fields = finding["fields"].as_array().ok_or("it has no fields, which every finding has")?;
    let named = |field: &&Value| path.is_none_or(|path| field["path"] == path);
    let found = fields.iter().find(named).ok_or_else(|| match path {
        Some(path) => format!("it has no field {path}; give its value too (--value V)"),
        None => "it has no field".to_string(),
    })?;
    match (found["path"].as_str(), found["value"].as_str()) {
        (Some(path), Some(value)) => Ok(What::Field { path: path.to_string(), value: compared(value).to_string() }),
        _ => Err("its first field has no path and value as texts".to_string()),
    }
}

fn template(printed: &Value) -> Result<What, String> {
    if printed.get("template").is_none() {
        return Err("it has no template: that is in alerts, which score --alerts-per-day prints".to_string());
    }
    let kind: Kind =
        serde_json::from_value(printed.clone()).map_err(|e| format!("its template and odd fields: {e}"))?;
    match kind.says_what() {
        true => Ok(What::Template(kind)),
        false => Err("its odd fields have too many values to be a kind; use --scope field or record".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn findings_alerts_and_sessions_say_what_is_known() {
        let finding =
            json!({ "digest": "d", "fields": [{ "path": "a", "value": "x" }, { "path": "b", "value": "y" }] });
        let alert = json!({ "alert": "1", "template": ["a", "b"], "odd": { "a": "x", "b": null }, "finding": finding });
        let field = |path: &str, value: &str| Ok(What::Field { path: path.into(), value: value.into() });
        for printed in [&finding, &alert, &json!({ "worst": finding })] {
            assert_eq!(given(printed, Scope::Field, None), field("a", "x"));
            assert_eq!(given(printed, Scope::Field, Some("b")), field("b", "y"));
            assert_eq!(given(printed, Scope::Record, None), Ok(What::Record { digest: "d".into() }));
            assert!(given(printed, Scope::Field, Some("c")).unwrap_err().contains("--value"));
        }
        assert!(matches!(given(&alert, Scope::Template, None), Ok(What::Template(kind)) if kind.odd.len() == 2));
        assert!(given(&finding, Scope::Template, None).unwrap_err().contains("--alerts-per-day"));
        let vague = json!({ "template": ["a"], "odd": { "a": null } });
        assert!(given(&vague, Scope::Template, None).unwrap_err().contains("--scope field"));
        for (printed, scope) in [(json!([]), Scope::Field), (json!({}), Scope::Field), (json!({}), Scope::Record)] {
            assert!(given(&printed, scope, None).is_err(), "{printed}");
        }
    }
}

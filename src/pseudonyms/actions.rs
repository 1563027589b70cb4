//! What rules do with values: kinds of identities, redaction, and what stays.

use serde::Deserialize;

/// What is done with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    Name,
    User,
    Email,
    Host,
    Domain,
    Ip,
    Mac,
    Uuid,
    Sid,
    Account,
    Arn,
    KeyId,
    Token,
    Id,
    Number,
    Phone,
    Card,
    Iban,
    Coordinate,
    Place,
    Logon,
    Session,
    Redact,
    Cookie,
    Agent,
    Text,
    Keep,
    Field,
    Secret,
    Pairs,
}

impl Action {
    /// The class under which a report counts what the action replaced.
    pub fn class(self) -> &'static str {
        match self {
            Action::Name => "name",
            Action::User | Action::Logon | Action::Session => "user",
            Action::Email => "email",
            Action::Host => "host",
            Action::Domain => "domain",
            Action::Ip => "ip",
            Action::Mac => "mac",
            Action::Uuid => "uuid",
            Action::Sid => "sid",
            Action::Account => "account",
            Action::Arn => "arn",
            Action::KeyId => "key-id",
            Action::Token => "token",
            Action::Id | Action::Number => "id",
            Action::Phone => "phone",
            Action::Card => "card",
            Action::Iban => "iban",
            Action::Coordinate => "coordinate",
            Action::Place => "place",
            Action::Redact | Action::Cookie => "secret",
            Action::Agent | Action::Text | Action::Keep | Action::Field | Action::Secret | Action::Pairs => "text",
        }
    }
}

/// An action and, for redaction, the mark.
#[derive(Clone, Debug, PartialEq)]
pub struct Treatment {
    pub action: Action,
    pub mark: String,
}

impl Treatment {
    pub fn new(action: Action, mark: Option<String>) -> Self {
        Self { action, mark: mark.unwrap_or_else(|| "SECRET".into()) }
    }

    pub fn of(action: Action) -> Self {
        Self::new(action, None)
    }

    /// Whether the text is searched instead of being replaced as a whole.
    pub fn is_text(&self) -> bool {
        matches!(self.action, Action::Text | Action::Agent)
    }
}

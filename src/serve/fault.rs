//! Why a request is refused or failed, as OpenAI's interface and this one's clients expect it.

use crate::Error;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// A failure with its status. As JSON: `{"error": {"message", "type", "param", "code"}}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub status: StatusCode,
    pub message: String,
    /// The parameter at fault.
    pub param: Option<String>,
}

/// After so many seconds a refused client may ask again.
const RETRY_AFTER: &str = "1";

impl Fault {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Fault { status, message: message.into(), param: None }
    }

    /// A request that asks for something impossible, because of this parameter.
    pub fn of(param: &str, message: impl Into<String>) -> Self {
        Fault { status: StatusCode::BAD_REQUEST, message: message.into(), param: Some(param.to_string()) }
    }

    pub fn to_json(&self) -> serde_json::Value {
        let kind = match self.status.as_u16() {
            401 => "authentication_error",
            429 | 503 => "overloaded_error",
            400..500 => "invalid_request_error",
            _ => "server_error",
        };
        json!({ "error": { "message": self.message, "type": kind, "param": self.param, "code": null } })
    }
}

/// What is wrong with an input is the client's; anything else is not told apart by the error, so callers say which it is.
impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let status = match error {
            Error::Usage(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Fault::new(status, error.to_string())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::body::Body::from(format!("{}\n", self.to_json()))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self.status {
            StatusCode::UNAUTHORIZED => headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER))
            }
            _ => None,
        };
        response
    }
}

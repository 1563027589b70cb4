//! Logs as OpenTelemetry sends them (OTLP 1.x, `opentelemetry/proto/collector/logs/v1`), in protobuf or JSON: of each record its
//! body, and the name of the service that wrote it.

use prost::Message;
use serde::Deserialize;
use serde_json::{Map, Number, Value};
use std::sync::Arc;

/// The longest name of a service, in bytes: many are remembered.
const LONGEST_NAME: usize = 200;

/// A record as its service wrote it.
#[derive(Debug, PartialEq)]
pub struct ServiceRecord {
    /// `service.name` of its resource; empty where it has none.
    pub service: Arc<str>,
    /// The body: a text, or a JSON value.
    pub body: Vec<u8>,
}

/// The form of a request, which its answer has too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    Protobuf,
    Json,
}

impl Form {
    pub fn content_type(self) -> &'static str {
        match self {
            Form::Protobuf => "application/x-protobuf",
            Form::Json => "application/json",
        }
    }

    /// The records of an `ExportLogsServiceRequest`, in order. The error says what is wrong with it.
    pub fn records(self, body: &[u8]) -> Result<Vec<ServiceRecord>, String> {
        match self {
            Form::Protobuf => {
                let request =
                    Request::decode(body).map_err(|e| format!("no ExportLogsServiceRequest in protobuf: {e}"))?;
                let records = request.resource_logs.into_iter().map(ResourceLogs::records);
                Ok(records.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
            }
            // To serde an array of members is an object, too.
            Form::Json if body.trim_ascii_start().first() != Some(&b'{') => {
                Err("no ExportLogsServiceRequest in JSON: expected an object".to_string())
            }
            Form::Json => {
                let request: JsonRequest =
                    serde_json::from_slice(body).map_err(|e| format!("no ExportLogsServiceRequest in JSON: {e}"))?;
                let records = request.resource_logs.into_iter().map(JsonResourceLogs::records);
                Ok(records.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
            }
        }
    }

    /// An `ExportLogsServiceResponse`: how many records were rejected, and why the first of them.
    pub fn response(self, rejected: u64, message: &str) -> Vec<u8> {
        match self {
            Form::Protobuf => {
                let partial = PartialSuccess { rejected: rejected as i64, message: message.to_string() };
                Response { partial: (rejected > 0).then_some(partial) }.encode_to_vec()
            }
            // A 64-bit number is a text in the JSON of protobuf.
            Form::Json if rejected > 0 => {
                let partial =
                    serde_json::json!({ "rejectedLogRecords": rejected.to_string(), "errorMessage": message });
                serde_json::json!({ "partialSuccess": partial }).to_string().into_bytes()
            }
            Form::Json => b"{}".to_vec(),
        }
    }

    /// A `google.rpc.Status`: why the whole request failed.
    pub fn failure(self, message: &str) -> Vec<u8> {
        match self {
            Form::Protobuf => Status { message: message.to_string() }.encode_to_vec(),
            Form::Json => serde_json::json!({ "message": message }).to_string().into_bytes(),
        }
    }
}

/// The text of a body: a string as it is, anything else as JSON.
fn body_text(value: Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

fn service(name: &str) -> Result<Arc<str>, String> {
    match name.len() > LONGEST_NAME {
        true => Err(format!("service.name: at most {LONGEST_NAME} bytes, found {}", name.len())),
        false => Ok(name.into()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonRequest {
    #[serde(default)]
    resource_logs: Vec<JsonResourceLogs>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonResourceLogs {
    #[serde(default)]
    resource: JsonResource,
    #[serde(default)]
    scope_logs: Vec<JsonScopeLogs>,
}

#[derive(Default, Deserialize)]
struct JsonResource {
    #[serde(default)]
    attributes: Vec<JsonKeyValue>,
}

#[derive(Deserialize)]
struct JsonKeyValue {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonScopeLogs {
    #[serde(default)]
    log_records: Vec<JsonLogRecord>,
}

#[derive(Deserialize)]
struct JsonLogRecord {
    #[serde(default)]
    body: Value,
}

impl JsonResourceLogs {
    fn records(self) -> Result<Vec<ServiceRecord>, String> {
        let name = self.resource.attributes.iter().find(|attribute| attribute.key == "service.name");
        let service = service(name.and_then(|name| name.value["stringValue"].as_str()).unwrap_or(""))?;
        let records = self.scope_logs.into_iter().flat_map(|scope| scope.log_records);
        let record = |record: JsonLogRecord| ServiceRecord {
            service: service.clone(),
            body: body_text(json_value(&record.body)),
        };
        Ok(records.map(record).collect())
    }
}

/// An `AnyValue` in the JSON of protobuf as the value that it stands for.
fn json_value(any: &Value) -> Value {
    let Some((kind, value)) = any.as_object().and_then(|members| members.iter().next()) else { return Value::Null };
    let values = |value: &Value| value["values"].as_array().cloned().unwrap_or_default();
    match kind.as_str() {
        "arrayValue" => values(value).iter().map(json_value).collect(),
        "kvlistValue" => Value::Object(
            values(value)
                .iter()
                .map(|pair| (pair["key"].as_str().unwrap_or("").to_string(), json_value(&pair["value"])))
                .collect(),
        ),
        "intValue" => match value {
            Value::String(text) => text.parse::<i64>().map_or(Value::Null, Value::from),
            other => other.clone(),
        },
        _ => value.clone(),
    }
}

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resource_logs: Vec<ResourceLogs>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceLogs {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_logs: Vec<ScopeLogs>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeLogs {
    #[prost(message, repeated, tag = "2")]
    log_records: Vec<LogRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct LogRecord {
    #[prost(message, optional, tag = "5")]
    body: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 2, 3, 4, 5, 6, 7")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Any {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    Array(ArrayValue),
    #[prost(message, tag = "6")]
    Object(KeyValueList),
    #[prost(bytes, tag = "7")]
    Bytes(Vec<u8>),
}

#[derive(Clone, PartialEq, Message)]
struct ArrayValue {
    #[prost(message, repeated, tag = "1")]
    values: Vec<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValueList {
    #[prost(message, repeated, tag = "1")]
    values: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(message, optional, tag = "1")]
    partial: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    message: String,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
}

impl ResourceLogs {
    fn records(self) -> Result<Vec<ServiceRecord>, String> {
        let attributes = self.resource.map(|resource| resource.attributes).unwrap_or_default();
        let name = attributes.into_iter().find(|attribute| attribute.key == "service.name");
        let service = match name.and_then(|name| name.value).and_then(|any| any.value) {
            Some(Any::Text(name)) => service(&name)?,
            _ => service("")?,
        };
        let records = self.scope_logs.into_iter().flat_map(|scope| scope.log_records);
        let record = |record: LogRecord| ServiceRecord {
            service: service.clone(),
            body: record.body.map_or(Vec::new(), AnyValue::text),
        };
        Ok(records.map(record).collect())
    }
}

impl AnyValue {
    /// As a body: a text or bytes as they are, anything else as JSON.
    fn text(self) -> Vec<u8> {
        match self.value {
            Some(Any::Bytes(bytes)) => bytes,
            _ => body_text(self.json()),
        }
    }

    fn json(self) -> Value {
        match self.value {
            None => Value::Null,
            Some(Any::Text(text)) => text.into(),
            Some(Any::Bool(value)) => value.into(),
            Some(Any::Int(value)) => value.into(),
            // What is no number of JSON is null, as JavaScript has it.
            Some(Any::Double(value)) => Number::from_f64(value).map_or(Value::Null, Value::Number),
            Some(Any::Array(array)) => array.values.into_iter().map(AnyValue::json).collect(),
            Some(Any::Object(object)) => {
                let member = |pair: KeyValue| (pair.key, pair.value.map_or(Value::Null, AnyValue::json));
                Value::Object(object.values.into_iter().map(member).collect::<Map<_, _>>())
            }
            Some(Any::Bytes(bytes)) => String::from_utf8_lossy(&bytes).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn any(value: Any) -> Option<AnyValue> {
        Some(AnyValue { value: Some(value) })
    }

    #[test]
    fn both_forms_give_the_same_records() {
        let pair = |key: &str, value| KeyValue { key: key.into(), value: any(value) };
        let list = vec![any(Any::Int(-7)).unwrap(), any(Any::Double(0.5)).unwrap()];
        let object = vec![
            pair("z", Any::Text("x".into())),
            pair("a", Any::Array(ArrayValue { values: list })),
            pair("b", Any::Bool(true)),
        ];
        let bodies = [any(Any::Text("a line".into())), any(Any::Object(KeyValueList { values: object })), None];
        let log_records = bodies.into_iter().map(|body| LogRecord { body }).collect();
        let resource = Some(Resource {
            attributes: vec![pair("host", Any::Int(1)), pair("service.name", Any::Text("shop".into()))],
        });
        let scope_logs = vec![ScopeLogs { log_records }];
        let request = Request { resource_logs: vec![ResourceLogs { resource, scope_logs }] }.encode_to_vec();
        let found = Form::Protobuf.records(&request).unwrap();
        let bodies: Vec<&[u8]> = found.iter().map(|record| &record.body[..]).collect();
        assert_eq!(bodies, [&b"a line"[..], br#"{"z":"x","a":[-7,0.5],"b":true}"#, b""]);
        assert!(found.iter().all(|record| &*record.service == "shop"));
        let same = json!({ "resourceLogs": [{
            "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "shop" } }] },
            "scopeLogs": [{ "logRecords": [
                { "body": { "stringValue": "a line" }, "timeUnixNano": "1", "unknown": 1 },
                { "body": { "kvlistValue": { "values": [
                    { "key": "z", "value": { "stringValue": "x" } },
                    { "key": "a", "value": { "arrayValue": { "values": [{ "intValue": "-7" }, { "doubleValue": 0.5 }] } } },
                    { "key": "b", "value": { "boolValue": true } },
                ] } } },
            ] }],
        }] });
        assert_eq!(Form::Json.records(same.to_string().as_bytes()).unwrap(), found[..2]);
        assert_eq!(Form::Json.records(b"{}").unwrap(), []);
        for wrong in
            ["", "[]", "{\"resourceLogs\":1}", "{\"resourceLogs\":[{\"scopeLogs\":{}}]}", "{\"resourceLogs\":[0]}"]
        {
            assert!(Form::Json.records(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(Form::Protobuf.records(b"\xff\xff").is_err());
        let long = same.to_string().replace("shop", &"s".repeat(201));
        assert!(Form::Json.records(long.as_bytes()).unwrap_err().contains("service.name: at most 200"));
    }

    #[test]
    fn answers_are_what_exporters_read() {
        assert_eq!(Form::Json.response(0, ""), b"{}");
        let partial: Value = serde_json::from_slice(&Form::Json.response(2, "why")).unwrap();
        assert_eq!(partial, json!({ "partialSuccess": { "rejectedLogRecords": "2", "errorMessage": "why" } }));
        assert_eq!(Form::Protobuf.response(0, ""), b"", "an empty message");
        // Field 1 of length 7: field 1 is 2, field 2 has the text.
        assert_eq!(Form::Protobuf.response(2, "why"), b"\x0a\x07\x08\x02\x12\x03why");
        assert_eq!(Form::Protobuf.failure("why"), b"\x12\x03why");
    }
}

//! The parameters of a request, wherever they stand: query, form or JSON body.

use std::fmt::Write;

use axum::http::{HeaderMap, header};
use serde_json::{Map, Value};

use super::error::GraphError;

#[derive(Debug)]
pub(crate) struct Params(Value);

impl Params {
    /// Reads query and body; what is in the body wins. A form value that holds JSON is read as JSON, as Graph does.
    pub(crate) fn read(query: Option<&str>, headers: &HeaderMap, body: &[u8]) -> Result<Self, GraphError> {
        let mut params = Map::new();
        if let Some(query) = query {
            add_form(&mut params, query.as_bytes());
        }
        let is_form = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        if is_form {
            add_form(&mut params, body);
        } else if !body.iter().all(u8::is_ascii_whitespace) {
            match serde_json::from_slice(body) {
                Ok(Value::Object(object)) => params.extend(object),
                _ => return Err(GraphError::parameter("The body is not a JSON object.")),
            }
        }
        Ok(Self(Value::Object(params)))
    }

    /// The query, and fields of a form that win.
    pub(crate) fn with(query: Option<&str>, fields: Map<String, Value>) -> Self {
        let mut params = Map::new();
        if let Some(query) = query {
            add_form(&mut params, query.as_bytes());
        }
        params.extend(fields);
        Self(Value::Object(params))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// All of them, as one object.
    pub(crate) fn whole(&self) -> &Value {
        &self.0
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    pub(crate) fn required(&self, name: &str) -> Result<&str, GraphError> {
        self.text(name)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| GraphError::parameter(format!("The parameter {name} is required.")))
    }

    /// Refuses what is not of WhatsApp, as every call says that is (whatsapp.md 9.1).
    pub(crate) fn check_product(&self) -> Result<(), GraphError> {
        if self.required("messaging_product")? == "whatsapp" {
            Ok(())
        } else {
            Err(GraphError::parameter(
                "Param messaging_product must be one of {WHATSAPP}",
            ))
        }
    }

    /// The names of a comma-separated list, or of a JSON array.
    pub(crate) fn list(&self, name: &str) -> Option<Vec<String>> {
        match self.get(name)? {
            Value::String(text) => Some(
                text.split(',')
                    .map(|item| item.trim().to_owned())
                    .filter(|item| !item.is_empty())
                    .collect(),
            ),
            Value::Array(items) => Some(items.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
            _ => None,
        }
    }

    /// Everything but the secrets, for the ledger.
    pub(crate) fn without_secrets(&self) -> Value {
        let mut params = self.0.as_object().cloned().unwrap_or_default();
        for secret in [
            "access_token",
            "appsecret_proof",
            "input_token",
            "verify_token",
            "client_secret",
            "code",
            "fb_exchange_token",
            "revoke_token",
            "pin",
        ] {
            params.remove(secret);
        }
        Value::Object(params)
    }
}

fn add_form(params: &mut Map<String, Value>, form: &[u8]) {
    for (name, text) in decode(form) {
        let json = text
            .starts_with(['{', '['])
            .then(|| serde_json::from_str(&text).ok())
            .flatten();
        params.insert(name, json.unwrap_or(Value::String(text)));
    }
}

/// `application/x-www-form-urlencoded`.
fn decode(form: &[u8]) -> impl Iterator<Item = (String, String)> {
    form.split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let mut half = || percent_decode(halves.next().unwrap_or_default());
            (half(), half())
        })
}

/// A `%` that is not followed by two digits stands for itself.
pub(crate) fn percent_decode(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let decoded = (*first == b'%').then(|| tail.get(..2)).flatten().and_then(|digits| {
            let mut byte = [0];
            hex::decode_to_slice(digits, &mut byte).ok().map(|()| byte[0])
        });
        match (first, decoded) {
            (_, Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', None) => {
                bytes.push(b' ');
                rest = tail;
            }
            (other, None) => {
                bytes.push(*other);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::percent_decode;

    #[test]
    fn forms_are_decoded() {
        assert_eq!(percent_decode(b"a+b%2Fc%zz%e2%82%ac%"), "a b/c%zz€%");
    }
}

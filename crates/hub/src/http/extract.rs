//! What a request brings, parsed: ids in the path, parameters in the query, a JSON body. What cannot be parsed is answered with a problem
//! that names the field or parameter.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query as Pairs, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::app::App;
use crate::http::problem::{Code, Problem};
use crate::http::timestamp;

/// The one id in a path. What cannot be an id of this kind is the id of nothing: 404.
#[derive(Debug, Clone, Copy)]
pub struct Id<T>(pub T);

impl<T: FromStr + Send> FromRequestParts<App> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, app)
            .await
            .map_err(|_| Problem::new(Code::NotFound, "The id in the address cannot be read."))?;
        match text.parse() {
            Ok(id) => Ok(Self(id)),
            Err(_) => Err(Problem::new(
                Code::NotFound,
                format!("`{}` is not an id of this kind.", shortened(&text)),
            )),
        }
    }
}

/// Quoted back to a caller, who may have sent anything of any length.
fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 80;
    if text.chars().count() <= CHARACTERS_MAX {
        return text.to_owned();
    }
    text.chars().take(CHARACTERS_MAX).chain(['…']).collect()
}

/// The parameters of a query, as `T` reads them.
#[derive(Debug, Clone)]
pub struct Query<T>(pub T);

/// What is read from the parameters of a query.
pub trait FromParameters: Sized {
    /// Takes out what it knows; what is left afterwards is unknown to the route, and refused.
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem>;
}

impl<T: FromParameters> FromRequestParts<App> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Pairs(pairs) = Pairs::<Vec<(String, String)>>::from_request_parts(parts, app)
            .await
            .map_err(|_| unreadable_query())?;
        Parameters::new(pairs)?.read().map(Self)
    }
}

/// Refuses parameters with methods that take none: they would have no effect, and whoever has misspelt something would not know.
pub async fn refuse_query(State(methods): State<Arc<[Method]>>, request: Request, next: Next) -> Response {
    if request.uri().query().is_some() && methods.contains(request.method()) {
        match Pairs::<Vec<(String, String)>>::try_from_uri(request.uri()) {
            Ok(Pairs(pairs)) => {
                if let Some((name, _)) = pairs.first() {
                    return not_a_parameter(shortened(name)).into_response();
                }
            }
            Err(_) => return unreadable_query().into_response(),
        }
    }
    next.run(request).await
}

fn unreadable_query() -> Problem {
    Problem::new(
        Code::InvalidParameter,
        "The query cannot be read: it is NAME=VALUE, percent-encoded in UTF-8, with & in between.",
    )
}

fn not_a_parameter(name: String) -> Problem {
    Problem::of_field(Code::InvalidParameter, name, "is not a parameter of this address")
}

/// Parameters by their names, each at most once. An empty value is the same as none.
#[derive(Debug, Default)]
pub struct Parameters {
    left: BTreeMap<String, String>,
}

impl Parameters {
    fn new(pairs: Vec<(String, String)>) -> Result<Self, Problem> {
        let mut left = BTreeMap::new();
        for (name, value) in pairs {
            let name = shortened(&name);
            if left.insert(name.clone(), value).is_some() {
                return Err(Problem::of_field(
                    Code::InvalidParameter,
                    name,
                    "may be given only once",
                ));
            }
        }
        Ok(Self { left })
    }

    fn read<T: FromParameters>(mut self) -> Result<T, Problem> {
        let value = T::from_parameters(&mut self)?;
        match self.left.into_keys().next() {
            None => Ok(value),
            Some(name) => Err(not_a_parameter(name)),
        }
    }

    /// The text of a parameter.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.left.remove(name).filter(|value| !value.is_empty())
    }

    /// A parameter as `parse` understands it; `expected` is what it should be, such as `a status of a conversation`.
    pub fn parsed<T>(
        &mut self,
        name: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        self.parsed_or(Code::InvalidParameter, name, expected, parse)
    }

    fn parsed_or<T>(
        &mut self,
        code: Code,
        name: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        match self.text(name) {
            None => Ok(None),
            Some(text) => parse(&text)
                .map(Some)
                .ok_or_else(|| Problem::of_field(code, name, format!("is not {expected}"))),
        }
    }

    /// An id.
    pub fn id<T: FromStr>(&mut self, name: &str, expected: &str) -> Result<Option<T>, Problem> {
        self.parsed(name, expected, |text| text.parse().ok())
    }

    /// `true` or `false`; false if it is absent.
    pub fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        let flag = self.parsed(name, "`true` or `false`", |text| text.parse().ok())?;
        Ok(flag.unwrap_or(false))
    }

    /// A time, in RFC 3339, as milliseconds since 1970.
    pub fn time(&mut self, name: &str) -> Result<Option<i64>, Problem> {
        self.parsed(name, timestamp::EXPECTED, timestamp::parse)
    }

    /// How many to list: `limit`, 50 if it is absent.
    pub fn limit(&mut self, most: u32) -> Result<u32, Problem> {
        self.limit_or(LIMIT_DEFAULT, most)
    }

    /// How many to list: `limit`, so many if it is absent.
    pub fn limit_or(&mut self, default: u32, most: u32) -> Result<u32, Problem> {
        let expected = format!("a number from 1 to {most}");
        let parse = |text: &str| text.parse().ok().filter(|limit| (1..=most).contains(limit));
        Ok(self
            .parsed_or(Code::InvalidLimit, "limit", &expected, parse)?
            .unwrap_or(default))
    }

    /// How many to leave out first: `offset`, 0 if it is absent.
    pub fn offset(&mut self, most: u32) -> Result<u32, Problem> {
        let expected =
            format!("a number from 0 to {most}; to go further, follow `nextCursor` with the parameter `cursor`");
        let parse = |text: &str| text.parse().ok().filter(|offset| *offset <= most);
        Ok(self
            .parsed_or(Code::InvalidOffset, "offset", &expected, parse)?
            .unwrap_or(0))
    }

    /// Where to go on: `cursor`, as the list before gave it.
    pub fn cursor<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Problem> {
        self.text("cursor")
            .map(|text| crate::http::cursor::decode("cursor", &text))
            .transpose()
    }
}

/// How many a list has if the caller does not say.
const LIMIT_DEFAULT: u32 = 50;

/// A body in JSON. Fields that `T` does not know are refused where it says `deny_unknown_fields`.
#[derive(Debug, Clone)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        parse(&read_json(request, app).await?).map(Self)
    }
}

/// A body in JSON that may be left out.
#[derive(Debug, Clone)]
pub struct OptionalJson<T>(pub Option<T>);

impl<T: DeserializeOwned> FromRequest<App> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let is_json = is_json(request.headers());
        let body = read_body(request, app, BODY_BYTES_MAX).await?;
        if body.trim_ascii().is_empty() {
            return Ok(Self(None));
        }
        if !is_json {
            return Err(not_json());
        }
        parse(&body).map(|value| Self(Some(value)))
    }
}

/// A body in JSON, and as it came: for whoever has to tell one body from another.
#[derive(Debug, Clone)]
pub struct RawJson<T> {
    /// The body, understood.
    pub value: T,
    /// The body as it came.
    pub raw: Bytes,
}

impl<T: DeserializeOwned> FromRequest<App> for RawJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let raw = read_json(request, app).await?;
        Ok(Self {
            value: parse(&raw)?,
            raw,
        })
    }
}

/// A body in JSON that may be as large as [`BULK_BYTES_MAX`]: for what brings many things at once.
#[derive(Debug, Clone)]
pub struct BulkJson<T>(pub RawJson<T>);

impl<T: DeserializeOwned> FromRequest<App> for BulkJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let raw = read_json_within(request, app, BULK_BYTES_MAX).await?;
        Ok(Self(RawJson {
            value: parse(&raw)?,
            raw,
        }))
    }
}

/// A body as it came, of so many bytes at most.
pub async fn body_within(request: Request, app: &App, bytes_max: usize) -> Result<Bytes, Problem> {
    read_body(request, app, bytes_max).await
}

async fn read_json(request: Request, app: &App) -> Result<Bytes, Problem> {
    read_json_within(request, app, BODY_BYTES_MAX).await
}

async fn read_json_within(request: Request, app: &App, bytes_max: usize) -> Result<Bytes, Problem> {
    if !is_json(request.headers()) {
        return Err(not_json());
    }
    read_body(request, app, bytes_max).await
}

fn not_json() -> Problem {
    Problem::new(
        Code::UnsupportedMediaType,
        "The header `Content-Type` must be `application/json`.",
    )
}

async fn read_body(request: Request, app: &App, bytes_max: usize) -> Result<Bytes, Problem> {
    let deadline = Instant::now() + app.config.http.body_timeout;
    let mut body = request.into_body();
    let mut read = BytesMut::new();
    loop {
        let frame = match tokio::time::timeout_at(deadline, body.frame()).await {
            Ok(None) => return Ok(read.freeze()),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) => return Err(Problem::new(Code::InvalidJson, "The body broke off.")),
            Err(_) => return Err(Problem::new(Code::RequestTimeout, "The body did not come in time.")),
        };
        let Some(data) = frame.data_ref() else { continue };
        if read.len() + data.len() > bytes_max {
            return Err(Problem::new(
                Code::PayloadTooLarge,
                format!("A body has {bytes_max} bytes at most."),
            ));
        }
        read.extend_from_slice(data);
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(kind)) = headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// How large a body may be that brings many things at once.
pub const BULK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How large a body may be, but for notifications, which have a limit of their own.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Parses a JSON object; a problem names the field.
pub fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, Problem> {
    // serde would take an array as well, for the fields in the order in which we happen to write them.
    if json.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::of_field(
            Code::InvalidField,
            "body",
            "is an array, and should be an object",
        ));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        wrong(error.inner(), &path)
    })?;
    deserializer.end().map_err(|error| wrong(&error, "."))?;
    Ok(value)
}

fn wrong(error: &serde_json::Error, path: &str) -> Problem {
    use serde_json::error::Category;
    match error.classify() {
        Category::Data => {
            let text = error.to_string();
            // The place in the text says nothing that the field's name does not say better.
            let detail = text
                .rsplit_once(" at line ")
                .map_or(text.as_str(), |(before, _)| before);
            // serde names a field that is unknown or absent in its text, and the object that it is in as the path.
            let field = match (named(detail), path) {
                (Some(name), "." | "?") => name.to_owned(),
                // The path of an unknown field has the field in it already.
                (Some(name), path) if path == name || path.ends_with(&format!(".{name}")) => path.to_owned(),
                (Some(name), path) => format!("{path}.{name}"),
                (None, "." | "?") => "body".to_owned(),
                (None, path) => path.to_owned(),
            };
            let (field, detail) = (shortened(&field), shortened_detail(detail));
            Problem::new(Code::InvalidField, format!("`{field}`: {detail}.")).field(field, detail)
        }
        Category::Syntax | Category::Eof | Category::Io => Problem::new(
            Code::InvalidJson,
            format!(
                "The body is not JSON: see line {}, column {}.",
                error.line(),
                error.column()
            ),
        ),
    }
}

fn named(detail: &str) -> Option<&str> {
    let rest = detail
        .strip_prefix("unknown field `")
        .or_else(|| detail.strip_prefix("missing field `"))?;
    rest.split('`').next()
}

fn shortened_detail(detail: &str) -> String {
    const CHARACTERS_MAX: usize = 400;
    if detail.chars().count() <= CHARACTERS_MAX {
        detail.to_owned()
    } else {
        detail.chars().take(CHARACTERS_MAX).chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::{Parameters, parse};
    use crate::http::problem::{Code, Problem};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[expect(dead_code, reason = "only its being read matters")]
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only its being read matters")]
        count: u8,
    }

    #[track_caller]
    fn check(json: &str, code: Code, field: Option<&str>) {
        let problem = parse::<Outer>(json.as_bytes()).unwrap_err();
        assert_eq!(problem.code, code, "{problem:?}");
        assert_eq!(
            problem.errors.first().map(|error| error.field.as_str()),
            field,
            "{problem:?}"
        );
    }

    #[test]
    fn what_is_wrong_in_a_body_is_named_with_its_place() {
        check("{", Code::InvalidJson, None);
        check("", Code::InvalidJson, None);
        check(r#"{"inner":[]} x"#, Code::InvalidJson, None);
        check("[1]", Code::InvalidField, Some("body"));
        check("{}", Code::InvalidField, Some("inner"));
        check(r#"{"inner":1}"#, Code::InvalidField, Some("inner"));
        check(r#"{"inner":[],"outer":1}"#, Code::InvalidField, Some("outer"));
        check(
            r#"{"inner":[{"count":1},{"count":300}]}"#,
            Code::InvalidField,
            Some("inner[1].count"),
        );
        check(
            r#"{"inner":[{"count":1},{}]}"#,
            Code::InvalidField,
            Some("inner[1].count"),
        );
        check(
            r#"{"inner":[{"count":1,"more":2}]}"#,
            Code::InvalidField,
            Some("inner[0].more"),
        );
    }

    fn parameters(pairs: &[(&str, &str)]) -> Result<Parameters, Problem> {
        Parameters::new(
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn limits_have_bounds_and_a_default() {
        let limit = |text: &str| parameters(&[("limit", text)]).unwrap().limit(200);
        assert_eq!(limit("200"), Ok(200));
        assert_eq!(limit(""), Ok(50));
        for wrong in ["0", "201", "-1", "ten", "99999999999"] {
            assert_eq!(limit(wrong).unwrap_err().code, Code::InvalidLimit, "{wrong}");
        }
    }

    #[test]
    fn a_parameter_is_given_once() {
        assert_eq!(
            parameters(&[("limit", "1"), ("limit", "2")]).unwrap_err().code,
            Code::InvalidParameter
        );
    }
}

//! The document that a server gives of its interface, and what is held against it: every answer and every event, strictly,
//! so that nothing is told that is not in the document.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use jsonschema::{Draft, Validator};
use reqwest::{Method, RequestBuilder};
use serde_json::{Map, Value, json};

use crate::client::{Answer, Client};

/// The methods that a path may have in a document.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// What was answered to a request: its name in the document, the status, and the code of a problem.
pub type Seen = BTreeSet<(String, u16, Option<String>)>;

#[derive(Debug)]
pub struct Document {
    pub json: Value,
    strict: Value,
}

/// One request of the document.
#[derive(Clone, Debug)]
pub struct Request {
    pub id: String,
    pub method: Method,
    pub path: String,
    pub told: Value,
}

impl Document {
    pub async fn of(client: &Client) -> Self {
        let json = client.get("/openapi.json").await.expect(200).body;
        let mut strict = json.clone();
        for (name, schema) in strict["components"]["schemas"].as_object_mut().expect("schemas") {
            // A part keeps whatever it came with.
            if !name.ends_with("Part") {
                schema["unevaluatedProperties"] = json!(false);
            }
        }
        Self { json, strict }
    }

    /// A validator of that place in the document, such as `components/schemas/Chat`.
    pub fn validator(&self, place: &str) -> Validator {
        let mut root: Map<String, Value> = Map::new();
        for (name, value) in self.strict.as_object().expect("an object") {
            root.insert(name.clone(), value.clone());
        }
        root.insert("$ref".into(), format!("#/{place}").into());
        let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
        options.build(&Value::Object(root)).unwrap_or_else(|error| panic!("{place}: {error}"))
    }

    /// Asserts that a value is what the schema of this name says.
    #[track_caller]
    pub fn holds(&self, name: &str, value: &Value) {
        hold(&self.validator(&format!("components/schemas/{name}")), name, value);
    }

    pub fn schemas(&self) -> Vec<&str> {
        self.json["components"]["schemas"].as_object().expect("schemas").keys().map(String::as_str).collect()
    }

    pub fn requests(&self) -> Vec<Request> {
        let paths = self.json["paths"].as_object().expect("paths").iter();
        let of_path = |(path, item): (&String, &Value)| {
            let item = item.as_object().expect("a path").clone();
            assert!(item.keys().all(|key| METHODS.contains(&&**key)), "{path}: {item:?}");
            let path = path.clone();
            item.into_iter().map(move |(method, told)| Request {
                id: told["operationId"].as_str().expect("a name").into(),
                method: method.to_uppercase().parse().expect("a method"),
                path: path.clone(),
                told,
            })
        };
        paths.flat_map(of_path).collect()
    }

    /// The request of that name.
    pub fn request(&self, id: &str) -> Request {
        let mut requests = self.requests().into_iter().filter(|request| request.id == id);
        requests.next().unwrap_or_else(|| panic!("the document has no {id}"))
    }

    /// What stands at a reference, or the value itself.
    fn resolved<'a>(&'a self, value: &'a Value) -> (Option<&'a str>, &'a Value) {
        let Some(place) = value["$ref"].as_str() else { return (None, value) };
        let place = place.strip_prefix('#').expect("it is in this document");
        (Some(&place[1..]), self.json.pointer(place).unwrap_or_else(|| panic!("nothing is at {place}")))
    }

    /// The statuses that a request may be answered, each with the codes of its problems.
    pub fn answers(&self, request: &Request) -> BTreeMap<u16, Vec<String>> {
        let responses = request.told["responses"].as_object().expect("responses").iter();
        let codes = |response: &Value| {
            let narrowed = &response["content"]["application/problem+json"]["schema"]["allOf"][1];
            let codes = narrowed["properties"]["code"]["enum"].as_array().cloned().unwrap_or_default();
            codes.iter().map(|code| code.as_str().expect("a code").to_owned()).collect()
        };
        let of_status = |(status, response): (&String, &Value)| {
            (status.parse().expect("a status"), codes(self.resolved(response).1))
        };
        responses.map(of_status).collect()
    }

    /// Asserts that the request may be answered so.
    #[track_caller]
    pub fn holds_answer(&self, request: &Request, answer: &Answer) {
        let what = format!("{} answered {}", request.id, answer.status);
        let told = &request.told["responses"][answer.status.to_string()];
        assert!(told.is_object(), "{what}, which is not in the document: {}", answer.text);
        let (at, told) = self.resolved(told);
        for (name, header) in told["headers"].as_object().into_iter().flatten() {
            let value = answer.headers.get(name).unwrap_or_else(|| panic!("{what} without {name}"));
            let value = json!(value.to_str().expect("text"));
            let valid = jsonschema::validator_for(&header["schema"]).expect("a schema");
            hold(&valid, &format!("{what} with {name}"), &value);
        }
        let Some(contents) = told["content"].as_object() else {
            assert!(answer.text.is_empty(), "{what} with a body: {}", answer.text);
            return;
        };
        let kind = answer.headers.get("content-type").and_then(|value| value.to_str().ok());
        let kind = kind.unwrap_or_else(|| panic!("{what} without a content type"));
        assert!(contents.contains_key(kind), "{what} as {kind}");
        let own = format!(
            "paths/{}/{}/responses/{}",
            escaped(&request.path),
            lower(&request.method),
            answer.status
        );
        let place = at.map_or(own, str::to_owned);
        let place = format!("{place}/content/{}/schema", escaped(kind));
        hold(&self.validator(&place), &what, &answer.body);
    }
}

fn lower(method: &Method) -> String {
    method.as_str().to_lowercase()
}

/// A name in a JSON pointer in a URI's fragment.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1").replace('{', "%7B").replace('}', "%7D").replace('+', "%2B")
}

#[track_caller]
fn hold(valid: &Validator, what: &str, value: &Value) {
    let wrong: Vec<String> =
        valid.iter_errors(value).map(|error| format!("{} at {}", error, error.instance_path())).collect();
    assert!(wrong.is_empty(), "{what}:\n{}\n{value:#}", wrong.join("\n"));
}

/// A client whose every answer is held against the document.
#[derive(Debug)]
pub struct Witness<'a> {
    pub document: &'a Document,
    pub client: Client,
    seen: Mutex<Seen>,
}

impl<'a> Witness<'a> {
    pub fn new(document: &'a Document, client: Client) -> Self {
        Self { document, client, seen: Mutex::default() }
    }

    /// What it has seen.
    pub fn seen(self) -> Seen {
        self.seen.into_inner().expect("nothing panicked")
    }

    /// Asks for the request of that name. `in_path` fills its path's places, in order.
    pub async fn ask(
        &self,
        id: &str,
        in_path: &[&str],
        of: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Answer {
        self.ask_as(&self.client, id, in_path, of).await
    }

    /// The same as somebody else.
    pub async fn ask_as(
        &self,
        client: &Client,
        id: &str,
        in_path: &[&str],
        of: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Answer {
        let request = self.document.request(id);
        let answer =
            client.ask(of(client.request(request.method.clone(), &filled(&request.path, in_path)))).await;
        self.document.holds_answer(&request, &answer);
        let code = answer.body["code"].as_str().filter(|_| answer.status >= 400).map(str::to_owned);
        self.seen.lock().expect("nothing panicked").insert((request.id, answer.status, code));
        answer
    }

    /// The same with a JSON body.
    pub async fn send(&self, id: &str, in_path: &[&str], body: Value) -> Answer {
        self.ask(id, in_path, |request| request.json(&body)).await
    }
}

/// A path with its places filled in order.
pub fn filled(path: &str, in_path: &[&str]) -> String {
    let mut values = in_path.iter();
    let pieces = path.split('/').map(|piece| match piece.starts_with('{') {
        true => values.next().unwrap_or_else(|| panic!("{path} has more places")),
        false => piece,
    });
    pieces.collect::<Vec<_>>().join("/")
}

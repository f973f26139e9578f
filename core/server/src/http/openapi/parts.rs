//! Parts of contents: as they are told, and as requests bring them. What a model or an agent says is told as it came; what
//! a request brings is looked at.

use mainstem_machine::Role;
use mainstem_machine::limits::{CONTENT_PARTS_MAX, MEDIA_TYPE_BYTES_MAX};
use utoipa::openapi::schema::{Object, ObjectBuilder};

use super::schema::{
    Members, Told, any, array, array_of, at_least, at_most, boolean, described, matching, named, object,
    one_of, one_of_texts, string,
};

/// RFC 4648, section 4, with its padding.
const BASE64: &str = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$";

const MEDIA_TYPE: &str = r"^[^/]+/[\s\S]+$";

/// Whose parts are described.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// Those that are told.
    Told,
    /// Those that requests bring.
    Request,
}

impl Of {
    /// The schema of this name in the family.
    fn own(self, name: &str) -> String {
        match self {
            Self::Told => name.into(),
            Self::Request => format!("New{name}"),
        }
    }

    fn checked(self, own: Object) -> Object {
        match self {
            Self::Told => string(),
            Self::Request => own,
        }
    }

    fn name(self) -> Object {
        self.checked(at_least(1, string()))
    }

    fn call(self, words: &str) -> ObjectBuilder {
        part("tool_call", words).has("id", self.name(), "the name of the call: its result names it").has(
            "name",
            self.name(),
            "of the tool",
        )
    }

    fn file(self, words: &str) -> ObjectBuilder {
        let media_type = self.checked(at_most(MEDIA_TYPE_BYTES_MAX, matching(MEDIA_TYPE)));
        part("file", words).has("media_type", media_type, "as `image/png`").may_have(
            "name",
            string(),
            "of the file",
        )
    }

    /// The kinds that differ.
    fn kinds(self) -> Vec<(String, Told)> {
        let base64 = ObjectBuilder::from(self.checked(matching(BASE64))).content_encoding("base64").build();
        let cut = "A call of a tool as it streams, or one that was cut short: it has no result, and is sent to no model.";
        let input_text = "the JSON text of the input, or as much as came; as it streams: a piece";
        let result = named(&self.own("ResultContent"));
        let parts = ["TextPart", "FileAddressPart", "FileDataPart", "DataPart"].map(|name| self.named(name));
        let kinds =
            [
                ("ToolCallPart", self.call("A call of a tool, whole.").has("input", any(), "any JSON")),
                ("ToolCallTextPart", self.call(cut).has("input_text", string(), input_text)),
                (
                    "ToolResultPart",
                    part("tool_result", "What came of a call.")
                        .has("tool_call_id", self.name(), "the `id` of the call")
                        .has("content", result, "")
                        .may_have("is_error", boolean(), "whether it went wrong"),
                ),
                (
                    "FileAddressPart",
                    self.file("A file that is elsewhere.").has("url", self.name(), "where it is"),
                ),
                ("FileDataPart", self.file("A file that is here.").has("data", base64, "its bytes")),
                (
                    "SourcePart",
                    part("source", "Where something was found.")
                        .has("url", self.name(), "where it is")
                        .may_have("title", string(), "what it is called"),
                ),
                (
                    "DataPart",
                    part("data", "Anything else, by its name.")
                        .has("name", self.name(), "what it is")
                        .has("data", any(), "any JSON")
                        .may_have("id", string(), "its own name"),
                ),
            ];
        let mut kinds: Vec<(String, Told)> =
            kinds.into_iter().map(|(name, kind)| (self.own(name), kind.into())).collect();
        let words = "What came of a call: a text, or parts of the kinds that users send.";
        let list = match self {
            Self::Told => array(one_of(parts)),
            Self::Request => array_of(1, CONTENT_PARTS_MAX, named("UserPart")),
        };
        let content = described(one_of([string().into(), list.into()]), words);
        kinds.push((self.own("ResultContent"), content));
        kinds
    }

    fn named(self, kind: &str) -> Told {
        match kind {
            "TextPart" | "ReasoningPart" => named(kind),
            _ => named(&self.own(kind)),
        }
    }
}

/// A part of this `type`. Members that are not named are kept, byte for byte.
fn part(kind: &str, words: &str) -> ObjectBuilder {
    object(words).has("type", one_of_texts([kind]), "")
}

const USERS: [&str; 4] = ["TextPart", "FileAddressPart", "FileDataPart", "DataPart"];

const ANSWERS: [&str; 9] = [
    "TextPart",
    "ReasoningPart",
    "ToolCallPart",
    "ToolCallTextPart",
    "ToolResultPart",
    "FileAddressPart",
    "FileDataPart",
    "SourcePart",
    "DataPart",
];

/// Every schema of this kind, with its name.
pub(super) fn schemas() -> Vec<(String, Told)> {
    let piece = "as it streams: a piece, to be appended";
    let text = part("text", "A text.").has("text", string(), piece);
    let reasoning = part("reasoning", "What the model thought before it answered.")
        .has("text", string(), piece)
        .may_have("signature", any(), "opaque: the provider wants it back");
    let unknown = part("unknown", "A part whose kind only a later release knows: its message has it whole.");
    let of = |of: Of, kinds: &[&str]| kinds.iter().map(|kind| of.named(kind)).collect::<Vec<_>>();
    let mut told = of(Of::Told, &ANSWERS);
    told.push(named("UnknownPart"));
    let parts = |kind: &str| array_of(1, CONTENT_PARTS_MAX, named(kind));
    let shorthand = |kind: &str| {
        described(one_of([at_least(1, string()).into(), parts(kind).into()]), "A text, or parts.")
    };
    let own: [(&str, Told); 11] = [
        ("TextPart", text.into()),
        ("ReasoningPart", reasoning.into()),
        ("UnknownPart", unknown.into()),
        ("Part", one_of(told).into()),
        ("Content", array(named("Part")).into()),
        ("UserPart", one_of(of(Of::Request, &USERS)).into()),
        ("AnswerPart", one_of(of(Of::Request, &ANSWERS)).into()),
        ("UserContent", shorthand("UserPart")),
        ("SystemContent", shorthand("TextPart")),
        ("AnswerContent", shorthand("AnswerPart")),
        ("ResultsContent", parts("NewToolResultPart").into()),
    ];
    let own = own.into_iter().map(|(name, schema)| (name.into(), schema));
    own.chain(Of::Told.kinds()).chain(Of::Request.kinds()).collect()
}

/// The content that messages of a role have in a history that was told elsewhere.
pub(super) fn content_of(role: Role) -> &'static str {
    match role {
        Role::User => "UserContent",
        Role::System => "SystemContent",
        Role::Assistant => "AnswerContent",
        Role::Tool => "ResultsContent",
    }
}

//! Words for JSON Schemas (draft 2020-12, as OpenAPI 3.1 has them): what the descriptions of objects are written in.
//!
//! Objects are open: later releases add members, and nothing here forbids one.

use serde_json::Value;
use utoipa::openapi::schema::{
    AdditionalProperties, AllOf, AnyOfBuilder, Array, ArrayBuilder, Object, ObjectBuilder, OneOfBuilder,
    SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr, Schema};

use crate::limits::edge::MESSAGE_ID_MAX;

/// A schema, or the name of one.
pub(in crate::http) type Told = RefOr<Schema>;

/// The schema of that name among the document's components.
pub(in crate::http) fn named(name: &str) -> Told {
    RefOr::Ref(Ref::from_schema_name(name))
}

/// Any JSON value.
pub(in crate::http) fn any() -> Object {
    ObjectBuilder::new().schema_type(SchemaType::AnyValue).build()
}

/// Any JSON object.
pub(in crate::http) fn any_object() -> Object {
    let any = AdditionalProperties::FreeForm(true);
    ObjectBuilder::new().schema_type(Type::Object).additional_properties(Some(any)).build()
}

pub(in crate::http) fn boolean() -> Object {
    ObjectBuilder::new().schema_type(Type::Boolean).build()
}

/// A whole number from 0 on, as databases keep it.
pub(in crate::http) fn count() -> Object {
    number(0, MESSAGE_ID_MAX)
}

/// A whole number from there on, however large.
pub(in crate::http) fn number_from(min: u64) -> Object {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(min)).build()
}

pub(in crate::http) fn number(min: u64, max: u64) -> Object {
    ObjectBuilder::from(number_from(min)).maximum(Some(max)).build()
}

pub(in crate::http) fn string() -> Object {
    ObjectBuilder::new().schema_type(Type::String).build()
}

/// A text of so many bytes, and so of no more characters. Databases do not keep a NUL.
pub(in crate::http) fn label(bytes_min: usize, bytes_max: usize) -> Object {
    let label = ObjectBuilder::from(matching(r"^[^\u0000]*$")).max_length(Some(bytes_max));
    label.min_length((bytes_min > 0).then_some(bytes_min)).build()
}

pub(in crate::http) fn matching(pattern: impl Into<String>) -> Object {
    ObjectBuilder::from(string()).pattern(Some(pattern)).build()
}

pub(in crate::http) fn at_least(chars_min: usize, string: Object) -> Object {
    ObjectBuilder::from(string).min_length(Some(chars_min)).build()
}

pub(in crate::http) fn at_most(chars_max: usize, string: Object) -> Object {
    ObjectBuilder::from(string).max_length(Some(chars_max)).build()
}

pub(in crate::http) fn uuid() -> Object {
    formatted("uuid")
}

pub(in crate::http) fn time() -> Object {
    formatted("date-time")
}

fn formatted(format: &str) -> Object {
    ObjectBuilder::from(string()).format(Some(SchemaFormat::Custom(format.into()))).build()
}

/// One of these texts.
pub(in crate::http) fn one_of_texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Object {
    ObjectBuilder::from(string()).enum_values(Some(texts)).build()
}

pub(in crate::http) fn array(of: impl Into<Told>) -> Array {
    ArrayBuilder::new().items(of.into()).build()
}

pub(in crate::http) fn array_of(min: usize, max: usize, of: impl Into<Told>) -> Array {
    ArrayBuilder::from(array(of)).min_items((min > 0).then_some(min)).max_items(Some(max)).build()
}

/// Exactly one of these.
pub(in crate::http) fn one_of(schemas: impl IntoIterator<Item = Told>) -> Schema {
    schemas.into_iter().fold(OneOfBuilder::new(), OneOfBuilder::item).build().into()
}

/// One of these, or more.
pub(in crate::http) fn any_of(schemas: impl IntoIterator<Item = Told>) -> Schema {
    schemas.into_iter().fold(AnyOfBuilder::new(), AnyOfBuilder::item).build().into()
}

pub(in crate::http) fn all_of(schemas: impl IntoIterator<Item = Told>) -> Schema {
    let mut all = AllOf::new();
    all.items.extend(schemas);
    all.into()
}

/// The same, or null.
pub(in crate::http) fn or_null(schema: impl Into<Told>) -> Told {
    match schema.into() {
        RefOr::T(Schema::Object(mut object)) => {
            object.schema_type = with_null(object.schema_type);
            if let Some(values) = &mut object.enum_values {
                values.push(Value::Null);
            }
            RefOr::T(object.into())
        }
        RefOr::T(Schema::Array(mut array)) => {
            array.schema_type = with_null(array.schema_type);
            RefOr::T(array.into())
        }
        other => RefOr::T(one_of([other, null().into()])),
    }
}

pub(in crate::http) fn null() -> Object {
    ObjectBuilder::new().schema_type(Type::Null).build()
}

fn with_null(own: SchemaType) -> SchemaType {
    match own {
        SchemaType::Type(own) => SchemaType::from_iter([own, Type::Null]),
        more => more,
    }
}

/// With words for people.
pub(in crate::http) fn described(schema: impl Into<Told>, words: &str) -> Told {
    let mut schema = schema.into();
    let description = match &mut schema {
        RefOr::Ref(named) => {
            named.description = words.into();
            return schema;
        }
        RefOr::T(Schema::Object(object)) => &mut object.description,
        RefOr::T(Schema::Array(array)) => &mut array.description,
        RefOr::T(Schema::OneOf(one_of)) => &mut one_of.description,
        RefOr::T(Schema::AllOf(all_of)) => &mut all_of.description,
        RefOr::T(Schema::AnyOf(any_of)) => &mut any_of.description,
        RefOr::T(_) => return schema,
    };
    *description = Some(words.into());
    schema
}

/// An object, to be given its members.
pub(in crate::http) fn object(words: &str) -> ObjectBuilder {
    let words = (!words.is_empty()).then_some(words);
    ObjectBuilder::new().schema_type(Type::Object).description(words)
}

pub(in crate::http) trait Members {
    /// A member that is always there.
    fn has(self, name: &str, schema: impl Into<Told>, words: &str) -> Self;
    /// A member that may be there.
    fn may_have(self, name: &str, schema: impl Into<Told>, words: &str) -> Self;
}

impl Members for ObjectBuilder {
    fn has(self, name: &str, schema: impl Into<Told>, words: &str) -> Self {
        self.may_have(name, schema, words).required(name)
    }

    fn may_have(self, name: &str, schema: impl Into<Told>, words: &str) -> Self {
        let schema = schema.into();
        self.property(name, if words.is_empty() { schema } else { described(schema, words) })
    }
}

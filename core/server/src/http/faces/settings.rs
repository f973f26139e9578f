//! What a request says of its chat's settings, in the words of our own routes.

use mainstem_machine::{ChatState, NewSettings, Settings};
use serde_json::{Map, Value};

use super::super::Problem;
use super::super::request::parse_object;
use super::super::settings::{NewSettingsBody, SettingsBody};

/// What is not said stays as it is.
#[derive(Debug)]
pub(super) struct SaidSettings(Map<String, Value>);

impl SaidSettings {
    pub(super) fn new(
        model: Option<impl Into<Value>>,
        instructions: Option<impl Into<Value>>,
        tools: Option<Vec<Value>>,
    ) -> Self {
        let said = [
            ("model", model.map(Into::into)),
            ("instructions", instructions.map(Into::into)),
            ("tools", tools.map(Value::from)),
        ];
        Self(said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
    }

    /// What a chat is created with, under the client's name for it.
    pub(super) fn of_new(&self, external_id: Option<&str>) -> Result<Settings, Problem> {
        let mut members = self.0.clone();
        members.insert("external_id".into(), external_id.into());
        parse_object::<SettingsBody>(Value::Object(members).to_string().as_bytes())?.parse()
    }

    /// What they change of the chat that is there.
    pub(super) fn changes_of(&self, state: &ChatState) -> Result<Option<NewSettings>, Problem> {
        let members = serde_json::to_vec(&self.0).expect("JSON is written");
        let new = parse_object::<NewSettingsBody>(&members)?.parse()?;
        let is_same = new.model.as_ref().is_none_or(|model| *model == state.model)
            && new.instructions.as_ref().is_none_or(|instructions| *instructions == state.instructions)
            && new.tools.as_ref().is_none_or(|tools| **tools == *state.tools);
        Ok((!is_same).then_some(new))
    }
}

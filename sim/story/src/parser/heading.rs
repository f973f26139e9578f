//! The lines of the heading: what the story guards, who takes part, and settings.

use super::Declared;
use crate::ast::{Story, StoryWorld};
use crate::words::{Parsed, Words};

impl Declared {
    /// Parses a line of the heading. False if it is not one.
    pub(super) fn heading(&mut self, words: &mut Words<'_>, story: &mut Story) -> Parsed<bool> {
        if words.eat("guards") {
            while !words.is_over() {
                let Some(guarantee) = words.peek().and_then(|word| word.parse().ok()) else {
                    return words.problem("the id of a guarantee, like S3");
                };
                words.at += 1;
                story.guards.push(guarantee);
            }
            return Ok(true);
        }
        if words.eat("replicas") {
            while !words.is_over() {
                let name = words.word("a replica's name")?;
                self.replicas.insert(name.clone());
                story.replicas.push(name);
            }
            return Ok(true);
        }
        if words.eat("seed") {
            story.seed = Some(words.number()?);
            return Ok(true);
        }
        for (words_of_it, flag) in
            [("clients roam", &mut story.roaming), ("in the end a worker dies", &mut story.final_crash)]
        {
            if words.eat(words_of_it) {
                *flag = true;
                return Ok(true);
            }
        }
        if words.eat("secret of") {
            story.wrong_secrets.push(self.replica(words)?);
            words.expect("is another")?;
            return Ok(true);
        }
        for (words_of_it, world) in
            [("not in the pure world", StoryWorld::Pure), ("not with real servers", StoryWorld::RealServers)]
        {
            if words.eat(words_of_it) {
                story.untold.insert(world, words.text()?);
                return Ok(true);
            }
        }
        if words.eat("may log") {
            story.tolerated.push(words.text()?);
            return Ok(true);
        }
        if words.eat("expects an error") {
            story.errors.push(words.text()?);
            return Ok(true);
        }
        let settings = &mut story.settings;
        for (name, count) in [
            ("workers", &mut settings.workers),
            ("tail", &mut settings.tail_messages_max),
            ("answers", &mut settings.episode_bytes_max),
        ] {
            if words.eat(name) {
                *count = usize::try_from(words.number()?).unwrap_or(usize::MAX);
                return Ok(true);
            }
        }
        for (name, setting) in [
            ("lease", &mut settings.lease_ttl),
            ("heartbeat", &mut settings.heartbeat),
            ("poll", &mut settings.poll_interval),
            ("grace", &mut settings.drain_timeout),
            ("delays vary by", &mut settings.vary),
        ] {
            if words.eat(name) {
                *setting = words.time()?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

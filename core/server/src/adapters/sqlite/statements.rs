//! The statements of a command's transaction on SQLite, which locks the whole database.

use mainstem_machine::{ChatId, Found, Known, Sought};
use mainstem_runtime::ports::IdempotencyKey;
use sqlx::{Sqlite, Transaction, query};

use super::now;
use crate::adapters::rows::{self, IdempotencyRecord, Locked, bind_chat, signed};
use crate::adapters::transaction::{Statements, Write};

pub(super) struct SqliteStatements<'c>(pub(super) Transaction<'c, Sqlite>);

impl Statements for SqliteStatements<'_> {
    async fn claim(&mut self, idempotency_key: &IdempotencyKey) -> sqlx::Result<bool> {
        let done = query(concat!(
            "INSERT INTO receipts (caller, key, body, created_at) VALUES ($1, $2, $3, ",
            now!(),
            ") ON CONFLICT DO NOTHING"
        ))
        .bind(idempotency_key.caller.to_string())
        .bind(idempotency_key.key.to_string())
        .bind(idempotency_key.body.to_vec())
        .execute(&mut *self.0)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn kept(&mut self, idempotency_key: &IdempotencyKey) -> sqlx::Result<Option<IdempotencyRecord>> {
        let row = query(rows::KEPT)
            .bind(idempotency_key.caller.to_string())
            .bind(idempotency_key.key.to_string())
            .fetch_optional(&mut *self.0)
            .await?;
        row.as_ref().map(rows::kept).transpose()
    }

    async fn lock(&mut self, chat: ChatId) -> sqlx::Result<Locked> {
        // The transaction has locked the whole database already.
        let row = query(concat!(
            "SELECT ",
            rows::chat_columns!(""),
            ", c.lease_expires_at, ",
            now!(),
            " AS now FROM (SELECT 1) LEFT JOIN chats c ON c.id = $1"
        ))
        .bind(chat.to_string())
        .fetch_one(&mut *self.0)
        .await?;
        rows::locked(&row)
    }

    async fn named_chat(&mut self, owner: &str, external_id: &str) -> sqlx::Result<Option<ChatId>> {
        let row = query(rows::named_chat!(""))
            .bind(owner.to_owned())
            .bind(external_id.to_owned())
            .fetch_optional(&mut *self.0)
            .await?;
        row.as_ref().map(|row| rows::chat_id(row, "id")).transpose()
    }

    async fn named_message(&mut self, chat: ChatId, client_id: &str) -> sqlx::Result<Option<Known>> {
        let row = query(rows::named_message!("$1"))
            .bind(chat.to_string())
            .bind(client_id.to_owned())
            .fetch_optional(&mut *self.0)
            .await?;
        row.as_ref().map(rows::known).transpose()
    }

    async fn find(&mut self, chat: ChatId, sought: Sought) -> sqlx::Result<Option<Found>> {
        let row = query(rows::find!("$1"))
            .bind(chat.to_string())
            .bind(rows::sought(sought))
            .fetch_optional(&mut *self.0)
            .await?;
        row.as_ref().map(rows::found).transpose()
    }

    async fn write(&mut self, write: Write<'_>) -> sqlx::Result<()> {
        if let Some(change) = write.change {
            let chat = change.state.id.to_string();
            if change.deleted {
                query("DELETE FROM chats WHERE id = $1").bind(chat).execute(&mut *self.0).await?;
            } else {
                if let Some(from) = change.cut_from {
                    for cut in [
                        "DELETE FROM messages WHERE chat_id = $1 AND id >= $2",
                        "DELETE FROM turns WHERE chat_id = $1 AND message >= $2",
                    ] {
                        query(cut).bind(&chat).bind(signed(from.0)).execute(&mut *self.0).await?;
                    }
                }
                if let Some(turn) = change.reopened {
                    query("DELETE FROM turns WHERE chat_id = $1 AND id = $2")
                        .bind(&chat)
                        .bind(signed(turn.0))
                        .execute(&mut *self.0)
                        .await?;
                }
                let statement = match write.created {
                    true => rows::insert_chat!("", "$29"),
                    false => rows::update_chat!("", "$29"),
                };
                bind_chat!(query(statement), &change.state, change.queue_changed || write.created)
                    .bind(write.lease_expires_at.is_none())
                    .bind(write.lease_expires_at.flatten().map(|at| at.0))
                    .bind(rows::shares(change))
                    .execute(&mut *self.0)
                    .await?;
                for message in &change.inserted {
                    query(
                        "INSERT INTO messages (chat_id, id, revision, role, content, interrupted, \
                         history_version, attempt, queued_as, created_at, finish_reason, input_tokens, \
                         output_tokens, turn, client_id) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
                    )
                    .bind(&chat)
                    .bind(signed(message.id.0))
                    .bind(signed(message.revision.0))
                    .bind(message.role.as_str())
                    .bind(message.content.as_json().to_owned())
                    .bind(message.interrupted)
                    .bind(message.episode.map(|episode| signed(episode.history_version.0)))
                    .bind(message.episode.map(|episode| signed(episode.attempt)))
                    .bind(message.queued_as.map(|id| signed(id.0)))
                    .bind(message.created_at.0)
                    .bind(message.finish_reason.map(|reason| reason.as_str()))
                    .bind(message.usage.map(|usage| signed(usage.input_tokens)))
                    .bind(message.usage.map(|usage| signed(usage.output_tokens)))
                    .bind(message.turn.map(|turn| signed(turn.0)))
                    .bind(message.client_id.as_deref().map(str::to_owned))
                    .execute(&mut *self.0)
                    .await?;
                }
                for (sql, user) in
                    [(rows::list_share!("$1"), &change.listed), (rows::unlist_share!("$1"), &change.unlisted)]
                {
                    if let Some(user) = user {
                        query(sql).bind(&chat).bind(user.to_string()).execute(&mut *self.0).await?;
                    }
                }
                for (client_id, answer) in &change.named {
                    query("INSERT INTO sends (chat_id, client_id, answer) VALUES ($1, $2, $3)")
                        .bind(&chat)
                        .bind(client_id.to_string())
                        .bind(rows::json(answer))
                        .execute(&mut *self.0)
                        .await?;
                }
                for turn in &change.ended {
                    query("INSERT INTO turns (chat_id, id, message, turn) VALUES ($1, $2, $3, $4)")
                        .bind(&chat)
                        .bind(signed(turn.id.0))
                        .bind(signed(turn.message.0))
                        .bind(rows::json(turn))
                        .execute(&mut *self.0)
                        .await?;
                }
            }
        }
        if let Some((idempotency_key, answer)) = write.answer {
            query("UPDATE receipts SET answer = $3 WHERE caller = $1 AND key = $2")
                .bind(idempotency_key.caller.to_string())
                .bind(idempotency_key.key.to_string())
                .bind(answer)
                .execute(&mut *self.0)
                .await?;
        }
        Ok(())
    }
}

//! The statements of a command's transaction on PostgreSQL. They are few, because each is a round trip while
//! the chat's row is locked.

use mainstem_machine::{Change, ChatId, Found, Known, Sought};
use mainstem_runtime::ports::IdempotencyKey;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{Postgres, Transaction, query};

use super::now;
use crate::adapters::rows::{self, IdempotencyRecord, Locked, bind_chat, signed};
use crate::adapters::transaction::{Statements, Write};

pub(super) struct PostgresStatements<'c> {
    pub(super) tx: Transaction<'c, Postgres>,
    /// Whether the connection keeps them for the next time.
    pub(super) are_kept: bool,
}

impl PostgresStatements<'_> {
    fn query(&self, sql: &'static str) -> Query<'static, Postgres, PgArguments> {
        query(sql).persistent(self.are_kept)
    }

    /// Apart from all else: few commands change by whom a chat is listed, and none that is in a hurry.
    async fn list_shares(&mut self, change: &Change) -> sqlx::Result<()> {
        let chat = change.state.id.to_string();
        for (sql, user) in [
            (rows::list_share!("$1::uuid"), &change.listed),
            (rows::unlist_share!("$1::uuid"), &change.unlisted),
        ] {
            if let Some(user) = user {
                self.query(sql).bind(&chat).bind(&**user).execute(&mut *self.tx).await?;
            }
        }
        Ok(())
    }
}

impl Statements for PostgresStatements<'_> {
    async fn claim(&mut self, idempotency_key: &IdempotencyKey) -> sqlx::Result<bool> {
        let done = self
            .query(concat!(
                "INSERT INTO receipts (caller, key, body, created_at) VALUES ($1, $2, $3, ",
                now!(),
                ") ON CONFLICT DO NOTHING"
            ))
            .bind(&*idempotency_key.caller)
            .bind(&*idempotency_key.key)
            .bind(&idempotency_key.body[..])
            .execute(&mut *self.tx)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn kept(&mut self, idempotency_key: &IdempotencyKey) -> sqlx::Result<Option<IdempotencyRecord>> {
        let row = self
            .query(rows::KEPT)
            .bind(&*idempotency_key.caller)
            .bind(&*idempotency_key.key)
            .fetch_optional(&mut *self.tx)
            .await?;
        row.as_ref().map(rows::kept).transpose()
    }

    async fn lock(&mut self, chat: ChatId) -> sqlx::Result<Locked> {
        let row = self
            .query(concat!(
                "SELECT ",
                rows::chat_columns!("::text"),
                ", c.lease_expires_at, ",
                now!(),
                " AS now FROM chats c WHERE c.id = $1::uuid FOR UPDATE"
            ))
            .bind(chat.to_string())
            .fetch_optional(&mut *self.tx)
            .await?;
        match row {
            Some(row) => rows::locked(&row),
            None => {
                let row = self.query(concat!("SELECT ", now!(), " AS now")).fetch_one(&mut *self.tx).await?;
                Ok(Locked { state: None, lease_expires_at: None, now: rows::time(&row, "now")? })
            }
        }
    }

    async fn named_chat(&mut self, owner: &str, external_id: &str) -> sqlx::Result<Option<ChatId>> {
        let row = self
            .query(rows::named_chat!("::text"))
            .bind(owner)
            .bind(external_id)
            .fetch_optional(&mut *self.tx)
            .await?;
        row.as_ref().map(|row| rows::chat_id(row, "id")).transpose()
    }

    async fn named_message(&mut self, chat: ChatId, client_id: &str) -> sqlx::Result<Option<Known>> {
        let row = self
            .query(rows::named_message!("$1::uuid"))
            .bind(chat.to_string())
            .bind(client_id)
            .fetch_optional(&mut *self.tx)
            .await?;
        row.as_ref().map(rows::known).transpose()
    }

    async fn find(&mut self, chat: ChatId, sought: Sought) -> sqlx::Result<Option<Found>> {
        let row = self
            .query(rows::find!("$1::uuid"))
            .bind(chat.to_string())
            .bind(rows::sought(sought))
            .fetch_optional(&mut *self.tx)
            .await?;
        row.as_ref().map(rows::found).transpose()
    }

    async fn write(&mut self, write: Write<'_>) -> sqlx::Result<()> {
        let (caller, key, answer) = match &write.answer {
            Some((idempotency_key, answer)) => {
                (Some(&*idempotency_key.caller), Some(&*idempotency_key.key), Some(answer.as_str()))
            }
            None => (None, None, None),
        };
        let Some(change) = write.change else {
            self.query("UPDATE receipts SET answer = $3 WHERE caller = $1 AND key = $2")
                .bind(caller)
                .bind(key)
                .bind(answer)
                .execute(&mut *self.tx)
                .await?;
            return Ok(());
        };
        if change.deleted {
            self.query(DELETE)
                .bind(change.state.id.to_string())
                .bind(caller)
                .bind(key)
                .bind(answer)
                .execute(&mut *self.tx)
                .await?;
            return Ok(());
        }
        let statement = if write.created { CREATE } else { UPDATE };
        let inserted = &change.inserted;
        let statement =
            bind_chat!(self.query(statement), &change.state, change.queue_changed || write.created)
                .bind(write.lease_expires_at.is_none())
                .bind(write.lease_expires_at.flatten().map(|at| at.0))
                .bind(caller)
                .bind(key)
                .bind(answer)
                .bind(change.cut_from.map(|from| signed(from.0)))
                .bind(column(inserted, |message| signed(message.id.0)))
                .bind(column(inserted, |message| signed(message.revision.0)))
                .bind(column(inserted, |message| message.role.as_str()))
                .bind(column(inserted, |message| message.content.as_json()))
                .bind(column(inserted, |message| message.interrupted))
                .bind(column(inserted, |message| message.episode.map(|of| signed(of.history_version.0))))
                .bind(column(inserted, |message| message.episode.map(|of| signed(of.attempt))))
                .bind(column(inserted, |message| message.queued_as.map(|id| signed(id.0))))
                .bind(column(inserted, |message| message.created_at.0))
                .bind(column(inserted, |message| message.finish_reason.map(|reason| reason.as_str())))
                .bind(column(inserted, |message| message.usage.map(|usage| signed(usage.input_tokens))))
                .bind(column(inserted, |message| message.usage.map(|usage| signed(usage.output_tokens))))
                .bind(column(inserted, |message| message.turn.map(|turn| signed(turn.0))))
                .bind(column(inserted, |message| message.client_id.as_deref()))
                .bind(column(&change.ended, |turn| signed(turn.id.0)))
                .bind(column(&change.ended, |turn| signed(turn.message.0)))
                .bind(column(&change.ended, rows::json))
                .bind(column(&change.named, |(name, _)| &**name))
                .bind(column(&change.named, |(_, answer)| rows::json(answer)))
                .bind(change.reopened.map(|turn| signed(turn.0)))
                .bind(rows::shares(change));
        statement.execute(&mut *self.tx).await?;
        self.list_shares(change).await
    }
}

fn column<'a, R, T>(rows: &'a [R], of: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}

/// Everything a command writes, in one statement: the answer, the deleted and inserted messages, and the
/// chat, by `$chat`.
macro_rules! write_all {
    ($chat:expr) => {
        concat!(
            "WITH answered AS (UPDATE receipts SET answer = $31 WHERE caller = $29 AND key = $30), \
             cut AS (DELETE FROM messages WHERE chat_id = $1::uuid AND id >= $32), \
             cut_turns AS (DELETE FROM turns WHERE chat_id = $1::uuid AND (message >= $32 OR id = $52)), \
             inserted AS (INSERT INTO messages (chat_id, id, revision, role, content, interrupted, \
             history_version, attempt, queued_as, created_at, finish_reason, input_tokens, output_tokens, turn, \
             client_id) SELECT $1::uuid, * FROM unnest($33::bigint[], $34::bigint[], $35::text[], $36::text[], \
             $37::boolean[], $38::bigint[], $39::bigint[], $40::bigint[], $41::bigint[], \
             $42::text[], $43::bigint[], $44::bigint[], $45::bigint[], $46::text[])), \
             ended AS (INSERT INTO turns (chat_id, id, message, turn) \
             SELECT $1::uuid, * FROM unnest($47::bigint[], $48::bigint[], $49::text[])), \
             named AS (INSERT INTO sends (chat_id, client_id, answer) \
             SELECT $1::uuid, * FROM unnest($50::text[], $51::text[])) ",
            $chat
        )
    };
}

const CREATE: &str = write_all!(rows::insert_chat!("::uuid", "$53"));
const UPDATE: &str = write_all!(rows::update_chat!("::uuid", "$53"));
const DELETE: &str = "WITH answered AS (UPDATE receipts SET answer = $4 WHERE caller = $2 AND key = $3) \
                      DELETE FROM chats WHERE id = $1::uuid";

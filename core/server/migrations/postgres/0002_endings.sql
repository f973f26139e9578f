-- Why an answer ended, and what it cost. Null where nobody said.
ALTER TABLE messages
    ADD COLUMN finish_reason text,
    ADD COLUMN input_tokens bigint,
    ADD COLUMN output_tokens bigint;

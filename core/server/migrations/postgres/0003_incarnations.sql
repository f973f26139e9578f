-- Which process has a replica's name. 0: one of a version that did not tell.
ALTER TABLE replicas ADD COLUMN incarnation bigint NOT NULL DEFAULT 0;

-- Which process has a replica's name. 0: one of a version that did not tell.
ALTER TABLE replicas ADD COLUMN incarnation INTEGER NOT NULL DEFAULT 0;

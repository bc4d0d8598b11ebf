BEGIN TRANSACTION;
CREATE TABLE aliases (
	model TEXT NOT NULL, 
	alias TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	PRIMARY KEY (model, alias), 
	CONSTRAINT aliases_version FOREIGN KEY(model, number) REFERENCES versions (model, number)
);
INSERT INTO "aliases" VALUES('sum','champion',1);
CREATE TABLE audit_events (
	seq INTEGER NOT NULL, 
	time TEXT NOT NULL, 
	actor TEXT NOT NULL, 
	action TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	"before" TEXT NOT NULL, 
	"after" TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	previous TEXT NOT NULL, 
	hash TEXT NOT NULL, 
	PRIMARY KEY (seq), 
	CONSTRAINT audit_events_previous UNIQUE (previous)
);
INSERT INTO "audit_events" VALUES(1,'2027-01-15T08:00:00.000Z','ana','version.registered','sum/1','null','{"artifact":"sha256:04b69f7a2699cc4a77b51503f2ea445b19e971714e376f155daa534364d1e5bc","bundle":"sha256:1c39f1076daca8e9179f5df3e44b22df1ffcf297a7c93b04d1b4e223e5c87ecd","retired":false}','the first one','sha256:0000000000000000000000000000000000000000000000000000000000000000','sha256:626df3328904c69a49d4588894c32ffcaa8da913095f0c4208301e7a79018f81');
INSERT INTO "audit_events" VALUES(2,'2027-01-15T08:00:00.000Z','ana','tags.set','sum/1','{"team":null}','{"team":"risk"}','the first one','sha256:626df3328904c69a49d4588894c32ffcaa8da913095f0c4208301e7a79018f81','sha256:ca43b28df2c4bbb72041136e2ccd8711d837dfa23a5662624699c7ae86ada5ad');
INSERT INTO "audit_events" VALUES(3,'2027-01-15T08:00:00.000Z','ana','metrics.set','sum/1','{"auc":null}','{"auc":0.91}','the first one','sha256:ca43b28df2c4bbb72041136e2ccd8711d837dfa23a5662624699c7ae86ada5ad','sha256:d9115f18d1177e5bdf5c1eb381e1f5f77fcd59414d99e50151fd37b77041a5cb');
INSERT INTO "audit_events" VALUES(4,'2027-01-15T08:00:00.000Z','ana','alias.set','sum@champion','null','{"version":1}','the first one','sha256:d9115f18d1177e5bdf5c1eb381e1f5f77fcd59414d99e50151fd37b77041a5cb','sha256:b80b18f19e1508b4391a453dfbff1fe5fcded3ba900c752e653e3c114a971143');
INSERT INTO "audit_events" VALUES(5,'2027-01-15T08:00:00.000Z','ana','version.registered','other/1','null','{"artifact":"sha256:04b69f7a2699cc4a77b51503f2ea445b19e971714e376f155daa534364d1e5bc","bundle":"sha256:1c39f1076daca8e9179f5df3e44b22df1ffcf297a7c93b04d1b4e223e5c87ecd","retired":false}','','sha256:b80b18f19e1508b4391a453dfbff1fe5fcded3ba900c752e653e3c114a971143','sha256:fe00540f3106d12e678c37235454b015663f95fdb8debed785137cd0816fa7d8');
CREATE TABLE audit_head (
	id INTEGER NOT NULL, 
	seq INTEGER NOT NULL, 
	hash TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "audit_head" VALUES(1,5,'sha256:fe00540f3106d12e678c37235454b015663f95fdb8debed785137cd0816fa7d8');
CREATE TABLE metrics (
	model TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	"key" TEXT NOT NULL, 
	value DOUBLE NOT NULL, 
	PRIMARY KEY (model, number, "key"), 
	CONSTRAINT metrics_version FOREIGN KEY(model, number) REFERENCES versions (model, number)
);
INSERT INTO "metrics" VALUES('sum',1,'auc',0.91);
CREATE TABLE models (
	name TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	created_by TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "models" VALUES('sum','2027-01-15T08:00:00.000Z','ana');
INSERT INTO "models" VALUES('other','2027-01-15T08:00:00.000Z','ana');
CREATE TABLE penstock_schema (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT penstock_schema_pkc PRIMARY KEY (version_num)
);
INSERT INTO "penstock_schema" VALUES('0001');
CREATE TABLE tags (
	model TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (model, number, "key"), 
	CONSTRAINT tags_version FOREIGN KEY(model, number) REFERENCES versions (model, number)
);
INSERT INTO "tags" VALUES('sum',1,'team','risk');
CREATE TABLE versions (
	model TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	digest TEXT NOT NULL, 
	blob TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	runtime TEXT NOT NULL, 
	signature TEXT NOT NULL, 
	lineage TEXT NOT NULL, 
	waiver TEXT NOT NULL, 
	measurements TEXT NOT NULL, 
	licence TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	created_by TEXT NOT NULL, 
	retired BOOLEAN NOT NULL, 
	PRIMARY KEY (model, number), 
	CONSTRAINT versions_digest UNIQUE (model, digest), 
	FOREIGN KEY(model) REFERENCES models (name)
);
INSERT INTO "versions" VALUES('sum',1,'sha256:1c39f1076daca8e9179f5df3e44b22df1ffcf297a7c93b04d1b4e223e5c87ecd','sha256:04b69f7a2699cc4a77b51503f2ea445b19e971714e376f155daa534364d1e5bc','onnx','onnx','{"inputs":[{"datatype":"FP32","name":"x","shape":[-1,4]}],"layout":"matrix","outputs":[{"datatype":"FP32","name":"predictions","shape":[-1]}]}','{}','null','null','','2027-01-15T08:00:00.000Z','ana',0);
INSERT INTO "versions" VALUES('other',1,'sha256:1c39f1076daca8e9179f5df3e44b22df1ffcf297a7c93b04d1b4e223e5c87ecd','sha256:04b69f7a2699cc4a77b51503f2ea445b19e971714e376f155daa534364d1e5bc','onnx','onnx','{"inputs":[{"datatype":"FP32","name":"x","shape":[-1,4]}],"layout":"matrix","outputs":[{"datatype":"FP32","name":"predictions","shape":[-1]}]}','{}','null','null','','2027-01-15T08:00:00.000Z','ana',0);
CREATE TRIGGER audit_events_update BEFORE UPDATE ON audit_events
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_events_delete BEFORE DELETE ON audit_events
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_events_insert BEFORE INSERT ON audit_events WHEN NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM audit_events)
    OR NEW.previous <> coalesce((SELECT hash FROM audit_events ORDER BY seq DESC LIMIT 1), 'sha256:0000000000000000000000000000000000000000000000000000000000000000')
    BEGIN SELECT RAISE(ABORT, 'an audit event follows the last one'); END;
COMMIT;

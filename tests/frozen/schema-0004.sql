BEGIN TRANSACTION;
CREATE TABLE aliases (
	model TEXT NOT NULL, 
	alias TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	PRIMARY KEY (model, alias), 
	CONSTRAINT aliases_version FOREIGN KEY(model, number) REFERENCES versions (model, number)
);
INSERT INTO "aliases" VALUES('sum','champion',1);
CREATE TABLE api_keys (
	id TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	role TEXT NOT NULL, 
	endpoints TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	created_by TEXT NOT NULL, 
	rate_per_s DOUBLE, 
	expires_at DOUBLE, 
	revoked_at DOUBLE, 
	PRIMARY KEY (id)
);
INSERT INTO "api_keys" VALUES('b72d7d8fa294','sha256:c730f1a356e87251573cef72cd9d94db3bd06982589666d39e038e8b3e23be3a','shop','viewer','["churn"]','2027-01-15T08:00:00.000Z','ana',5.0,NULL,NULL);
CREATE TABLE approvals (
	id INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	request TEXT NOT NULL, 
	because TEXT NOT NULL, 
	state TEXT NOT NULL, 
	requested_at TEXT NOT NULL, 
	requested_by TEXT NOT NULL, 
	decided_at TEXT NOT NULL, 
	decided_by TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	four_eyes BOOLEAN NOT NULL, 
	operation INTEGER, 
	PRIMARY KEY (id)
);
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
INSERT INTO "audit_events" VALUES(6,'2027-01-15T08:00:00.000Z','ana','key.created','key:b72d7d8fa294','null','{"digest":"sha256:c730f1a356e87251573cef72cd9d94db3bd06982589666d39e038e8b3e23be3a","endpoints":"[\"churn\"]","expires_at":null,"rate_per_s":5,"role":"viewer","subject":"shop"}','','sha256:fe00540f3106d12e678c37235454b015663f95fdb8debed785137cd0816fa7d8','sha256:6aadde94a6d8cb0b0638b0556ddadd088ee2d08c7ef306484b6a88f043843486');
INSERT INTO "audit_events" VALUES(7,'2027-01-15T08:00:00.000Z','ana','operation.requested','operation:1','null','{"kind":"apply"}','go','sha256:6aadde94a6d8cb0b0638b0556ddadd088ee2d08c7ef306484b6a88f043843486','sha256:3cac0a9924a25daa2d5d5b769f58f7fed56c127c0aaf5dac7b9667cb1837899b');
INSERT INTO "audit_events" VALUES(8,'2027-01-15T08:00:00.000Z','ana','gates.judged','sum/1','null','{"endpoint":"churn","report":"sha256:29f8ffc0daec98fd65098718234afc8f0a1994c345c3de1f6c5bc9b2a7badf32","verdict":"pass"}','','sha256:3cac0a9924a25daa2d5d5b769f58f7fed56c127c0aaf5dac7b9667cb1837899b','sha256:9e1ecda8b9728a5c982ac66ffb178324e8d8ba7ff39709ee858ba6641504c56f');
INSERT INTO "audit_events" VALUES(9,'2027-01-15T08:00:00.000Z','ana','endpoint.released','endpoint:churn','null','{"arms":{"champion":"sum/1 10000"},"endpoint":"sha256:dbcb00754adaff5ebb6af5d5b5f427f0ad6362a1ce11056f5d0f1d25b2a185fb"}','go','sha256:9e1ecda8b9728a5c982ac66ffb178324e8d8ba7ff39709ee858ba6641504c56f','sha256:6acbc145b438c498721771b6160284df97e37d3e58a04e9f8aefd8f76196558a');
INSERT INTO "audit_events" VALUES(10,'2027-01-15T08:00:00.000Z','ana','spec.applied','generation:1','{"generation":0,"spec":""}','{"generation":1,"spec":"sha256:1a6860064fe9285d1aa6a1d3def6ba08fbba83a51c88021844342c2875dc21b9"}','go','sha256:6acbc145b438c498721771b6160284df97e37d3e58a04e9f8aefd8f76196558a','sha256:061828401ff6de487cfc6534b7f03003f8eb962828049fc81be20d586cb9876c');
CREATE TABLE audit_head (
	id INTEGER NOT NULL, 
	seq INTEGER NOT NULL, 
	hash TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "audit_head" VALUES(1,10,'sha256:061828401ff6de487cfc6534b7f03003f8eb962828049fc81be20d586cb9876c');
CREATE TABLE gate_reports (
	model TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	endpoint TEXT NOT NULL, 
	"plan" TEXT NOT NULL, 
	verdict TEXT NOT NULL, 
	report TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	created_by TEXT NOT NULL, 
	PRIMARY KEY (model, number, endpoint, "plan")
);
INSERT INTO "gate_reports" VALUES('sum',1,'churn','sha256:47c9d6f4bd8a13854576041198e747e9163cb75e864a2ae8beb99aa6596286a7','pass','{"bundle":"sha256:1c39f1076daca8e9179f5df3e44b22df1ffcf297a7c93b04d1b4e223e5c87ecd","endpoint":"churn","findings":[{"gate":"golden","summary":"equal","verdict":"pass"}],"format":1,"seconds":0.0,"started":"","verdict":"pass"}','2027-01-15T08:00:00.000Z','ana');
CREATE TABLE generations (
	generation BIGINT NOT NULL, 
	spec_generation BIGINT NOT NULL, 
	spec TEXT NOT NULL, 
	spec_digest TEXT NOT NULL, 
	endpoints TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	created_by TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	PRIMARY KEY (generation)
);
INSERT INTO "generations" VALUES(1,1,'{"endpoints":{"churn":{"model":"sum@champion"}},"version":1}','sha256:1a6860064fe9285d1aa6a1d3def6ba08fbba83a51c88021844342c2875dc21b9','{"churn":{"arms":[{"bundle":"sha256:1c39f1076daca8e9179f5df3e44b22df1ffcf297a7c93b04d1b4e223e5c87ecd","name":"champion","uri":"","version":"sum/1","weight":10000}],"limits":{},"recording":{}}}','2027-01-15T08:00:00.000Z','ana','go');
CREATE TABLE idempotency (
	subject TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	request TEXT NOT NULL, 
	response TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, 
	PRIMARY KEY (subject, "key")
);
CREATE TABLE leases (
	name TEXT NOT NULL, 
	holder TEXT NOT NULL, 
	expires_at DOUBLE NOT NULL, 
	PRIMARY KEY (name)
);
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
CREATE TABLE nodes (
	name TEXT NOT NULL, 
	generation BIGINT NOT NULL, 
	digest TEXT NOT NULL, 
	state TEXT NOT NULL, 
	problems TEXT NOT NULL, 
	address TEXT NOT NULL, 
	processes INTEGER NOT NULL, 
	ready BOOLEAN NOT NULL, 
	seen_at DOUBLE NOT NULL, 
	PRIMARY KEY (name)
);
CREATE TABLE operations (
	id INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	state TEXT NOT NULL, 
	request TEXT NOT NULL, 
	progress TEXT NOT NULL, 
	error TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	created_by TEXT NOT NULL, 
	updated_at TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	generation BIGINT, 
	approval INTEGER, 
	PRIMARY KEY (id)
);
INSERT INTO "operations" VALUES(1,'apply','done','{"checks":[{"bundle":"sha256:1c39f1076daca8e9179f5df3e44b22df1ffcf297a7c93b04d1b4e223e5c87ecd","champion":"","endpoint":"churn","plan_digest":"sha256:47c9d6f4bd8a13854576041198e747e9163cb75e864a2ae8beb99aa6596286a7","verdict":null,"version":"sum/1"}],"endpoints":{"churn":{"arms":[{"bundle":"sha256:1c39f1076daca8e9179f5df3e44b22df1ffcf297a7c93b04d1b4e223e5c87ecd","name":"champion","uri":"file:///srv/penstock/artifacts/04b69f7a2699cc4a77b51503f2ea445b19e971714e376f155daa534364d1e5bc","version":"sum/1","weight":10000}],"limits":{},"recording":{}}},"expected":0,"identity":{"endpoints":null,"issuer":null,"key_id":null,"role":"admin","subject":"ana"},"moves":[],"spec":{"endpoints":{"churn":{"model":"sum@champion"}},"version":1}}','[{"at":"2027-01-15T08:00:00.000Z","text":"checking sum/1 for churn"},{"at":"2027-01-15T08:00:00.000Z","text":"sum/1 for churn: pass"},{"at":"2027-01-15T08:00:00.000Z","text":"generation 1"}]','null','2027-01-15T08:00:00.000Z','ana','2027-01-15T08:00:00.000Z','go',1,NULL);
CREATE TABLE penstock_schema (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT penstock_schema_pkc PRIMARY KEY (version_num)
);
INSERT INTO "penstock_schema" VALUES('0004');
CREATE TABLE protected_aliases (
	alias TEXT NOT NULL, 
	PRIMARY KEY (alias)
);
CREATE TABLE releases (
	endpoint TEXT NOT NULL, 
	generation BIGINT NOT NULL, 
	content TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	created_by TEXT NOT NULL, 
	PRIMARY KEY (endpoint, generation)
);
INSERT INTO "releases" VALUES('churn',1,'{"arms":[{"bundle":"sha256:1c39f1076daca8e9179f5df3e44b22df1ffcf297a7c93b04d1b4e223e5c87ecd","name":"champion","uri":"","version":"sum/1","weight":10000}],"limits":{},"recording":{}}','2027-01-15T08:00:00.000Z','ana');
CREATE TABLE rollout_events (
	rollout INTEGER NOT NULL, 
	seq INTEGER NOT NULL, 
	at TEXT NOT NULL, 
	who TEXT NOT NULL, 
	text TEXT NOT NULL, 
	state TEXT NOT NULL, 
	judgement TEXT NOT NULL, 
	PRIMARY KEY (rollout, seq)
);
CREATE TABLE rollouts (
	id INTEGER NOT NULL, 
	endpoint TEXT NOT NULL, 
	"plan" TEXT NOT NULL, 
	"before" TEXT NOT NULL, 
	"after" TEXT NOT NULL, 
	seed TEXT NOT NULL, 
	moves TEXT NOT NULL, 
	state TEXT NOT NULL, 
	judgement TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	created_by TEXT NOT NULL, 
	updated_at TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	revision INTEGER NOT NULL, 
	standing BOOLEAN NOT NULL, 
	ended BOOLEAN NOT NULL, 
	PRIMARY KEY (id)
);
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

-- The whole schema of the first version. Forward only. Comments say what a row means and who may change it.
-- The ledger's tables may only be inserted into and read; what else the application role may do stands in 0001_rights.sql.
-- Writers of facts that a decision reads (institution, product, subject, consent_grant, grant_item, grant_use, guess, loan)
-- do so only inside consent.ledger.write(), which holds the ledger's advisory lock first; so no row lock is ever waited for under it.

-- ---------------------------------------------------------------- ledger
create table ledger_record (
  idx   bigint primary key check (idx >= 0),
  leaf  bytea  not null check (octet_length(leaf) = 32),   -- SHA-256(0x00 || bytes)
  time  timestamptz not null,
  bytes bytea  not null check (octet_length(bytes) between 1 and 65535)
);
-- Hash of a complete subtree of 256^level leaves, level >= 1: hash n covers leaves [n*256^level, (n+1)*256^level).
create table ledger_node (
  level smallint not null check (level between 1 and 7),
  n     bigint   not null check (n >= 0),
  hash  bytea    not null check (octet_length(hash) = 32),
  primary key (level, n)
);
-- Signed tree heads. The size is the key, so two signers cannot both win.
create table ledger_head (
  size bigint primary key check (size > 0),
  root bytea  not null check (octet_length(root) = 32),
  note text   not null,                                    -- the note as the log signed it, without cosignatures
  time timestamptz not null default clock_timestamp()
);
-- What became of a head: shown to readers; witnessed, once its cosignatures were a quorum of the policy of that moment.
create table ledger_head_stage (
  stage text   not null check (stage in ('shown','witnessed')),
  size  bigint not null,
  time  timestamptz not null default clock_timestamp(),
  primary key (stage, size)
);
-- A witness's cosignature of a head (C2SP tlog-cosignature), early or late: the whole signature line with its newline.
create table ledger_cosignature (
  size    bigint not null,
  witness text   not null check (length(witness) between 1 and 255),   -- the name of its key
  key_id  bytea  not null check (octet_length(key_id) = 4),
  line    text   not null check (length(line) <= 8192 and line like '— %' and right(line, 1) = E'\n'),
  time    timestamptz not null default clock_timestamp(),
  primary key (size, witness, key_id)
);
-- Which key signs heads above a record: the first key stands at 0, each other at its key.rotated.
create table ledger_key (
  idx  bigint primary key check (idx >= 0),
  vkey text   not null unique
);
-- Heads as readers see them: the log's note with every cosignature that has come.
create view ledger_checkpoint as
  select stage.stage, head.size, head.root, head.time, head.note
    || coalesce((select string_agg(line, '' order by witness, key_id) from ledger_cosignature where size = head.size), '') as note
  from ledger_head_stage as stage join ledger_head as head using (size);
-- Large documents named by digest; part of every export. Bodies that name people live in evidence, not here.
create table ledger_blob (
  sha256     bytea primary key check (octet_length(sha256) = 32),
  media_type text  not null,
  body       bytea not null
);
-- What stands behind the digests of records: salts come from secret and member (consent/ledger/evidence.py). Deleted by `consent subject erase`.
create table evidence (
  idx     bigint   not null,                               -- the record
  place   smallint not null,                               -- tells parties of one record apart
  owner   uuid,                                            -- the subject; null: references of the caller's own
  secret  bytea    not null check (octet_length(secret) = 32),
  members json     not null,                               -- value by member
  primary key (idx, place)
);
create index evidence_by_owner on evidence (owner) where owner is not null;
-- Bearer tokens of auditors (hash only).
create table auditor_token (
  hash       bytea primary key check (octet_length(hash) = 32),
  name       text  not null,
  created_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null,
  revoked_at timestamptz
);

-- ---------------------------------------------------------------- parties
create table institution (
  id             text primary key check (id ~ '^[a-z0-9][a-z0-9-]{2,63}$'),
  kind           text not null check (kind in ('bank','guarantor','insurer','credit_service','credit_bureau','conduit',
                   'platform','accounting_platform','tax_gateway','department')),
  uscc           text not null unique,
  name_zh        text not null,
  name_en        text not null,
  status         text not null check (status in ('applied','active','rectifying','suspended','cancelled')),
  agreement      text,                                     -- version of the accepted information-management terms, or null
  assessed_from  timestamptz,
  assessed_until timestamptz,
  purposes       text[] not null default '{}',             -- declared purposes
  own_items      text[] not null default '{}',             -- a department's own-domain items
  evidence_months int not null default 36 check (evidence_months >= 6),  -- kept after the last grant or loan has ended
  version        bigint not null default 1,
  created_at     timestamptz not null default clock_timestamp()
);
create table product (
  institution_id text not null references institution,
  code           text not null check (code ~ '^[a-z0-9][a-z0-9-]{1,63}$'),
  name_zh        text not null,
  name_en        text not null,
  purposes       text[] not null,
  items          text[],                                   -- null: all that the matrix needs; else only these
  primary key (institution_id, code)
);
create table client (
  id             text primary key,
  institution_id text not null references institution,
  name           text not null,
  jwks           jsonb not null,                           -- public keys only
  auth_method    text not null default 'private_key_jwt' check (auth_method in ('private_key_jwt','self_signed_tls_client_auth')),
  certificates   text[] not null default '{}',             -- x5t#S256 of its TLS certificates
  allowed_items    text[],                                 -- what it may ask for of what its institution may; null: all
  allowed_purposes text[],
  terminals      jsonb not null default '[]',              -- [{"id", "networks"}]: which device may ask from where
  redirect_uris  text[] not null default '{}',
  scopes         text[] not null default '{}',             -- subset of grants, check, check:any, loans
  status         text not null default 'active' check (status in ('active','suspended','cancelled')),
  version        bigint not null default 1,
  created_at     timestamptz not null default clock_timestamp()
);
-- An enterprise, self-employed person, co-operative or natural person.
create table subject (
  id         uuid primary key,
  kind       text not null check (kind in ('enterprise','sole_trader','cooperative','person')),
  uscc       text unique,                                  -- null for a person
  name       text not null,
  level      text not null default 'registered' check (level in ('registered','real_name')),
  status     text not null default 'active' check (status in ('active','suspended','closed')),
  version    bigint not null default 1,                    -- raised by every change of its grants, links and loans
  created_at timestamptz not null default clock_timestamp(),
  erased_at  timestamptz,                                  -- nobody knows any more who she was
  check ((kind = 'person') = (uscc is null) or erased_at is not null)
);
create table person_link (
  person_id     uuid not null references subject,
  enterprise_id uuid not null references subject,
  role          text not null check (role in ('legal_representative','farm_owner','household_member','shareholder')),
  verified_at   timestamptz not null,
  ended_at      timestamptz,
  primary key (person_id, enterprise_id, role)
);
-- The only place that knows which pseudonym is whom. identifier: a USCC, or a person's subject id.
create table pseudonym (
  institution_id text not null,
  identifier     text not null,
  pseudonym      text not null unique,
  created_at     timestamptz not null default clock_timestamp(),
  primary key (institution_id, identifier)
);
-- People who log in. An enterprise's operator has subject_id; staff has a role.
create table account (
  id            uuid primary key,
  username      text not null unique check (username = lower(username)),
  password_hash text not null,
  display_name  text not null,
  kind          text not null check (kind in ('enterprise','person','staff')),
  subject_id    uuid references subject,
  role          text check (role in ('operator','regulator','auditor')),
  status        text not null default 'active' check (status in ('active','locked','closed')),
  failures      int not null default 0,
  locked_until  timestamptz,
  created_at    timestamptz not null default clock_timestamp(),
  check ((kind = 'staff') = (role is not null)),
  check ((kind = 'staff') = (subject_id is null))
);
-- A browser session is bound to a person and the subject she acts for. The cookie's secret is kept as a hash.
create table session (
  hash       bytea primary key check (octet_length(hash) = 32),
  account_id uuid not null references account,
  subject_id uuid references subject,
  csrf       text not null,
  created_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null,
  ended_at   timestamptz
);

-- ---------------------------------------------------------------- oauth
create table pushed_request (
  hash        bytea primary key,                           -- of the request_uri's secret
  id          text not null unique,                        -- as in the ledger's grant.requested
  client_id   text not null references client,
  parameters  jsonb not null,
  details     jsonb not null,                              -- canonical authorization_details
  dpop_jkt    text,
  created_at  timestamptz not null default clock_timestamp(),
  expires_at  timestamptz not null,
  consumed_at timestamptz                                  -- at authorization, not at page load
);
create table authorization_code (
  hash           bytea primary key,
  client_id      text not null references client,
  grant_id       text not null,
  redirect_uri   text not null,
  code_challenge text not null,
  dpop_jkt       text,
  expires_at     timestamptz not null,
  used_at        timestamptz
);
create table access_token (
  hash       bytea primary key,
  client_id  text not null references client,
  grant_id   text,                                         -- null for client_credentials
  grant_version bigint,                                    -- the version that it stands for, and with which it ends
  code_hash  bytea,                                        -- replay of the code revokes the token
  narrowing  jsonb,                                        -- fields by identifier, where the token stands for less than its grant
  scopes     text[] not null,
  cnf        jsonb not null,                               -- {"jkt": …} or {"x5t#S256": …}
  issued_at  timestamptz not null,
  expires_at timestamptz not null,
  revoked_at timestamptz
);
-- Not rotated (FAPI 2.0 Security Profile §5.3.2.1), bound to client and key; whether its grant is in force is looked up at each use.
create table refresh_token (
  hash       bytea primary key check (octet_length(hash) = 32),
  client_id  text not null references client,
  grant_id   text not null,
  code_hash  bytea not null unique,                        -- the code that gave it, whose replay revokes it
  cnf        jsonb not null,
  issued_at  timestamptz not null,
  expires_at timestamptz not null,                         -- when the last detail of the grant ends
  revoked_at timestamptz
);
create index refresh_token_expiry on refresh_token (expires_at);
create index access_token_by_grant on access_token (grant_id) where grant_id is not null;
create index access_token_by_code on access_token (code_hash) where code_hash is not null;
create index access_token_expiry on access_token (expires_at);
-- Keys that all processes share and nobody else needs; made by whichever comes first.
create table server_secret (
  name  text primary key,
  value bytea not null
);
-- One row per jti seen, inserted in a transaction of its own so that it survives a failed request.
create table used_jti (
  hash       bytea primary key,                            -- SHA-256(kind || 0 || issuer || 0 || jti)
  expires_at timestamptz not null
);
create index used_jti_expiry on used_jti (expires_at);

-- ---------------------------------------------------------------- grants
create table consent_grant (
  id             text primary key,                         -- random, url-safe, 128 bits
  institution_id text not null references institution,
  client_id      text not null references client,
  subject_id     uuid not null references subject,
  request_id     text unique,                              -- the pushed request it answers, or null if the enterprise began
  version        bigint not null default 1,
  status         text not null check (status in ('active','suspended','revoked')),
  granted_by     text not null check (granted_by in ('enterprise','person')),
  enterprise_id  uuid not null references subject,         -- = subject_id, or the enterprise the person is linked to
  channel        text not null default 'online' check (channel in ('online','written','callback')),
  notice_version text not null,
  notice_sha256  bytea not null,
  created_at     timestamptz not null,
  ended_at       timestamptz,
  refused        jsonb not null default '[]'               -- refused_details with their codes
);
create index consent_grant_by_enterprise on consent_grant (enterprise_id, institution_id);
create index consent_grant_by_institution on consent_grant (institution_id, id);
create table grant_item (
  grant_id       text not null references consent_grant,
  seq            int  not null,
  identifier     text not null,
  item           text not null,
  action         text not null,
  purpose        text not null,
  product        text,
  fields         text[] not null,                          -- always explicit: absent in a request means all, made explicit at PAR
  necessity      text not null check (necessity in ('required','optional')),
  data_from      date,
  valid_until    timestamptz not null,
  frequency_max  int,
  frequency_per  text check (frequency_per in ('day','month','total')),
  retention_days int,
  via            text[] not null default '{}',
  processor      text,
  detail         jsonb not null,                           -- the detail exactly as granted, echoed in tokens
  status         text not null default 'active' check (status in ('active','revoked')),
  ended_at       timestamptz,
  primary key (grant_id, seq),
  check ((frequency_max is null) = (frequency_per is null))
);
create table grant_history (
  grant_id text not null references consent_grant,
  version  bigint not null,
  at       timestamptz not null,
  event    text not null,                                  -- the ledger type, e.g. grant.narrowed
  actor    text not null,                                  -- subject | institution | operator
  idx      bigint not null,                                -- the ledger record
  detail   jsonb not null default '{}',
  primary key (grant_id, version)
);
-- How often a granted item was used in a period: 'total', '2026-11' or '2026-11-20' (Asia/Shanghai).
create table grant_use (
  grant_id text not null,
  seq      int  not null,
  period   text not null,
  used     int  not null check (used >= 0),
  primary key (grant_id, seq, period)
);
-- How often a field was compared (verify_only) for a platform's check on a day, as 2026-11-20 (Asia/Shanghai). Past days are swept.
create table guess (
  day            text not null,
  institution_id text not null,
  identifier     text not null,                            -- the enterprise's USCC as asked
  field          text not null,
  compared       int  not null check (compared > 0),
  primary key (day, institution_id, identifier, field)
);

-- ---------------------------------------------------------------- loans and models, as facts
create table loan (
  institution_id text not null references institution,
  id             text not null,
  subject_id     uuid not null references subject,
  product        text,
  phase          text not null check (phase in ('applied','approved','refused','disbursed','settled','overdue')),
  version        bigint not null default 1,
  changed_at     timestamptz not null default clock_timestamp(),  -- of the phase; evidence is kept from here on once it is closed
  primary key (institution_id, id)
);
create table model (
  id             text primary key,
  institution_id text not null references institution,
  name_zh        text not null,
  name_en        text not null,
  items          text[] not null,
  status         text not null check (status in ('active','retired'))
);

-- ---------------------------------------------------------------- decisions
create table decision (
  id            text primary key,                          -- random 128 bits; a permit's id is its ticket
  idx           bigint not null,                           -- its ledger record
  client_id     text not null,
  institution_id text not null,                            -- who would see the data
  identifier    text not null,                             -- the enterprise's USCC as asked
  request_key   bytea unique,                              -- SHA-256(client || 0 || request_id), null without request_id
  request_hash  bytea not null,                            -- of the canonical request: the same id with another request is refused
  response      bytea not null,                            -- the reply's bytes, for the same request_id
  ticket        jsonb,                                     -- what a permit allows to redeem; null for a denial
  ticket_until  timestamptz,
  redeemed_by   text,                                      -- the decision that redeemed it
  created_at    timestamptz not null
);
create index decision_by_enterprise on decision (identifier, created_at);
create table delivery (
  decision_id text primary key references decision,
  client_id   text not null,
  idx         bigint not null,
  at          timestamptz not null
);

-- ---------------------------------------------------------------- what is in force
-- Written with the ledger record of the same activation; the newest row of a kind is in force.
create table activation (
  kind    text   not null check (kind in ('catalogue','policy')),
  idx     bigint not null,
  version text   not null,
  sha256  bytea  not null check (octet_length(sha256) = 32),
  primary key (kind, idx)
);
-- A signed policy bundle (a blob) that staff wants in force in place of `replaces`. Waits until any policies come into force after it.
create table policy_proposal (
  idx        bigint primary key,                           -- its record policy.proposed
  revision   text  not null,
  sha256     bytea not null check (octet_length(sha256) = 32),
  replaces   text  not null,
  account_id uuid  not null
);
-- One member of the staff approved exactly those bytes.
create table policy_approval (
  proposal   bigint not null references policy_proposal,
  account_id uuid   not null,
  idx        bigint not null,                              -- its record policy.approved
  primary key (proposal, account_id)
);
-- Times rise with the index, so a block range index finds a report's period for next to nothing per append.
create index ledger_record_time on ledger_record using brin (time) with (autosummarize = on);

-- The ledger is append-only for everybody, its owner included: an update, a delete or a truncate raises, whether or not a row matches.
-- Whoever owns the tables can switch a trigger off; that the change is then found is the work of checkpoints and their witnesses.
create function ledger_is_append_only() returns trigger language plpgsql as $$
begin
  raise exception 'the ledger is append-only: % on % is refused', tg_op, tg_table_name using errcode = 'restrict_violation';
end
$$;

do $$
declare
  name text;
begin
  foreach name in array array['ledger_record', 'ledger_node', 'ledger_head', 'ledger_head_stage', 'ledger_cosignature',
    'ledger_key', 'ledger_blob'] loop
    execute format('create trigger append_only before update or delete or truncate on %I
                    for each statement execute function ledger_is_append_only()', name);
    -- Also when session_replication_role is replica.
    execute format('alter table %I enable always trigger append_only', name);
  end loop;
end
$$;

revoke all on schema public from public;
grant usage on schema public to consent_app;
-- The application deletes what expired, and products that a change replaces; everything else stays, and what was once decided, as it was.
grant select, insert, update on all tables in schema public to consent_app;
grant delete on used_jti, access_token, refresh_token, authorization_code, pushed_request, session, product, guess to consent_app;
revoke update on ledger_record, ledger_node, ledger_head, ledger_head_stage, ledger_cosignature, ledger_key, ledger_blob from consent_app;
revoke insert, update on ledger_checkpoint from consent_app;
revoke update on server_secret, evidence, pseudonym, decision, delivery, grant_history, activation, policy_proposal, policy_approval from consent_app;
grant update (redeemed_by) on decision to consent_app;
revoke insert, update on alembic_version from consent_app;

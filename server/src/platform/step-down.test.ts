import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { type Database, openDatabase, sql } from './db.ts';
import { createLog } from './log.ts';
import { stepDown } from './step-down.ts';

const { host, port, superuser, user, database } = inject('postgres');
const name = `step_down_${randomBytes(4).toString('hex')}`;
const opened: Database[] = [];

const open = (as: string, to: string, role?: string | null) => {
  const db = openDatabase({
    connection: { host, port, user: as, database: to },
    role: role ?? null,
    poolSize: 2,
    statementTimeoutMs: 5_000,
    log: createLog({ level: 'silent' }),
  });
  opened.push(db);
  return db;
};

const asSuperuser = async (statement: string): Promise<void> => {
  const client = new pg.Client({ host, port, user: superuser, database: 'postgres' });
  await client.connect();
  await client.query(statement);
  await client.end();
};

beforeAll(() => asSuperuser(`create database ${name}`));
afterAll(async () => {
  await Promise.all(opened.map(db => db.close()));
  await asSuperuser(`drop database ${name}`);
});

it('leaves an ordinary role as it is', async () => {
  expect(await stepDown(open(user, database))).toBeNull();
});

it('makes a role that row security binds, also when two processes do it at once', async () => {
  const roles = await Promise.all([stepDown(open(superuser, name)), stepDown(open(superuser, name))]);
  expect(roles).toEqual(['opsfleet_owner', 'opsfleet_owner']);
  const { system } = open(superuser, name, roles[0]);
  await system.execute(sql`create table notes (organization_id uuid)`);
  await system.execute(sql`alter table notes enable row level security`);
  await system.execute(sql`alter table notes force row level security`);
  await system.execute(sql`insert into notes select gen_random_uuid()`).catch(() => undefined);
  const { seen, who } = await system.one<{ seen: number; who: string }>(
    sql`select (select count(*) from notes) as seen, current_user::text as who`,
  );
  expect(who).toBe('opsfleet_owner');
  expect(seen).toBe(0);
});
